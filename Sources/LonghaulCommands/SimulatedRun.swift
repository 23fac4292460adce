import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Simulation

/// One simulated run of a cluster file and what can be said about it.
struct SimulatedRun {
    /// What the trainers of a simulated run do.
    enum Training: String, CaseIterable, Sendable {
        /// Nothing: sizes travel.
        case modelled
        /// What worker processes do.
        case real
    }

    /// Its events are there at fidelities `chunk` and `slice`; at `round` they only pass `record`.
    let result: SimulationResult
    let summary: RunSummary
    /// What is real and what is modelled, for people.
    let statement: String
    let cost: SimulationCost

    /// Runs it to its end.
    ///
    /// - Parameters:
    ///   - directory: where `.real` training writes the model; nil: nowhere.
    ///   - record: takes every event, in order.
    ///   - adjust: what the run's options should be beyond the file's.
    /// - Throws: `CorpusError` and `ModelShapeError` of `.real` training.
    init(
        _ cluster: ClusterFile, training: Training, fidelity: Fidelity = .chunk,
        directory: String? = nil, record: @escaping (StampedEvent) -> Void = { _ in },
        adjust: (inout SimulationOptions) -> Void = { _ in }
    ) throws {
        let parameters = cluster.configuration.model.parameterCount
        var options = SimulationOptions(
            seed: cluster.configuration.seed,
            payloads: training == .real
                ? .hosted(parameters: parameters) : .modelled(parameters: parameters))
        options.checks = false
        options.encrypts = true
        options.fidelity = fidelity
        adjust(&options)
        let clock = ContinuousClock()
        let began = clock.now
        statement =
            Self.statement(
                training, fidelity, learns: cluster.configuration.model.synthetic == nil)
            + Self.tokenStatement(cluster, training)
        let collector = SummaryCollector()
        let take = { (event: StampedEvent) in
            // The run is told of below, with the command that made it.
            if case .runStarted = event.event, event.source != "simulator" { return }
            collector.builder.add(event)
            record(event)
        }
        take(Self.start(cluster, statement))
        var handling: (events: Int, seconds: Double)?
        switch fidelity {
        case .chunk, .slice:
            result = try Self.frameByFrame(cluster, training, options, directory)
            for event in result.events { take(event) }
        case .round:
            (result, handling) = Self.roundByRound(cluster, options, take)
        }
        cost = SimulationCost(
            options, result, seconds: (clock.now - began) / .seconds(1), coordinator: handling)
        summary = try collector.builder.summary()
    }

    private static func frameByFrame(
        _ cluster: ClusterFile, _ training: Training, _ options: SimulationOptions,
        _ directory: String?
    ) throws -> SimulationResult {
        let host =
            training == .real
            ? try RealTrainers(
                configuration: cluster.configuration, topology: cluster.topology,
                directory: directory) : nil
        return Simulator(
            topology: cluster.topology, configuration: cluster.configuration, options: options,
            host: host,
            configurationText: Briefing(
                configuration: cluster.configuration, topology: cluster.topology
            ).text, eventBytes: Self.eventBytes
        ).run()
    }

    /// Paths and processors differ between machines; a simulated run does not.
    private static func eventBytes(_ event: RunEvent) -> Int {
        switch event {
        case .modelWritten(let worker, _, let digest):
            EventCoding.encode(
                .modelWritten(
                    worker: worker, path: "runs/simulated/model.safetensors", digest: digest)
            ).count
        case .note(let source, let text) where text.hasPrefix(SummaryBuilder.kernelNotePrefix):
            EventCoding.encode(.note(source: source, text: SummaryBuilder.kernelNotePrefix)).count
        default: EventCoding.encode(event).count
        }
    }

