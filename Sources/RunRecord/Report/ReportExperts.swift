internal import ClusterModel

/// How experts were used, where and when, and what that cost between regions.
enum ReportExperts {
    static func section(_ summary: RunSummary) -> Markup {
        guard let experts = summary.experts else { return .nothing }
        return HTMLReport.section(
            "Experts", id: "experts",
            """
            \(HeatMap(experts: experts).markup)
            <div class="pair">\(balance(experts))\(overlap(experts))</div>
            \(facts(experts))
            \(crossing(experts))
            \(traffic(experts, everyStep: summary.setup.outerSchedule == "every-step"))
            """)
    }

    private static func balance(_ experts: RunSummary.Experts) -> Markup {
        LineChart(
            title: "Balance of experts",
            description:
                "MaxVio ends at \(last(experts.series.last?.maxViolation)), the entropy of "
                + "use at \(last(experts.series.last?.useEntropy))",
            xLabel: "step", yLabel: "MaxVio; entropy of use, 1 = all alike",
            series: [
                .init(
                    name: "MaxVio", colour: "r1",
                    points: experts.series.map { (Double($0.step), $0.maxViolation) }),
                .init(
                    name: "entropy of use", colour: "r0",
                    points: experts.series.map { (Double($0.step), $0.useEntropy) }),
            ], yFromZero: true
        ).markup
    }

    private static func overlap(_ experts: RunSummary.Experts) -> Markup {
        guard !experts.overlap.isEmpty else { return .nothing }
        return LineChart(
            title: "Overlap of regions",
            description: "Jensen-Shannon divergence of use between regions ends at "
                + "\(last(experts.overlap.last?.jensenShannon)) bit, the Jaccard index of the most "
                + "used experts at \(last(experts.overlap.last?.jaccard))",
            xLabel: "step", yLabel: "share, or bit",
            series: [
                .init(
                    name: "Jaccard index of the most used", colour: "r2",
                    points: experts.overlap.map { (Double($0.step), $0.jaccard) }),
                .init(
                    name: "Jensen-Shannon divergence of use", colour: "r3",
                    points: experts.overlap.map { (Double($0.step), $0.jensenShannon) }),
            ], yFromZero: true, yAtLeast: 1
        ).markup
    }

    private static func facts(_ experts: RunSummary.Experts) -> Markup {
        let rows = experts.blocks.enumerated().map { index, block in
            [
                "\(index)", Figures.fixed(block.maxViolation, 3),
                Figures.fixed(block.useEntropy, 3), Figures.percent(block.dropped),
                Figures.percent(block.shares.max() ?? 0), Figures.percent(block.shares.min() ?? 0),
            ]
        }
        let sync = experts.afterSync.map { sync -> Markup in
            """
            <p class="note">Loss around an outer round: \(Figures.fixed(sync.before, 3)) over the \
            \(sync.steps) steps before, \(Figures.fixed(sync.after, 3)) over the \(sync.steps) after, \
            mean of \(sync.rounds) rounds.</p>
            """
        }
        return """
            \(HTMLReport.table(
                ["block", "MaxVio", "entropy of use", "dropped", "most used", "least used"], rows))
            <p class="note">Means over the second half of the reported steps and over replicas. MaxVio is \
            (highest load - mean) / mean of one step.</p>
            \(sync ?? .nothing)
            """
    }

    private static func crossing(_ experts: RunSummary.Experts) -> Markup {
        guard let crossing = experts.crossing else { return .nothing }
        let all = Double(max(1, crossing.tokens))
        var rows = crossing.flows.map { flow in
            [
                "\(flow.from) to \(flow.to)", Figures.grouped(flow.tokens),
                Figures.percent(Double(flow.tokens) / all),
            ]
        }
        rows.append(
            [
                "wanted to leave and stayed: no budget", Figures.grouped(crossing.stayed),
                Figures.percent(Double(crossing.stayed) / all),
            ])
        let changes = crossing.changes.suffix(20).map { ["\($0.afterRound)", $0.text] }
        return """
            <h3>Experts of one region</h3>
            \(HTMLReport.table(["visits, summed over blocks", "number", "of all tokens"], rows))
            <p class="note">Of the steps in which experts had owners. A token whose experts belong to two \
            other regions visits both. \(Figures.bytes(Double(crossing.tokenBytes))) of token frames on \
            lanes between regions; \(Figures.grouped(crossing.changedChoices)) choices of tokens that \
            stayed are others than they wanted.</p>
            \(HTMLReport.table(["after round", "who computes what"], changes))
            """
    }

