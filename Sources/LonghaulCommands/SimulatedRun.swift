import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Simulation
import Training

/// One simulated run of a cluster file and what can be said about it.
struct SimulatedRun {
    /// What the trainers of a simulated run do.
    enum Training: String, CaseIterable, Sendable {
        /// Nothing: sizes travel.
        case modelled
        /// What worker processes do.
        case real
    }

    let result: SimulationResult
    /// As a run's log holds them.
    let events: [StampedEvent]
    let summary: RunSummary
    /// What is real and what is modelled, for people.
    let statement: String
    /// Of this process.
    let wallSeconds: Double

    /// Runs it to its end.
    ///
    /// - Parameters:
    ///   - directory: where `.real` training writes the model; nil: nowhere.
    ///   - adjust: what the run's options should be beyond the file's.
    /// - Throws: `CorpusError` and `ModelShapeError` of `.real` training.
    init(
        _ cluster: ClusterFile, training: Training, directory: String? = nil,
        adjust: (inout SimulationOptions) -> Void = { _ in }
    ) throws {
        let parameters = cluster.configuration.model.parameterCount
        var options = SimulationOptions(
            seed: cluster.configuration.seed,
            payloads: training == .real
                ? .hosted(parameters: parameters) : .modelled(parameters: parameters))
        options.checks = false
        options.encrypts = true
        adjust(&options)
        let clock = ContinuousClock()
        let began = clock.now
        let host =
            training == .real
            ? try RealTrainers(
                configuration: cluster.configuration, topology: cluster.topology,
                directory: directory) : nil
        result = Simulator(
            topology: cluster.topology, configuration: cluster.configuration, options: options,
            host: host,
            configurationText: Briefing(
                configuration: cluster.configuration, topology: cluster.topology
            ).text, eventBytes: { EventCoding.encode($0).count }
        ).run()
        wallSeconds = Double((clock.now - began) / .milliseconds(1)) / 1000
        statement = Self.statement(training)
        events =
            [Self.start(cluster, statement)]
            + result.events.filter { if case .runStarted = $0.event { false } else { true } }
        summary = try RunSummary(events: events)
    }

    /// What the simulation itself took.
    var effort: String {
        let virtual = Double(result.virtualTime.nanoseconds) / 1e9
        return String(
            format: "simulated %.1f s in %.1f s (%d events, trace hash %016lx)", virtual,
            wallSeconds, result.occurrences, UInt(result.traceHash))
    }

    private static func statement(_ training: Training) -> String {
        switch training {
        case .modelled:
            """
            simulated: virtual clock; compute, links and payload sizes are modelled, nothing is \
            learnt (loss 0); the machines are those that ship
            """
        case .real:
            """
            simulated: virtual clock; durations and links are modelled; training, encoding and \
            reduction are real, and so are the losses, the bytes and the digests; the machines are \
            those that ship
            """
        }
    }

    private static func start(_ cluster: ClusterFile, _ statement: String) -> StampedEvent {
        StampedEvent(
            time: .zero, source: "simulator",
            event: .runStarted(
                RunEvent.RunStarted(
                    run: RunID(rawValue: cluster.configuration.seed), version: Longhaul.version,
                    command: CommandLine.arguments, configuration: cluster.configuration,
                    topology: cluster.topology, emulated: true, curve: true,
                    parameterCount: cluster.configuration.model.parameterCount,
                    machine: MachineDescription.text, simulated: statement)))
    }
}