    private static func roundByRound(
        _ cluster: ClusterFile, _ options: SimulationOptions,
        _ take: @escaping (StampedEvent) -> Void
    ) -> (SimulationResult, (events: Int, seconds: Double)) {
        let simulator = RoundSimulator(
            topology: cluster.topology, configuration: cluster.configuration, options: options)
        simulator.sink = take
        let clock = ContinuousClock()
        var total = Duration.zero
        var since = clock.now
        simulator.coordinatorWorks = { works in
            if works { since = clock.now } else { total += clock.now - since }
        }
        let result = simulator.run()
        return (result, (simulator.coordinatorEvents, total / .seconds(1)))
    }

    /// - Parameter learns: real training does; a synthetic trainer does not.
    private static func statement(
        _ training: Training, _ fidelity: Fidelity, learns: Bool
    ) -> String {
        switch (training, fidelity) {
        case (.modelled, .round):
            """
            virtual clock; compute, links, collectives and payload sizes are modelled, \
            nothing is learnt (loss 0); the coordinator is the one that ships, and plans do not \
            follow measured rates
            """
        case (.modelled, _):
            """
            virtual clock; compute, links and payload sizes are modelled, nothing is \
            learnt (loss 0); the machines are those that ship
            """
        case (.real, _) where !learns:
            """
            virtual clock; durations and links are modelled; encoding and reduction are real, and so \
            are the bytes and the digests; the trainer is synthetic: nothing is learnt, and no loss \
            means anything; the machines are those that ship
            """
        case (.real, _):
            """
            virtual clock; durations and links are modelled; training, encoding and \
            reduction are real, and so are the losses, the bytes and the digests; the machines are \
            those that ship
            """
        }
    }

    /// With `across: budget`, or `spread: region`.
    private static func tokenStatement(_ cluster: ClusterFile, _ training: Training) -> String {
        if cluster.configuration.spreadsExperts {
            switch training {
            case .real:
                return "; tokens travel inside regions in frames of their own, and a step computes "
                    + "for equal times before, between and after their exchanges"
            case .modelled: return "; tokens to experts of other workers cost nothing"
            }
        }
        guard cluster.configuration.model.experts?.crossing != nil else { return "" }
        let frames =
            "; tokens cross between regions in frames of their own, and a step computes for equal times "
            + "before, between and after their exchanges"
        switch training {
        case .real: return frames + "; which tokens cross, and their bytes, are real"
        case .modelled:
            return frames
                + "; how many want to cross is modelled: each choice is a token of its own, and the use of "
                + "a block's experts falls evenly from the first to the last"
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

    /// The summary as `up` prints it; of thousands of workers and links only the first ones.
    func text(files: [(label: String, path: String)]) -> String {
        var shown = summary
        let limit = 64
        var left: [String] = []
        func shorten(_ count: Int, _ what: String) {
            if count > limit { left.append("\(count - limit) more \(what)") }
        }
        shorten(shown.workers.count, "workers")
        shorten(shown.regions.count, "regions")
        shorten(shown.links.count, "links")
        if !left.isEmpty {
            shown.workers = Array(shown.workers.prefix(limit))
            shown.regions = Array(shown.regions.prefix(limit))
            shown.links = Array(shown.links.prefix(limit))
            shown.incidents = []
        }
        let note = left.isEmpty ? "" : "\nnot shown: \(left.joined(separator: ", ")); see --json\n"
        return SummaryText.render(shown, files: files) + note + "\n" + cost.text
    }

    /// `run.json` with one more key, `simulation`.
    func printJSON() throws {
        print(
            String(
                decoding: try RunJSON.encode(Document(summary: summary, cost: cost)),
                as: UTF8.self))
    }

    private struct Document: Encodable {
        let summary: RunSummary
        let cost: SimulationCost
        private enum Key: String, CodingKey { case simulation }

        func encode(to encoder: any Encoder) throws {
            try summary.encode(to: encoder)
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(cost, forKey: .simulation)
        }
    }
}

/// A builder that a closure can feed.
private final class SummaryCollector {
    var builder = SummaryBuilder()
}