    private static func traffic(_ experts: RunSummary.Experts, everyStep: Bool) -> Markup {
        guard let traffic = experts.traffic, traffic.measured > 0 else { return .nothing }
        func row(_ way: String, _ bytes: Double, _ kind: String) -> [String] {
            [
                way, Figures.bytes(bytes), Figures.significant(bytes / traffic.measured) + " x",
                kind,
            ]
        }
        var rows = [
            row(
                everyStep
                    ? "this run: gradients of all experts after each step"
                    : traffic.exchanged.map {
                        "this run: weights of \(Figures.percent($0)) of the model once a round"
                    }
                        ?? (experts.crossing == nil
                            ? "this run: weights of all experts once a round"
                            : "this run: weights of all experts once a round, and tokens"),
                traffic.measured, "measured")
        ]
        if traffic.exchanged != nil {
            rows.append(row("all experts in every round", traffic.plain, "computed"))
        }
        if !everyStep {
            rows.append(
                row("the same encoding after each step", traffic.computed.everyStep, "computed"))
        }
        rows.append(
            row("tokens cross to their experts, bf16", traffic.computed.tokensCross, "computed"))
        let note: Markup =
            traffic.exchanged == nil && experts.crossing == nil
            ? "Plain averaging of all experts would send what this run sent. " : .nothing
        return """
            <h3>Bytes between regions per token</h3>
            \(HTMLReport.table(["way", "bytes", "of this run", ""], rows))
            <p class="note">\(note)Where tokens \
            cross, experts are spread over the regions and equally likely: a token goes to \
            \(Figures.significant(traffic.computed.foreignRegions)) other regions per layer, out and \
            back, forwards and backwards.</p>
            """
    }

    private static func last(_ value: Double?) -> String {
        value.map { Figures.fixed($0, 2) } ?? Figures.absent
    }
}

/// Share of the choices by expert and step: one row per expert, blocks under each other, regions side by
/// side. A full cell is twice the mean or more.
struct HeatMap {
    let experts: RunSummary.Experts

    private static let width = 1040.0
    private static let left = 70.0
    private static let gap = 34.0
    /// More rows than this show groups of neighbouring experts.
    private static let rowLimit = 32
    /// More blocks than this are not shown; all are in run.json.
    private static let blockLimit = 6

    /// Of the first step that all have reported: a region that came later is not left out.
    private var regions: [String] {
        let most = experts.heat.map(\.regions.count).max()
        return experts.heat.first { $0.regions.count == most }?.regions.map(\.region) ?? []
    }

    var markup: Markup {
        let steps = experts.heat.filter { $0.regions.map(\.region) == regions }
        guard let count = steps.first?.regions.first?.blocks.first?.count
        else { return .nothing }
        let blocks = min(Self.blockLimit, steps[0].regions[0].blocks.count)
        let perRow = (count + Self.rowLimit - 1) / Self.rowLimit
        let rows = (count + perRow - 1) / perRow
        let height = max(5, min(16, 160 / Double(rows)))
        let panel = (Self.width - Self.left) / Double(regions.count) - Self.gap
        let bottom = 28 + Double(blocks) * (Double(rows) * height + 14)
        var parts: [Markup] = []
        for (region, name) in regions.enumerated() {
            let x = Self.left + Double(region) * (panel + Self.gap)
            parts.append("<text class=\"label\" x=\"\(x)\" y=\"16\">\(name)</text>")
            for block in 0..<blocks {
                let y = 28 + Double(block) * (Double(rows) * height + 14)
                if region == 0 {
                    parts.append(
                        """
                        <text class="tick" x="\(Self.left - 10)" y="\(y + Double(rows) * height / 2 + 4)" \
                        text-anchor="end">block \(block)</text>
                        """)
                }
                parts += cells(
                    steps, region, block, (x, y), (panel / Double(steps.count), height), perRow)
            }
            parts.append(axis(steps, x, panel, bottom))
        }
        let hidden = steps[0].regions[0].blocks.count - blocks
        return """
            <figure class="chart"><figcaption>Load of experts over time</figcaption>
            <div class="scroll"><svg class="timeline" viewBox="0 0 \(Self.width) \(bottom + 28)" \
            role="img" aria-label="Share of the choices by expert and step; figures in run.json">
            <title>Load of experts over time</title>
            \(parts)
            </svg></div></figure>
            <p class="note">A row is \(perRow == 1 ? "an expert" : "\(perRow) experts"), a column a step. \
            Empty: not used; full: twice the mean or more.\
            \(hidden > 0 ? " \(hidden) more blocks are in run.json." : "")</p>
            """
    }

    private func cells(
        _ steps: [RunSummary.Experts.Heat], _ region: Int, _ block: Int,
        _ corner: (x: Double, y: Double), _ size: (width: Double, height: Double), _ perRow: Int
    ) -> [Markup] {
        steps.enumerated().flatMap { column, heat -> [Markup] in
            let shares =
                heat.regions[region].blocks.indices.contains(block)
                ? heat.regions[region].blocks[block] : []
            return stride(from: 0, to: shares.count, by: perRow).map { first -> Markup in
                let own = shares[first..<min(first + perRow, shares.count)]
                let share = own.reduce(0, +) / Double(own.count)
                let level = min(1, share * Double(shares.count) / 2)
                return """
                    <rect class="heat" x="\(corner.x + Double(column) * size.width)" \
                    y="\(corner.y + Double(first / perRow) * size.height)" \
                    width="\(size.width + 0.3)" height="\(size.height - 0.7)" \
                    fill-opacity="\(level)"><title>step \(Int(heat.step)), expert \(first): \
                    \(Figures.percent(share))</title></rect>
                    """
            }
        }
    }

    private func axis(
        _ steps: [RunSummary.Experts.Heat], _ x: Double, _ width: Double, _ y: Double
    ) -> Markup {
        """
        <text class="tick" x="\(x)" y="\(y + 14)">step \(Int(steps[0].step))</text>\
        <text class="tick" x="\(x + width)" y="\(y + 14)" text-anchor="end">\
        \(Int(steps[steps.count - 1].step))</text>
        """
    }
}
