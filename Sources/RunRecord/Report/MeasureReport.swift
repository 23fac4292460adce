internal import ClusterModel

/// The report of several runs that were compared: figures with their intervals, and the loss curves of all
/// variants in one drawing. One file, no script, no network, like the report of one run.
package enum MeasureReport {
    package struct Row: Sendable {
        package enum Kind: Sendable { case share, rate }
        package var term: String
        package var mean: String
        /// Half width of the interval; empty for a single value.
        package var interval: String
        package var definition: String

        package init(_ term: String, _ value: MeanInterval?, _ kind: Kind, _ definition: String) {
            let scale = kind == .share ? 100.0 : 1
            let digits = kind == .share ? 1 : 0
            let unit = kind == .share ? " %" : ""
            self.term = term
            self.definition = definition
            mean = value.map { Figures.fixed($0.mean * scale, digits) + unit } ?? Figures.absent
            interval =
                value?.halfWidth.map { "+- " + Figures.fixed($0 * scale, digits) + unit } ?? ""
        }
    }

    /// - Parameter runs: of one repetition, the pool first.
    package static func render(
        name: String, file: String, repetitions: Int, rows: [Row], notes: [String],
        runs: [(name: String, summary: RunSummary)]
    ) -> String {
        let version = runs.first?.summary.identity.version ?? ""
        let machine = runs.first?.summary.identity.machine ?? ""
        let lines = notes.map { note -> Markup in "<p class=\"note\">\(note)</p>" }
        // Losses of a synthetic trainer mean nothing.
        let learns = !runs.contains { $0.summary.setup.synthetic == true }
        let losses: Markup = learns ? HTMLReport.section("Loss", id: "loss", curves(runs)) : ""
        let sections: [Markup] = [
            HTMLReport.section(
                "What pooling brought", id: "figures",
                """
                \(HTMLReport.table(
                    ["figure", "mean", "95 %", "definition"],
                    rows.map { [$0.term, $0.mean, $0.interval, $0.definition] }, wide: [3]))
                \(lines)
                """),
            losses,
            HTMLReport.section("The runs of the last repetition", id: "runs", table(runs)),
        ]
        let page: Markup = """
            <html lang="en" xmlns="http://www.w3.org/1999/xhtml">
            <head>
            <meta charset="utf-8"/>
            <meta name="viewport" content="width=device-width, initial-scale=1"/>
            <title>\(name): what distance costs</title>
            <style>\(Markup(stringLiteral: ReportStyle.sheet))</style>
            </head>
            <body>
            <header>
            <p class="eyebrow">Longhaul measurement</p>
            <h1>\(name)</h1>
            <p class="lead">\(file): \(repetitions) repetitions of each variant, interleaved. Links \
            and speeds are emulated. \(machine).</p>
            </header>
            <main>
            \(sections)
            </main>
            <footer><p>Longhaul \(version). Each run has its own directory beside this file, \
            with record and report.</p></footer>
            </body>
            </html>
            """
        return "<!DOCTYPE html>\n" + page.text + "\n"
    }

    private static func curves(_ runs: [(name: String, summary: RunSummary)]) -> Markup {
        let most = runs.map { Double($0.summary.pool.tokens) }.max() ?? 0
        let longest = runs.map(\.summary.pool.trainingSeconds).max() ?? 0
        let tokens = AxisUnit.count(most)
        let time = AxisUnit.time(longest)
        func chart(
            _ title: String, _ label: String, _ x: (RunSummary, RunSummary.Curve.Point) -> Double
        ) -> Markup {
            var series: [LineChart.Series] = []
            for (index, run) in runs.enumerated() {
                let colour = index == 0 ? "pool" : "r\((index - 1) % 8)"
                for curve in run.summary.loss.training.prefix(1) {
                    series.append(
                        .init(
                            name: run.name, colour: colour,
                            points: curve.points.map { (x(run.summary, $0), $0.loss) },
                            mark: index == 0 ? .broadLine : .thinLine))
                }
            }
            return LineChart(
                title: title, description: "\(title) of \(runs.count) variants", xLabel: label,
                yLabel: "nats per byte", series: series
            ).markup
        }
        let byTokens = chart("Training loss over tokens", "tokens, \(tokens.name)") {
            Double($1.tokens) / tokens.size
        }
        let byTime = chart("Training loss over time", "\(time.name) since the first step") {
            ($1.seconds - $0.pool.trainingStartSeconds) / time.size
        }
        return """
            <div class="pair">\(byTokens)\(byTime)</div>
            <p class="note">Mean over all workers of a run, weighted by tokens; a region alone trains \
            on its own share of the tokens only.</p>
            """
    }

    private static func table(_ runs: [(name: String, summary: RunSummary)]) -> Markup {
        HTMLReport.table(
            ["run", "seed", "tokens/s", "CU", "training loss", "validation loss", "cores taken"],
            runs.map { run in
                let pool = run.summary.pool
                let loss = run.summary.setup.synthetic == true ? nil : run.summary.loss
                return [
                    run.name, "\(run.summary.identity.seed)",
                    pool.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                    HTMLReport.percent(pool.computeUtilisation),
                    HTMLReport.loss(loss?.finalTrainingLoss),
                    HTMLReport.loss(loss?.finalValidationLoss),
                    HTMLReport.percent(pool.coreShare),
                ]
            })
    }
}
