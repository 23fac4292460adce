import ClusterModel
import Simulation

/// `simulation-bench A B`: seeds A to B; `simulation-bench -v A`: one seed with its events.
let arguments = CommandLine.arguments.dropFirst()
if arguments.first == "-v", let seed = arguments.dropFirst().first.flatMap({ UInt64($0) }) {
    let expanded = SwarmSeed(seed)
    for line in expanded.description { print(line) }
    let result = Swarm.run(seed, notesFrames: arguments.contains("-m"))
    for event in result.events {
        print(Double(event.time.nanoseconds) / 1e9, event.source, event.event)
    }
    for finding in result.findings { print(finding) }
    print(result.code as Any, result.reason, result.workerCodes, result.traceHash)
} else {
    let isNoisy = arguments.contains("-p")
    let bounds = arguments.compactMap { UInt64($0) }
    let clock = ContinuousClock()
    let began = clock.now
    let report = Swarm.run(seeds: (bounds.first ?? 1)...(bounds.last ?? 100)) { seed in
        if isNoisy { print("seed \(seed)") }
    }
    var causes: [(String, Int, UInt64)] = []
    for failure in report.failures {
        let finding = failure.findings[0]
        let words = finding.text.filter { !$0.isNumber }.prefix(70)
        let cause = "\(finding.checker): \(words)"
        if let index = causes.firstIndex(where: { $0.0 == cause }) {
            causes[index].1 += 1
        } else {
            causes.append((cause, 1, failure.seed))
        }
    }
    for cause in causes.sorted(by: { $0.1 > $1.1 }) {
        print(cause.1, "x (first \(cause.2))", cause.0)
    }
    print(
        "\(report.runs) runs, \(report.failures.count) failures, \(report.rounds) rounds,",
        "\(report.occurrences) occurrences, \(report.virtualTime.seconds) virtual s,",
        "\(clock.now - began)")
    for ending in report.endings { print("  \(ending.code): \(ending.count)") }
}
