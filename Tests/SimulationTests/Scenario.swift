import ClusterModel
import Simulation

/// A cluster and what happens to it, by hand.
struct Scenario {
    var topology = SampleCluster.topology(workers: [2, 2])
    var configuration = SampleCluster.configuration(
        seed: 5, steps: 12, inner: .everyStep, outer: .diloco, syncEvery: 4)
    var options = SimulationOptions(seed: 5, payloads: .tensors(elements: 100))

    init() {
        options.livenessBound = .seconds(400)
        options.occurrenceLimit = 200_000
    }

    mutating func fault(_ seconds: Double, _ fault: Fault) {
        options.faults.append(
            TimedFault(at: Instant.zero + Interval(seconds: seconds), fault: fault))
    }

    func simulator(resuming saved: [SavedState?] = []) -> Simulator {
        Simulator(
            topology: topology, configuration: configuration, options: options, resuming: saved)
    }
}

extension SimulationResult {
    /// Codes of the workers' processes, as numbers; -1 for a crashed one.
    var codes: [Int32] { workerCodes.map { $0?.rawValue ?? -1 } }

    func count(_ isWanted: (RunEvent) -> Bool) -> Int { events.count { isWanted($0.event) } }
}
