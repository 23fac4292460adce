internal import ClusterModel

/// The report of one run: a single file with inline SVG, no script, no network. Well-formed XML, so
/// that it can be checked and read by programs.
package enum HTMLReport {
    /// - Parameter efficiency: E1, E2, E3 where other runs were compared with this one.
    package static func render(_ summary: RunSummary, efficiency: Efficiency? = nil) -> String {
        let sections: [Markup] = [
            ReportPlaces.section(summary), ReportLoss.section(summary),
            ReportExperts.section(summary),
            ReportEfficiency.section(summary, efficiency),
            section("Where the time went", id: "time", BudgetBars(workers: summary.workers).markup),
            ReportLinks.section(summary), ReportWorkers.section(summary),
            ReportMetering.section(summary),
            section("What happened", id: "events", Timeline(summary: summary).markup),
            ReportFacts.section(summary), ReportFacts.definitions(efficiency),
        ]
        let page: Markup = """
            <html lang="en" xmlns="http://www.w3.org/1999/xhtml">
            <head>
            <meta charset="utf-8"/>
            <meta name="viewport" content="width=device-width, initial-scale=1"/>
            <meta name="generator" content="longhaul \(summary.identity.version)"/>
            <title>\(summary.identity.name): Longhaul run</title>
            <style>\(Markup(stringLiteral: ReportStyle.sheet))</style>
            </head>
            <body>
            \(ReportHeader.markup(summary, efficiency))
            <main>
            \(sections)
            </main>
            <footer><p>Longhaul \(summary.identity.version), run \(summary.identity.run). Made \
            from the \
            events of this run and nothing else; run.json beside this file has the same \
            figures.</p>\
            </footer>
            </body>
            </html>
            """
        return "<!DOCTYPE html>\n" + page.text + "\n"
    }

    static func section(_ title: String, id: String, _ content: Markup) -> Markup {
        """
        <section id="\(id)" aria-labelledby="\(id)-title">
        <h2 id="\(id)-title">\(title)</h2>
        \(content)
        </section>
        """
    }

    /// `-` for what is not known.
    static func percent(_ share: Double?) -> String {
        share.map(Figures.percent) ?? Figures.absent
    }

    static func loss(_ value: Double?) -> String {
        value.map { Figures.fixed($0, 3) } ?? Figures.absent
    }

    static func table(_ header: [String], _ rows: [[String]], wide: Set<Int> = []) -> Markup {
        func cell(_ tag: String, _ column: Int, _ text: String) -> Markup {
            let kind = column == 0 ? "" : wide.contains(column) ? "wide" : "num"
            let content: Markup = "\(text)"
            return Markup(stringLiteral: kind.isEmpty ? "<\(tag)>" : "<\(tag) class=\"\(kind)\">")
                + content + Markup(stringLiteral: "</\(tag)>")
        }
        let head = header.enumerated().map { cell("th", $0.offset, $0.element) }
        let body = rows.map { row -> Markup in
            "<tr>\(row.enumerated().map { cell("td", $0.offset, $0.element) })</tr>"
        }
        return """
            <div class="scroll"><table><thead><tr>\(head)</tr></thead>
            <tbody>\(body)</tbody></table></div>
            """
    }
}
