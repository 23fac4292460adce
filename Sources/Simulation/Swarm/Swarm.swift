package import ClusterModel

/// Runs seeds: a safety phase while faults last, then a bounded time in which the run must end.
package enum Swarm {
    package struct Report: Sendable {
        package var runs = 0
        package var failures: [Failure] = []
        package var virtualTime = Interval.zero
        package var occurrences = 0
        package var rounds: UInt64 = 0
        /// How runs ended, by exit code (0 where the coordinator was lost).
        package var endings: [(code: String, count: Int)] = []
        package init() {}
    }

    package struct Failure: Sendable {
        package var seed: UInt64
        package var description: [String]
        package var findings: [Finding]
        package init(seed: UInt64, description: [String], findings: [Finding]) {
            self.seed = seed
            self.description = description
            self.findings = findings
        }
        /// The command that repeats it.
        package var command: String { "longhaul simulate --swarm --seeds \(seed)..\(seed)" }
    }

    /// One seed, to its end.
    package static func run(
        _ seed: UInt64, keepsTrace: Bool = false, notesFrames: Bool = false
    ) -> SimulationResult {
        let expanded = SwarmSeed(seed)
        var options = expanded.options
        options.keepsTrace = keepsTrace
        options.notesFrames = notesFrames
        let simulator = Simulator(
            topology: expanded.topology, configuration: expanded.configuration, options: options)
        let first = simulator.run()
        guard expanded.resumes, first.findings.isEmpty else { return first }
        // The second run has a coordinator again and no faults.
        options.faults = []
        options.starts = []
        let second = Simulator(
            topology: expanded.topology, configuration: expanded.configuration, options: options,
            resuming: simulator.savedStates)
        var result = second.run()
        result.traceHash ^= first.traceHash << 1
        result.occurrences += first.occurrences
        return result
    }

    /// All of `seeds`, one after another. `progress` is called before each: a machine's precondition
    /// ends the process, and the last seed named is the one to repeat.
    package static func run(
        seeds: ClosedRange<UInt64>, progress: (UInt64) -> Void = { _ in }
    ) -> Report {
        var report = Report()
        for seed in seeds {
            progress(seed)
            let result = run(seed)
            report.runs += 1
            report.virtualTime = report.virtualTime + (result.virtualTime - .zero)
            report.occurrences += result.occurrences
            report.rounds += UInt64(result.committedRounds)
            let code = result.code.map { "\($0)" } ?? "coordinator lost"
            if let index = report.endings.firstIndex(where: { $0.code == code }) {
                report.endings[index].count += 1
            } else {
                report.endings.append((code, 1))
            }
            if !result.findings.isEmpty {
                report.failures.append(
                    Failure(
                        seed: seed, description: SwarmSeed(seed).description,
                        findings: result.findings))
            }
        }
        return report
    }
}
