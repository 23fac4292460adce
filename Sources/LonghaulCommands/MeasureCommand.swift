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
            all workers as one site, every step a round; the pool.

            EXAMPLES
              longhaul measure Cluster/shanghai-jinan.yaml --steps 90
              longhaul measure Cluster/shanghai-jinan.yaml --repetitions 5 --dir runs/measure --json
              longhaul measure Cluster/shanghai-jinan.yaml --sweep rate=1..100Mbit/s,distance=0..6000km
            """)

    @OptionGroup var input: RunFile

    @Option(help: "How often everything is run.")
    var repetitions = 3

    @Option(help: "Directory of the runs; by default runs/NAME-measure-DATE.")
    var dir: String?

    @Option(
        help: "Simulate E1 over link rates and distances instead: rate=A..BMbit/s,distance=A..Bkm.")
    var sweep: String?

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
        try UpCommand.checkData(cluster.configuration.data.path)
        let directory = try UpCommand.makeDirectory(
            dir, resume: nil, name: "\(cluster.configuration.name)-measure")
        let runner = VariantRunner(
            cluster: cluster, arguments: input.arguments(cluster), directory: directory)
        var measurement = Measurement(cluster)
        for repetition in 1...repetitions {
            let seed = cluster.configuration.seed &+ UInt64(repetition - 1)
            let name = "\(directory)/\(repetition)"
            Console.error("longhaul: repetition \(repetition) of \(repetitions), seed \(seed)")
            let alone = try runner.run(
                cluster.topology.regions.map {
                    ("\(name)-\($0.name)", ["--only-region", $0.name])
                },
                seed)
            let site = try runner.run([("\(name)-one-site", ["--one-site"])], seed)
            let pool = try runner.run([("\(name)-pool", [])], seed)
            measurement.add(pool: pool[0], alone: alone, site: site[0])
        }
        let page = "\(directory)/report.html"
        try HTMLReport.render(measurement.lastPool, efficiency: measurement.efficiency)
            .write(toFile: page, atomically: true, encoding: .utf8)
        if json {
            try Console.printJSON(measurement.report)
        } else {
            print(measurement.text)
            print("\nreport of the last pool, with E1 to E3: \(page)")
        }
    }
}

extension MeasureCommand {
    private func run(_ sweep: String, _ cluster: ClusterFile) throws {
        guard dir == nil else {
            throw Failure(.usage, "--sweep writes nothing; leave --dir out")
        }
        let range = try SweepRange(sweep)
        let report = try MeasureSweep(cluster).run(range)
        if json {
            try Console.printJSON(report)
        } else {
            print(MeasureSweep.text(report, range, name: cluster.configuration.name))
        }
    }
}

/// Figures of all repetitions.
struct Measurement {
    struct Report: Encodable {
        var repetitions = 0
        var computeUtilisation: MeanInterval?
        var e1: MeanInterval?
        var e2: MeanInterval?
        var e3: MeanInterval?
        var tokensPerSecond: MeanInterval?
        var aloneTokensPerSecond: MeanInterval?
        var oneSiteTokensPerSecond: MeanInterval?
        /// Validation loss at the end, of the pool / of one site, at equal tokens.
        var lossRatio: MeanInterval?
        /// Shares of the pool's trainer time.
        var waiting: MeanInterval?
        var compression: MeanInterval?
        /// The pool's workers together took more than 75 % of the cores: CU and E1 mean less.
        var isContended: Bool?
        var definitions: [RunSummary.Definition] =
            RunSummary.Definition.all.filter { $0.term == "CU" } + Efficiency.definitions
    }

    private let name: String
    private var pools: [RunSummary] = []
    private var efficiencies: [Efficiency] = []
    private var aloneRates: [Double] = []
    private var siteRates: [Double] = []
    private var lossRatios: [Double] = []

    init(_ cluster: ClusterFile) { name = cluster.configuration.name }

    mutating func add(pool: RunSummary, alone: [RunSummary], site: RunSummary) {
        pools.append(pool)
        efficiencies.append(Efficiency(pool: pool, alone: alone, reference: site))
        aloneRates.append(alone.compactMap(\.pool.tokensPerSecond).reduce(0, +))
        if let rate = site.pool.tokensPerSecond { siteRates.append(rate) }
        if let here = pool.loss.finalValidationLoss, let there = site.loss.finalValidationLoss,
            there > 0
        {
            lossRatios.append(here / there)
        }
    }

    var lastPool: RunSummary { pools[pools.count - 1] }

    /// Of the last repetition, with the means of all in the place of its ratios.
    var efficiency: Efficiency {
        var last = efficiencies[efficiencies.count - 1]
        last.e1 = MeanInterval(efficiencies.compactMap(\.e1))?.mean
        last.e2 = MeanInterval(efficiencies.compactMap(\.e2))?.mean
        last.e3 = MeanInterval(efficiencies.compactMap(\.e3))?.mean
        return last
    }

    var report: Report {
        var report = Report()
        report.repetitions = pools.count
        report.computeUtilisation = MeanInterval(pools.compactMap(\.pool.computeUtilisation))
        report.e1 = MeanInterval(efficiencies.compactMap(\.e1))
        report.e2 = MeanInterval(efficiencies.compactMap(\.e2))
        report.e3 = MeanInterval(efficiencies.compactMap(\.e3))
        report.tokensPerSecond = MeanInterval(pools.compactMap(\.pool.tokensPerSecond))
        report.aloneTokensPerSecond = MeanInterval(aloneRates)
        report.oneSiteTokensPerSecond = MeanInterval(siteRates)
        report.lossRatio = MeanInterval(lossRatios)
        report.waiting = share { $0.waitSeconds + $0.transferSeconds }
        report.compression = share { $0.encodeSeconds + $0.decodeSeconds }
        report.isContended = pools.contains { $0.pool.isContended }
        return report
    }

    private func share(_ part: (RunSummary.Budget) -> Double) -> MeanInterval? {
        MeanInterval(
            pools.compactMap { pool -> Double? in
                let budgets = pool.workers.compactMap(\.budget)
                let wall = budgets.reduce(0) { $0 + $1.wallSeconds }
                return wall > 0 ? budgets.reduce(0) { $0 + part($1) } / wall : nil
            })
    }

    var text: String {
        let report = report
        func row(_ name: String, _ value: MeanInterval?, _ scale: Double, _ what: String)
            -> [String]
        {
            guard let value else { return [name, Figures.absent, "", what] }
            let digits = scale == 100 ? 1 : 0
            let width = value.halfWidth.map { "+- " + Figures.fixed($0 * scale, digits) } ?? ""
            let unit = scale == 100 ? " %" : ""
            return [
                name, Figures.fixed(value.mean * scale, digits) + unit,
                width + (width.isEmpty ? "" : unit), what,
            ]
        }
        let rows = [
            row("CU", report.computeUtilisation, 100, "time computing / wall time"),
            row("E1", report.e1, 100, "tokens/s of the pool / sum of the regions alone"),
            row("E2", report.e2, 100, "tokens/s of the pool / one site of equal compute"),
            row("E3", report.e3, 100, "time to the same loss: one site / pool"),
            row("loss", report.lossRatio, 100, "validation loss at equal tokens: pool / one site"),
            row("waiting", report.waiting, 100, "wait and transfer, share of trainer time"),
            row("compression", report.compression, 100, "encode and decode, share of trainer time"),
            row("tokens/s", report.tokensPerSecond, 1, "pool"),
            row("", report.aloneTokensPerSecond, 1, "regions alone, together"),
            row("", report.oneSiteTokensPerSecond, 1, "one site"),
        ]
        let width = rows.map { $0[3].count }.max() ?? 0
        let table = TextTable.render(
            ["", "mean", "95 %", ""],
            rows.map { [$0[0], $0[1], $0[2], TextTable.padded($0[3], width)] })
        let contended =
            report.isContended == true
            ? "\ncontended: the workers took more than 75 % of the cores; CU and E1 mean less" : ""
        return """
            \(name): \(report.repetitions) repetitions, interleaved; links emulated

            \(table)
            intervals are Student's t over the repetitions\(contended)
            """
    }
}
