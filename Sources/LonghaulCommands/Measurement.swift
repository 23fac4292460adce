import ClusterFile
import ClusterModel
import Foundation
import RunRecord

/// Figures of all repetitions.
struct Measurement {
    struct Report: Encodable {
        var repetitions = 0
        var computeUtilisation: MeanInterval?
        var steadyComputeUtilisation: MeanInterval?
        var e1: MeanInterval?
        var e1Steady: MeanInterval?
        var e2: MeanInterval?
        var e3: MeanInterval?
        var tokensPerSecond: MeanInterval?
        var aloneTokensPerSecond: MeanInterval?
        var oneSiteTokensPerSecond: MeanInterval?
        /// Validation loss at the end, of the pool / of one site, at equal tokens.
        var lossRatio: MeanInterval?
        /// 1 - tokens/s of the pool / tokens/s without encryption of its data lanes.
        var encryption: MeanInterval?
        /// Shares of the pool's trainer time.
        var waiting: MeanInterval?
        var compression: MeanInterval?
        /// The pool's workers together took more than 75 % of the cores: CU and E1 mean less.
        var isContended: Bool?
        var definitions: [RunSummary.Definition] =
            RunSummary.Definition.all.filter { $0.term == "CU" } + Efficiency.definitions
    }

    private let name: String
    private let warmStart: UInt32?
    /// Losses mean something.
    private let learns: Bool
    private var pools: [RunSummary] = []
    private var efficiencies: [Efficiency] = []
    private var aloneRates: [Double] = []
    private var siteRates: [Double] = []
    private var lossRatios: [Double] = []
    private var encryptionCosts: [Double] = []
    /// Of the last repetition, for its curves.
    private var last: [(name: String, summary: RunSummary)] = []

    init(_ cluster: ClusterFile, warmStart: UInt32?) {
        name = cluster.configuration.name
        self.warmStart = warmStart
        learns = cluster.configuration.model.synthetic == nil
    }

    mutating func add(_ results: [Variant: [RunSummary]]) {
        guard let pool = results[.pool]?.first, let alone = results[.alone],
            let site = results[.oneSite]?.first
        else { return }
        last = [("pool", pool), ("one site", site)]
        if let plain = results[.plain]?.first {
            last.append(("pool, not encrypted", plain))
            if let here = pool.pool.tokensPerSecond, let there = plain.pool.tokensPerSecond {
                encryptionCosts.append(1 - here / there)
            }
        }
        last += alone.map { ("\($0.regions[0].name) alone", $0) }
        pools.append(pool)
        efficiencies.append(Efficiency(pool: pool, alone: alone, reference: site))
        aloneRates.append(alone.compactMap(\.pool.tokensPerSecond).reduce(0, +))
        if let rate = site.pool.tokensPerSecond { siteRates.append(rate) }
        if learns, let here = pool.loss.finalValidationLoss,
            let there = site.loss.finalValidationLoss, there > 0
        {
            lossRatios.append(here / there)
        }
    }

    var report: Report {
        var report = Report()
        if !learns { report.definitions.removeAll { $0.term == "E3" } }
        report.repetitions = pools.count
        report.computeUtilisation = MeanInterval(pools.compactMap(\.pool.computeUtilisation))
        report.steadyComputeUtilisation = MeanInterval(
            pools.compactMap(\.pool.steadyComputeUtilisation))
        report.e1 = MeanInterval(efficiencies.compactMap(\.e1))
        report.e1Steady = MeanInterval(efficiencies.compactMap(\.e1Steady))
        report.e2 = MeanInterval(efficiencies.compactMap(\.e2))
        report.e3 = MeanInterval(efficiencies.compactMap(\.e3))
        report.tokensPerSecond = MeanInterval(pools.compactMap(\.pool.tokensPerSecond))
        report.aloneTokensPerSecond = MeanInterval(aloneRates)
        report.oneSiteTokensPerSecond = MeanInterval(siteRates)
        report.lossRatio = MeanInterval(lossRatios)
        report.encryption = MeanInterval(encryptionCosts)
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

    private var rows: [MeasureReport.Row] {
        let report = report
        let efficiencies: [MeasureReport.Row] = [
            .init("CU", report.computeUtilisation, .share, "time computing / wall time"),
            .init("E1", report.e1, .share, "tokens/s of the pool / sum of the regions alone"),
            .init("E1 steady", report.e1Steady, .share, "E1 from the first step to the last"),
            .init("CU steady", report.steadyComputeUtilisation, .share, "CU likewise, of the pool"),
            .init("E2", report.e2, .share, "tokens/s of the pool / one site of equal compute"),
        ]
        let costs: [MeasureReport.Row] = [
            .init(
                "encryption", report.encryption, .share,
                "1 - tokens/s of the pool / without encryption of its data lanes"),
            .init(
                "waiting", report.waiting, .share, "wait and transfer, share of trainer time"),
            .init(
                "compression", report.compression, .share,
                "encode and decode, share of trainer time"),
            .init("tokens/s", report.tokensPerSecond, .rate, "pool"),
            .init("", report.aloneTokensPerSecond, .rate, "regions alone, together"),
            .init("", report.oneSiteTokensPerSecond, .rate, "one site"),
        ]
        return efficiencies + (learns ? lossRows(report) : []) + costs
    }

    private func lossRows(_ report: Report) -> [MeasureReport.Row] {
        [
            .init("E3", report.e3, .share, "time to the same loss: one site / pool"),
            .init(
                "loss", report.lossRatio, .share,
                "validation loss at equal tokens: pool / one site"),
        ]
    }

    private var notes: [String] {
        var notes = ["Intervals are Student's t over the repetitions, 95 %."]
        if !learns { notes.append(SummaryText.synthetic) }
        if let warmStart {
            notes.append(
                "All runs started from what one site had learnt in \(warmStart) steps, with fresh "
                    + "optimisers.")
        }
        if report.isContended == true {
            notes.append(
                "Contended: the workers took more than 75 % of the cores; CU and E1 mean less.")
        }
        return notes
    }

    var text: String {
        let rows = rows
        let width = rows.map(\.definition.count).max() ?? 0
        let table = TextTable.render(
            ["", "mean", "95 %", ""],
            rows.map {
                [$0.term, $0.mean, $0.interval, TextTable.padded($0.definition, width)]
            })
        return """
            \(name): \(pools.count) repetitions, interleaved; links emulated

            \(table)
            \(notes.joined(separator: "\n"))
            """
    }

    /// The report as HTML, with the loss curves of the last repetition.
    func page(_ file: String) -> String {
        MeasureReport.render(
            name: name, file: file, repetitions: pools.count, rows: rows, notes: notes, runs: last)
    }
}
