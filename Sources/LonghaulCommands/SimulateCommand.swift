import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import RunRecord
import Simulation
import Training

/// `longhaul simulate`: the machines that ship, under a virtual clock.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run a cluster file, or seeds full of faults, under a virtual clock.",
        discussion: """
            EXAMPLES
              longhaul simulate Cluster/shanghai-jinan.yaml --trace trace.json
              longhaul simulate Cluster/four-regions.yaml --train real
              longhaul simulate Cluster/four-regions.yaml --fidelity round
              longhaul simulate --workers 10000 --regions 100 --rounds 100 --fidelity round
              longhaul simulate Cluster/moe-671b.yaml --experts
              longhaul simulate --swarm --seeds 1..1000
              longhaul simulate --swarm --seeds 17..17 --verbose
            """)

    @Argument(help: "Cluster file (YAML).")
    var file: String?

    @Option(parsing: .unconditional, help: "Seed, instead of the file's.")
    var seed: UInt64?

    @Option(parsing: .unconditional, help: "Inner steps, instead of the file's.")
    var steps: UInt32?

    @Option(help: "What trainers do: 'modelled' moves sizes, 'real' trains on the file's text.")
    var train = SimulatedRun.Training.modelled

    @Option(help: "With --train real: text to train on, instead of the file's.")
    var data: String?

    @Option(help: "Directory for report.html, run.json and, with --train real, the model.")
    var dir: String?

    @Option(help: "Write a Chrome trace (JSON; Perfetto reads it) of every worker's time.")
    var trace: String?

    @Flag(help: "Only how tokens choose experts: no training, no frames (the file's `routing`).")
    var experts = false

    @Flag(help: "Each seed expands to a cluster and faults; checkers look for violations.")
    var swarm = false

    @Option(parsing: .unconditional, help: "Seeds of the swarm: A..B; 1..100 if not given.")
    var seeds: String?

    @Flag(help: "With one seed of the swarm: its options and every event.")
    var verbose = false

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var scale: ScaleOptions

    func run() throws {
        if swarm {
            guard file == nil, seed == nil, steps == nil, data == nil, dir == nil, trace == nil,
                train == .modelled, !scale.isGiven, !json, !experts
            else { throw Failure(.usage, "--swarm takes --seeds and --verbose only") }
            return try runSwarm()
        }
        guard !verbose, seeds == nil else {
            throw Failure(
                .usage, "\(verbose ? "--verbose" : "--seeds") belongs to --swarm",
                hint: "longhaul simulate --swarm --seeds 1..1000")
        }
        guard data == nil || train == .real else {
            throw Failure(.usage, "--data needs --train real: without, no text is read")
        }
        let cluster = try scale.cluster(file: file, seed: seed, steps: steps, data: data)
        if experts {
            guard train == .modelled, dir == nil, trace == nil, scale.fidelity == nil else {
                throw Failure(
                    .usage, "--experts routes tokens only: there is nothing to train or to write",
                    hint: "leave --train, --dir, --trace and --fidelity out")
            }
            let run = try ExpertRoutingRun(cluster)
            if json { return try run.printJSON() }
            return print(run.text)
        }
        let fidelity = try scale.fidelity(workers: cluster.topology.seats.count)
        if fidelity == .round, let reason = RoundSimulator.whyNot(cluster.configuration) {
            throw Failure(.usage, reason, hint: "use --fidelity slice")
        }
        if train == .real { try prepareTraining(cluster, fidelity) }
        try checkTrace(fidelity)
        let run = try simulate(cluster, fidelity)
        for finding in run.result.findings {
            Console.error("longhaul: \(finding.checker): \(finding.text)")
        }
        if !run.result.findings.isEmpty { throw EndOfRun(code: .violation) }
        if let code = run.result.code, code != .ok {
            Console.error("longhaul: \(run.result.reason)")
            throw EndOfRun(code: code)
        }
    }

    private func prepareTraining(_ cluster: ClusterFile, _ fidelity: Fidelity) throws {
        guard fidelity == .chunk else {
            throw Failure(
                .usage, "--train real moves real chunks: fidelity \(fidelity.rawValue) has none",
                hint: "leave --fidelity out")
        }
        try UpCommand.checkData(cluster)
        BlasLibrary.reexecIfMisdetected { Console.error("longhaul: \($0)") }
        BlasLibrary.setThreads(1)
    }

    /// Before the run, not after it: an hour may lie between.
    private func checkTrace(_ fidelity: Fidelity) throws {
        guard let trace else { return }
        guard fidelity != .round else {
            throw Failure(
                .usage, "--trace needs a run frame by frame", hint: "use --fidelity slice")
        }
        try Paths.prepareToWrite(trace, "the trace")
    }

    private func simulate(_ cluster: ClusterFile, _ fidelity: Fidelity) throws -> SimulatedRun {
        let log = try dir.map { try openLog($0) }
        var failure: (any Error)?
        let run: SimulatedRun
        do {
            run = try SimulatedRun(
                cluster, training: train, fidelity: fidelity, directory: dir,
                record: { event in
                    do { try log?.record(event) } catch { failure = failure ?? error }
                }, adjust: { $0.keepsTrace = trace != nil })
        } catch {
            // Nothing ran: the directory is as free as before.
            if let dir {
                try? log?.close()
                try? FileManager.default.removeItem(atPath: ReportFiles(directory: dir).log)
            }
            throw error
        }
        if let log, let dir {
            try log.close()
            try ReportFiles(directory: dir).write()
        }
        if json {
            try run.printJSON()
        } else {
            print("simulated: \(run.statement)")
            print(run.text(files: dir.map { ReportFiles(directory: $0).written } ?? []))
        }
        if let failure { throw Failure(.unavailable, "the record is incomplete: \(failure)") }
        if let trace {
            let names = cluster.topology.seats.map(\.worker.name)
            do {
                try ChromeTrace.json(run.result, names: names)
                    .write(toFile: trace, atomically: false, encoding: .utf8)
            } catch {
                throw Failure(
                    .unavailable,
                    "cannot write the trace '\(trace)': \(error.localizedDescription)",
                    hint: "make room there, or name another file")
            }
        }
        return run
    }

    private func openLog(_ directory: String) throws -> RunLog {
        let files = ReportFiles(directory: directory)
        try files.requireNone()
        try Paths.makeDirectory(directory)
        return try RunLog(path: files.log)
    }

    private func runSwarm() throws {
        let range = try seedRange()
        if verbose {
            guard range.count == 1 else {
                throw Failure(
                    .usage, "--verbose tells of one seed, and these are \(range.count)",
                    hint: "for example --swarm --seeds 17..17 --verbose")
            }
            return try describe(range.lowerBound)
        }
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
        print("  \(Fidelity.chunk.text)")
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
        let seeds = seeds ?? "1..100"
        let parts = seeds.components(separatedBy: "..").map { UInt64($0) }
        guard let first = parts.first ?? nil, let last = parts.last ?? nil, parts.count <= 2,
            first <= last, last - first < 1 << 40
        else {
            throw Failure(.usage, "--seeds '\(seeds)' is not A..B", hint: "for example 1..1000")
        }
        return first...last
    }
}

extension SimulatedRun.Training: ExpressibleByArgument {}
