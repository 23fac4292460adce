import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import RunRecord

/// `longhaul measure`: each region alone, all as one site, and the pool, in turn; what distance costs.
struct MeasureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Measure what pooling costs: CU, E1, E2, E3 with confidence intervals.",
        discussion: """
            Each repetition runs, one after another and with one seed: all regions at the same time, each
            by itself (so that they share this machine as the pool does, and only communication differs);
            all workers as one site, every step a round; the pool; the pool without encryption of its data
            lanes. The order rotates. Finished runs of --dir are not run again.

            EXAMPLES
              longhaul measure Cluster/shanghai-jinan.yaml --steps 90
              longhaul measure Cluster/shanghai-jinan.yaml --repetitions 5 --dir runs/measure --json
              longhaul measure Cluster/shanghai-jinan.yaml --warm-start 300 --repetitions 3 --dir runs/m
              longhaul measure Cluster/shanghai-jinan.yaml --sweep rate=1..100Mbit/s,distance=0..6000km
              longhaul measure Cluster/shanghai-jinan.yaml --dir runs/s --real-points 4 \\
                --sweep rate=1..100Mbit/s,distance=0..6000km
            """)

    @OptionGroup var input: RunFile

    @Option(parsing: .unconditional, help: "How often everything is run.")
    var repetitions = 3

    @Option(help: "Directory of the runs; by default runs/NAME-measure-DATE.")
    var dir: String?

    @Option(
        help: "Simulate E1 over link rates and distances instead: rate=A..BMbit/s,distance=A..Bkm.")
    var sweep: String?

    @Option(
        parsing: .unconditional,
        help: "With --sweep: run this many points too, thresholds first, and tell the error.")
    var realPoints: Int?

    @Option(
        parsing: .unconditional,
        help: "One site trains this many steps first; every run starts from its parameters.")
    var warmStart: UInt32?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        guard (1...100).contains(repetitions) else {
            throw Failure(.usage, "--repetitions \(repetitions) is not in 1 to 100")
        }
        guard input.onlyRegion == nil, !input.oneSite else {
            throw Failure(
                .usage, "measure runs every variant; leave --only-region and --one-site out")
        }
        let cluster = try input.load()
        guard cluster.topology.regions.count > 1 else {
            throw Failure(
                .configuration, "\(input.file) has one region: there is no distance to measure")
        }
        if let sweep { return try run(sweep, cluster) }
        guard realPoints == nil else {
            throw Failure(.usage, "--real-points goes with --sweep")
        }
        try UpCommand.checkData(cluster)
        let directory = try UpCommand.makeDirectory(
            dir, resume: nil, name: "\(cluster.configuration.name)-measure")
        let runner = try runner(cluster, directory)
        let start = try warmUp(runner, cluster)
        var measurement = Measurement(cluster, warmStart: warmStart)
        for repetition in 1...repetitions {
            let seed = cluster.configuration.seed &+ UInt64(repetition - 1)
            Console.error("longhaul: repetition \(repetition) of \(repetitions), seed \(seed)")
            var results: [Variant: [RunSummary]] = [:]
            // Whoever is first in one repetition is last in the next: slow drift hits all alike.
            for turn in Variant.allCases.indices {
                let count = Variant.allCases.count
                let variant = Variant.allCases[(turn + repetition - 1) % count]
                results[variant] = try runner.run(
                    variant.runs("\(directory)/\(repetition)", cluster.topology).map {
                        ($0.directory, $0.flags + start)
                    }, seed)
            }
            measurement.add(results)
        }
        let page = "\(directory)/report.html"
        try measurement.page(input.file).write(toFile: page, atomically: true, encoding: .utf8)
        if json {
            try Console.printJSON(measurement.report)
        } else {
            print(measurement.text)
            let learns = cluster.configuration.model.synthetic == nil
            print("\nreport\(learns ? " with the loss curves of all variants" : ""): \(page)")
        }
    }

    private func runner(_ cluster: ClusterFile, _ directory: String) throws -> VariantRunner {
        VariantRunner(
            cluster: cluster, arguments: input.arguments(cluster), directory: directory,
            signals: try StopSignals(),
            kept: (
                "the runs that had finished are in '\(directory)'",
                "the same command with --dir \(directory) --seed \(cluster.configuration.seed) goes on; of "
                    + "the run that was stopped only the .log stays"
            ))
    }

    /// Flags by which a run starts from what one site has learnt in `warmStart` steps.
    private func warmUp(_ runner: VariantRunner, _ cluster: ClusterFile) throws -> [String] {
        guard let warmStart else { return [] }
        guard warmStart > 0 else { throw Failure(.usage, "--warm-start 0 trains nothing") }
        let directory = "\(runner.directory)/\(VariantRunner.warmStart)"
        _ = try runner.run(
            [(directory, ["--one-site", "--steps", String(warmStart)])],
            cluster.configuration.seed)
        return ["--start-from", "\(directory)/model.safetensors"]
    }
}

