import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Simulation

/// What the simulation itself cost; printed with every result, in JSON as `simulation`.
struct SimulationCost: Encodable {
    var fidelity: Fidelity
    var fidelityText: String
    var wallSeconds: Double
    var virtualSeconds: Double
    /// Entries taken from the event queue.
    var events: Int
    var eventsPerSecond: Double
    var eventsPerRound: Double
    var committedRounds: UInt32
    var peakMemoryBytes: UInt64
    var traceHash: String
    /// Only at fidelity round.
    var coordinatorEvents: Int?
    /// Host time in the coordinator's machine, start and end of the run included.
    var coordinatorSeconds: Double?
    var coordinatorSecondsPerRound: Double?

    var text: String {
        var text =
            "\(fidelityText)\n\(Figures.grouped(Double(events))) events in "
            + "\(Figures.duration(wallSeconds)): \(Figures.grouped(eventsPerSecond)) per second, "
            + "\(Figures.grouped(eventsPerRound)) per round; peak memory "
            + Figures.bytes(Double(peakMemoryBytes))
        if let coordinatorEvents, let coordinatorSeconds, let coordinatorSecondsPerRound {
            text +=
                "\ncoordinator: \(Figures.grouped(Double(coordinatorEvents))) events in "
                + "\(Figures.duration(coordinatorSeconds)), "
                + "\(Figures.duration(coordinatorSecondsPerRound)) per round"
        }
        return text
    }
}

/// A run of one fidelity, timed.
struct TimedSimulation {
    var summary: RunSummary
    var cost: SimulationCost
    /// Complete at fidelities `chunk` and `slice`; empty at `round`, whose events go to the summary.
    var result: SimulationResult

    init(
        topology: Topology, configuration: RunConfiguration, options: SimulationOptions,
        start: StampedEvent
    ) throws {
        let clock = ContinuousClock()
        let began = clock.now
        var builder = SummaryBuilder()
        builder.add(start)
        var handling: (events: Int, seconds: Double)?
        switch options.fidelity {
        case .chunk, .slice:
            result = Simulator(
                topology: topology, configuration: configuration, options: options
            ).run()
            for event in result.events { builder.add(event) }
        case .round:
            let simulator = RoundSimulator(
                topology: topology, configuration: configuration, options: options)
            simulator.sink = { builder.add($0) }
            var total = Duration.zero
            var since = began
            simulator.coordinatorWorks = { works in
                if works { since = clock.now } else { total += clock.now - since }
            }
            result = simulator.run()
            handling = (simulator.coordinatorEvents, total / .seconds(1))
        }
        let seconds = (clock.now - began) / .seconds(1)
        let rounds = Double(max(1, result.committedRounds))
        cost = SimulationCost(
            fidelity: options.fidelity, fidelityText: options.fidelity.text, wallSeconds: seconds,
            virtualSeconds: Interval(nanoseconds: result.virtualTime.nanoseconds).seconds,
            events: result.occurrences,
            eventsPerSecond: Double(result.occurrences) / max(seconds, 1e-6),
            eventsPerRound: Double(result.occurrences) / rounds,
            committedRounds: result.committedRounds, peakMemoryBytes: ProcessMemory.peakBytes(),
            traceHash: String(result.traceHash, radix: 16), coordinatorEvents: handling?.events,
            coordinatorSeconds: handling?.seconds,
            coordinatorSecondsPerRound: handling.map { $0.seconds / rounds })
        summary = try builder.summary()
    }

    /// The summary as `up` prints it; of thousands of workers and links only the first ones.
    var text: String {
        var shown = summary
        let limit = 20
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
        return SummaryText.render(shown) + note + "\n" + cost.text
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
