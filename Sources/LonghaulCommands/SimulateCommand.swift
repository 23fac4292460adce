import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import RunRecord
import Simulation

/// `longhaul simulate`: the machines that ship, under a virtual clock.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run a cluster file, or seeds full of faults, under a virtual clock.",
        discussion: """
            EXAMPLES
              longhaul simulate Cluster/shanghai-jinan.yaml
              longhaul simulate Cluster/shanghai-jinan.yaml --fidelity round
              longhaul simulate --workers 10000 --regions 100 --rounds 100 --fidelity round
              longhaul simulate --swarm --seeds 1..1000
              longhaul simulate --swarm --seeds 17..17 --verbose
            """)

    @Argument(help: "Cluster file (YAML).")
    var file: String?

    @Option(help: "Seed, instead of the file's.")
    var seed: UInt64?

    @Option(help: "Inner steps, instead of the file's.")
    var steps: UInt32?

    @Flag(help: "Each seed expands to a cluster and faults; checkers look for violations.")
    var swarm = false

    @Option(help: "Seeds of the swarm: A..B.")
    var seeds = "1..100"

    @Flag(help: "With one seed of the swarm: its options and every event.")
    var verbose = false

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var scale: ScaleOptions

    func run() throws {
        if swarm {
            guard file == nil, seed == nil, steps == nil, !json else {
                throw Failure(.usage, "--swarm takes --seeds and --verbose only")
            }
            return try runSwarm()
        }
        var cluster = try scale.cluster(file: file)
        if let seed { cluster.configuration.seed = seed }
        if let steps { cluster.configuration.steps = steps }
        let parameters = cluster.configuration.model.parameterCount
        var options = SimulationOptions(
            seed: cluster.configuration.seed, payloads: .modelled(parameters: parameters))
        options.checks = false
        options.fidelity = try scale.fidelity(workers: cluster.topology.seats.count)
        let start = StampedEvent(
            time: .zero, source: "simulator",
            event: .runStarted(
                RunEvent.RunStarted(
                    run: RunID(rawValue: cluster.configuration.seed), version: Longhaul.version,
                    command: CommandLine.arguments, configuration: cluster.configuration,
                    topology: cluster.topology, emulated: true, curve: false,
                    parameterCount: parameters,
                    machine: "simulated: virtual clock, modelled compute, links and payloads")))
        let simulation = try TimedSimulation(
            topology: cluster.topology, configuration: cluster.configuration, options: options,
            start: start)
        if json {
            try simulation.printJSON()
        } else {
            print(
                """
                simulated: virtual clock; compute, links and payload sizes are modelled, nothing is \
                learnt (loss 0)
                """)
            print(simulation.text)
        }
    }

    private func runSwarm() throws {
        let range = try seedRange()
        if verbose, range.count == 1 { return try describe(range.lowerBound) }
        let clock = ContinuousClock()
        let began = clock.now
        let report = Swarm.run(seeds: range) { seed in
            if seed % 500 == 0 { Console.error("seed \(seed)") }
        }
        let seconds = Double((clock.now - began) / .milliseconds(1)) / 1000
        for failure in report.failures.prefix(20) {
            print("seed \(failure.seed) FAILED")
            for line in failure.description { print("  \(line)") }
            for finding in failure.findings { print("  \(finding.checker): \(finding.text)") }
            print("  repeat: \(failure.command) --verbose")
        }
        let rate = Int(Double(report.runs) / max(seconds, 0.001) * 60)
        print(
            "\(report.runs) seeds, \(report.failures.count) violations, \(report.rounds) rounds, "
                + "\(Int(report.virtualTime.seconds)) virtual seconds, \(rate) seeds per minute")
        for ending in report.endings { print("  \(ending.code): \(ending.count)") }
        if !report.failures.isEmpty { throw EndOfRun(code: .violation) }
    }

    private func describe(_ seed: UInt64) throws {
        for line in SwarmSeed(seed).description { print(line) }
        let result = Swarm.run(seed, notesFrames: true)
        for event in result.events {
            print("\(event.time.nanoseconds / 1_000_000) ms \(event.source): \(event.event)")
        }
        for finding in result.findings { print("\(finding.checker): \(finding.text)") }
        print("trace hash \(String(result.traceHash, radix: 16)); \(result.reason)")
        if !result.findings.isEmpty { throw EndOfRun(code: .violation) }
    }

    private func seedRange() throws -> ClosedRange<UInt64> {
        let parts = seeds.components(separatedBy: "..").compactMap { UInt64($0) }
        guard let first = parts.first, let last = parts.last, parts.count <= 2, first <= last else {
            throw Failure(.usage, "--seeds '\(seeds)' is not A..B", hint: "for example 1..1000")
        }
        return first...last
    }
}