/// What a repetition runs.
enum Variant: CaseIterable {
    case alone, oneSite, pool, plain

    func runs(_ prefix: String, _ topology: Topology) -> [(directory: String, flags: [String])] {
        switch self {
        case .alone:
            topology.regions.map { ("\(prefix)-\($0.name)", ["--only-region", $0.name]) }
        case .oneSite: [("\(prefix)-one-site", ["--one-site"])]
        case .pool: [("\(prefix)-pool", [])]
        case .plain: [("\(prefix)-pool-plain", ["--plain"])]
        }
    }
}

extension MeasureCommand {
    private func run(_ sweep: String, _ cluster: ClusterFile) throws {
        guard dir == nil || realPoints != nil else {
            throw Failure(
                .usage, "--sweep without --real-points writes nothing; leave --dir out")
        }
        guard warmStart == nil else {
            throw Failure(.usage, "--warm-start changes losses, and a sweep has none")
        }
        let range = try SweepRange(sweep)
        if let realPoints {
            guard (1...100).contains(realPoints) else {
                throw Failure(.usage, "--real-points \(realPoints) is not in 1 to 100")
            }
            try UpCommand.checkData(cluster)
        }
        let simulation = try MeasureSweep(cluster)
        var report = try simulation.run(range)
        if let realPoints { try run(realPoints, of: &report, cluster) }
        if json {
            try Console.printJSON(report)
        } else {
            print(MeasureSweep.text(report, range, name: cluster.configuration.name))
        }
    }

    /// Real runs of some points. The regions alone do not depend on links: they are run once.
    private func run(
        _ count: Int, of report: inout MeasureSweep.Report, _ cluster: ClusterFile
    ) throws {
        let directory = try UpCommand.makeDirectory(
            dir, resume: nil, name: "\(cluster.configuration.name)-sweep")
        let runner = try runner(cluster, directory)
        let seed = cluster.configuration.seed
        let alone = try runner.run(
            Variant.alone.runs("\(directory)/sweep", cluster.topology), seed)
        let rate = alone.compactMap(\.pool.tokensPerSecond).reduce(0, +)
        let kilometres = cluster.topology.links.map(\.distanceKilometres).max() ?? 0
        for point in MeasureSweep.choose(count, of: report, kilometres: kilometres) {
            let megabits = Double(point.bitsPerSecond) / 1e6
            var flags = ["--link-rate", String(megabits)]
            if point.distanceKilometres != kilometres {
                flags += ["--link-distance", String(point.distanceKilometres)]
            }
            let name =
                "\(directory)/\(Figures.significant(megabits))Mbit-"
                + "\(Figures.significant(point.distanceKilometres))km"
            let pool = try runner.run([(name, flags)], seed)[0]
            guard let tokens = pool.pool.tokensPerSecond, rate > 0 else { continue }
            report.realPoints.append(
                MeasureSweep.RealPoint(
                    bitsPerSecond: point.bitsPerSecond,
                    distanceKilometres: point.distanceKilometres, simulatedE1: point.e1,
                    e1: tokens / rate, computeUtilisation: pool.pool.computeUtilisation,
                    error: point.e1 * rate / tokens - 1,
                    isContended: pool.pool.isContended
                        || alone.reduce(0) { $0 + ($1.pool.coreShare ?? 0) }
                            > RunSummary.Pool.contendedShare
                ))
        }
    }
}
