internal import ClusterModel

/// Loss over tokens and over time.
enum ReportLoss {
    static func section(_ summary: RunSummary) -> Markup {
        let thousands = AxisUnit.count(Double(summary.pool.tokens))
        let time = AxisUnit.time(summary.pool.trainingSeconds)
        let byTokens = chart(
            summary, title: "Loss over tokens", xLabel: "tokens of the pool, \(thousands.name)",
            x: { Double($0.tokens) / thousands.size })
        let byTime = chart(
            summary, title: "Loss over time", xLabel: "\(time.name) since the first step",
            x: { ($0.seconds - summary.pool.trainingStartSeconds) / time.size })
        let perPoint = summary.loss.training.first?.stepsPerPoint ?? 1
        let mean = perPoint > 1 ? " Each point is the mean of \(perPoint) steps." : ""
        return HTMLReport.section(
            "Loss", id: "loss",
            """
            <div class="pair">\(byTokens)\(byTime)</div>
            <p class="note">Mean cross-entropy in nats per byte, weighted by tokens; dots are on \
            text no \
            worker trains on. A step counts at the time the last worker had done it.\(mean)</p>
            """)
    }

    private static func chart(
        _ summary: RunSummary, title: String, xLabel: String,
        x: (RunSummary.Curve.Point) -> Double
    ) -> Markup {
        var series: [LineChart.Series] = []
        let curves = summary.loss.training
        // The pool's mean lies broad behind the regions that scatter around it.
        for (index, curve) in curves.enumerated() {
            let isMean = index == 0 && curves.count > 1
            series.append(
                .init(
                    name: "\(curve.region.map { "\($0), " } ?? (isMean ? "pool, " : ""))training",
                    colour: index == 0 ? "pool" : "r\((index - 1) % 8)",
                    points: curve.points.map { (x($0), $0.loss) },
                    mark: isMean ? .broadLine : curves.count > 1 ? .thinLine : .line))
        }
        let evaluated = summary.loss.validation
        for (index, curve) in evaluated.enumerated()
        where !curve.points.isEmpty && (index > 0 || evaluated.count == 1) {
            series.append(
                .init(
                    name: "\(curve.region.map { "\($0), " } ?? "")validation",
                    colour: index == 0 ? "pool" : "r\((index - 1) % 8)",
                    points: curve.points.map { (x($0), $0.loss) }, mark: .dots))
        }
        let first = curves.first?.points.first?.loss
        return LineChart(
            title: title,
            description: "\(title): training loss falls from \(HTMLReport.loss(first)) to "
                + "\(HTMLReport.loss(summary.loss.finalTrainingLoss)), validation loss ends at "
                + HTMLReport.loss(summary.loss.finalValidationLoss),
            xLabel: xLabel, yLabel: "nats per byte", series: series
        ).markup
    }
}
