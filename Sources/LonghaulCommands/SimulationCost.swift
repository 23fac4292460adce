import ClusterModel
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

    /// - Parameter coordinator: calls of its machine, and host seconds in it.
    init(
        _ options: SimulationOptions, _ result: SimulationResult, seconds: Double,
        coordinator: (events: Int, seconds: Double)?
    ) {
        let rounds = Double(max(1, result.committedRounds))
        fidelity = options.fidelity
        fidelityText = options.fidelity.text
        wallSeconds = seconds
        virtualSeconds = Interval(nanoseconds: result.virtualTime.nanoseconds).seconds
        events = result.occurrences
        eventsPerSecond = Double(result.occurrences) / max(seconds, 1e-6)
        eventsPerRound = Double(result.occurrences) / rounds
        committedRounds = result.committedRounds
        peakMemoryBytes = ProcessMemory.peakBytes()
        traceHash = String(result.traceHash, radix: 16)
        coordinatorEvents = coordinator?.events
        coordinatorSeconds = coordinator?.seconds
        coordinatorSecondsPerRound = coordinator.map { $0.seconds / rounds }
    }

    var text: String {
        var text =
            "\(fidelityText)\n\(Figures.grouped(Double(events))) events in "
            + "\(Figures.duration(wallSeconds)): \(Figures.grouped(eventsPerSecond)) per second, "
            + "\(Figures.grouped(eventsPerRound)) per round; peak memory "
            + "\(Figures.bytes(Double(peakMemoryBytes))); trace hash \(traceHash)"
        if let coordinatorEvents, let coordinatorSeconds, let coordinatorSecondsPerRound {
            text +=
                "\ncoordinator: \(Figures.grouped(Double(coordinatorEvents))) events in "
                + "\(Figures.duration(coordinatorSeconds)), "
                + "\(Figures.duration(coordinatorSecondsPerRound)) per round"
        }
        return text
    }
}
