internal import ClusterModel

/// The end of `longhaul up`: the run in one screen of text.
package enum SummaryText {
    /// - Parameter files: what was written, as (what it is, path), in the order to be shown.
    package static func render(
        _ summary: RunSummary, files: [(label: String, path: String)] = []
    ) -> String {
        let sections = [
            heading(summary), headline(summary), regions(summary), links(summary),
            workers(summary), metering(summary), incidents(summary), paths(files),
        ]
        return sections.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
    }

    /// Of a run without a model.
    package static let synthetic =
        "The trainer is synthetic: gradients are numbers of a generator, nothing was learnt, and no loss "
        + "means anything."

    private static func heading(_ summary: RunSummary) -> String {
        outcome(summary)
            + (summary.setup.synthetic == true ? "\n" + TextTable.wrapped(synthetic) : "")
    }

    private static func outcome(_ summary: RunSummary) -> String {
        let outcome = summary.outcome
        guard outcome.isComplete else {
            return "\(summary.identity.name): INCOMPLETE\n" + TextTable.wrapped(outcome.reason)
        }
        let code = outcome.exitCode ?? 0
        return "\(summary.identity.name): \(code == 0 ? "done" : "ended with code \(code)") in "
            + "\(Figures.duration(summary.pool.wallSeconds)): \(outcome.reason)"
    }

    private static func headline(_ summary: RunSummary) -> String {
        let pool = summary.pool
        var rows = [
            (
                "CU", percent(pool.computeUtilisation),
                "time computing, pacing included / wall time of the trainer threads"
            ),
            (
                "tokens/s", pool.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                "\(Figures.grouped(pool.tokens)) tokens in "
                    + "\(Figures.duration(pool.trainingSeconds)) of training"
            ),
            (
                "training loss", loss(summary.loss.finalTrainingLoss),
                "nats per byte, mean of the last \(summary.loss.finalTrainingSteps) steps"
            ),
            (
                "validation loss", loss(summary.loss.finalValidationLoss),
                summary.loss.finalValidationStep.map { "after step \($0)" } ?? "not evaluated"
            ),
        ]
        if let last = summary.rounds.latest.last {
            let verdict =
                summary.rounds.conflicts.isEmpty
                ? "one digest each, the last \(last.digest)"
                : "DIGESTS DIFFER: \(summary.rounds.conflicts.joined(separator: "; "))"
            rows.append(("rounds", "\(summary.rounds.committed)", verdict))
        }
        if let closing = summary.rounds.closing {
            rows.append(("closed", "\(closing.closed)", closing.text))
        }
        for (index, line) in (summary.setup.overlaps ?? []).prefix(8).enumerated() {
            rows.append((index == 0 ? "overlap" : "", "auto", line))
        }
        if let experts = summary.experts {
            rows += expertRows(experts, everyStep: summary.setup.outerSchedule == "every-step")
        }
        if let metering = summary.metering {
            rows.append(
                ("energy, cost", metering.text(metering.total), "from the profile, not measured"))
        }
        if pool.isContended {
            rows.append(
                (
                    "contended", percent(pool.coreShare),
                    "of this machine's cores taken, more than 75 %: CU and E1 mean less"
                ))
        }
        let label = rows.map(\.0.count).max() ?? 0
        let value = rows.map(\.1.count).max() ?? 0
        return rows.map { row in
            "  " + TextTable.padded(row.0, label) + "  "
                + TextTable.padded(row.1, value, left: true) + "  " + row.2
        }.joined(separator: "\n")
    }

    private static func expertRows(
        _ experts: RunSummary.Experts, everyStep: Bool
    ) -> [(String, String, String)] {
        var rows = [expertRow(experts)]
        if let overlap = experts.overlap.last {
            rows.append(
                (
                    "routing overlap", Figures.fixed(overlap.jaccard, 3),
                    "Jaccard of the regions' most used experts, Jensen-Shannon divergence of use "
                        + "\(Figures.fixed(overlap.jensenShannon, 3)) bit, step \(overlap.step)"
                ))
        }
        if let sync = experts.afterSync {
            rows.append(
                (
                    "loss after sync", Figures.fixed(sync.after - sync.before, 3),
                    "nats per byte, \(sync.steps) steps after a round against \(sync.steps) before, "
                        + "mean of \(sync.rounds)"
                ))
        }
        if let crossing = experts.crossing { rows.append(crossingRow(crossing)) }
        if let traffic = experts.traffic, traffic.measured > 0 {
            let factor = { (bytes: Double) in Figures.significant(bytes / traffic.measured) + " x" }
            let gradients =
                everyStep
                ? "" : "\(factor(traffic.computed.everyStep)) with gradients after each step, "
            rows.append(
                (
                    "bytes/token between", Figures.significant(traffic.measured),
                    "measured; computed: "
                        + (traffic.exchanged == nil
                            ? "" : "\(factor(traffic.plain)) with all experts in every round, ")
                        + "\(gradients)\(factor(traffic.computed.tokensCross)) if "
                        + "tokens crossed in bf16"
                ))
        }
        return rows
    }

    private static func crossingRow(
        _ crossing: RunSummary.Experts.Crossing
    ) -> (String, String, String) {
        let share = Double(crossing.crossed) / Double(max(1, crossing.tokens))
        return (
            "visits across", percent(share),
            "of tokens and blocks while experts had owners, "
                + "\(Figures.bytes(Double(crossing.tokenBytes))) on lanes; "
                + "\(percent(Double(crossing.stayed) / Double(max(1, crossing.tokens)))) wanted to and "
                + "stayed (budget); \(crossing.changes.count) changes of owners or budgets"
        )
    }

    private static func expertRow(_ experts: RunSummary.Experts) -> (String, String, String) {
        let dropped =
            experts.meanDropped > 0 ? ", \(Figures.percent(experts.meanDropped)) dropped" : ""
        return (
            "experts' MaxVio", Figures.fixed(experts.meanMaxViolation, 3),
            "(highest - mean) / mean load of a step, mean of \(experts.steps) steps; "
                + "entropy of use \(Figures.fixed(experts.meanUseEntropy, 3)) of 1\(dropped)"
        )
    }

    private static func regions(_ summary: RunSummary) -> String {
        indented(
            TextTable.render(
                ["region", "workers", "tokens/s", "CU", "training loss", "validation loss"],
                summary.regions.map { region in
                    [
                        region.name, "\(region.workers)",
                        region.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                        percent(region.computeUtilisation), loss(region.finalTrainingLoss),
                        loss(region.finalValidationLoss),
                    ]
                }))
    }

    private static func links(_ summary: RunSummary) -> String {
        let outer = summary.links.filter { !$0.isInsideRegion }
        guard !outer.isEmpty else { return "" }
        let table = TextTable.render(
            ["link", "RTT", "rate", "relay bytes", "lane bytes", "use", "bits/value"],
            outer.map { link in
                [
                    "\(link.from) -> \(link.to)",
                    link.roundTripSeconds.map(Figures.duration) ?? Figures.absent,
                    link.rateBitsPerSecond.map { Figures.bitRate(Double($0)) } ?? "not limited",
                    link.relayBytes.map { Figures.bytes(Double($0)) } ?? Figures.absent,
                    Figures.bytes(Double(link.laneBytes)), percent(link.meanUse),
                    link.bitsPerValue.map(Figures.significant) ?? Figures.absent,
                ]
            })
        let kind = linkKind(summary.identity)
        let classes = summary.tensorClasses.map {
            "\($0.name) \(Figures.significant($0.bitsPerValue))"
        }
        let perClass =
            classes.isEmpty
            ? "" : "\nbits/value of contributions: " + classes.joined(separator: ", ")
        return indented(
            table + "\nlinks: \(kind); "
                + "curve encryption \(summary.identity.curve ? "on" : "on control, off on data lanes")"
                + perClass
                + relayed(summary))
    }

    private static func relayed(_ summary: RunSummary) -> String {
        summary.relayed.map { "\nrelayed: \($0.path), \(Figures.bytes(Double($0.bytes)))" }
            .joined()
    }

    private static func linkKind(_ identity: RunSummary.Identity) -> String {
        if identity.simulated != nil { return "modelled by the simulator" }
        return identity.emulated
            ? "emulated by a \(identity.emulation == "packet" ? "packet forwarder" : "relay")"
            : "real network, not emulated"
    }

    private static func workers(_ summary: RunSummary) -> String {
        let header = [
            "worker", "steps", "tokens/s", "CU", "compute", "encode", "wait", "transfer", "decode",
            "apply", "recover", "residue",
        ]
        let rows = summary.workers.map { worker -> [String] in
            var row = [
                worker.name, "\(worker.lastStep)",
                worker.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                percent(worker.computeUtilisation),
            ]
            guard let budget = worker.budget, budget.wallSeconds > 0 else { return row }
            row += budget.categories.map { share($0.seconds, budget) }
            row.append(share(budget.residueSeconds, budget))
            return row
        }
        return indented(TextTable.render(header, rows) + "\nshares of trainer time in per cent")
    }

    /// By organisation and region; workers are in the report.
    private static func metering(_ summary: RunSummary) -> String {
        guard let metering = summary.metering else { return "" }
        let rows = metering.organisations + metering.regions
        return indented(
            TextTable.render(
                ["from the profile", "at work", "at rest", "energy, cost"],
                rows.map { row in
                    [
                        row.name, Figures.duration(row.busySeconds),
                        Figures.duration(row.idleSeconds), metering.text(row),
                    ]
                }))
    }

    private static func share(_ seconds: Double, _ budget: RunSummary.Budget) -> String {
        Figures.fixed(100 * seconds / budget.wallSeconds, 1)
    }

    private static func incidents(_ summary: RunSummary) -> String {
        let counts = summary.counts
        var parts: [String] = []
        func add(_ number: Int, _ noun: String, _ seconds: Double? = nil) {
            guard number > 0 else { return }
            let length = seconds.map { " (\(Figures.duration($0)))" } ?? ""
            parts.append("\(number) \(noun)\(number == 1 ? "" : "s")\(length)")
        }
        add(counts.evictions, "eviction")
        add(counts.leavers, "early leaver")
        add(counts.waits, "wait", counts.waitSeconds)
        add(counts.violations, "protocol violation")
        add(counts.coordinatorOutages, "coordinator outage", counts.coordinatorOutageSeconds)
        add(counts.failedCheckpoints, "failed checkpoint")
        return parts.isEmpty ? "" : "  incidents: " + parts.joined(separator: ", ")
    }

    private static func paths(_ files: [(label: String, path: String)]) -> String {
        let width = files.map(\.label.count).max() ?? 0
        return files.map { "  \(TextTable.padded($0.label, width))  \($0.path)" }
            .joined(separator: "\n")
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    }

    private static func percent(_ share: Double?) -> String {
        share.map(Figures.percent) ?? Figures.absent
    }

    private static func loss(_ value: Double?) -> String {
        value.map { Figures.fixed($0, 3) } ?? Figures.absent
    }
}
