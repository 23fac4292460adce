import ClusterModel
import Foundation
import FoundationXML
import RunRecord
import Testing

/// The HTML report: well-formed, self-contained, with the figures, whatever the log holds.
struct ReportTests {
    /// Every name and reason a run can carry, with what would break a page.
    private static let hostile = "<b>\"a\" & 'b'</b>]]>\u{1}\u{FFFE}--"

    private func summary(_ run: SyntheticRun = SyntheticRun()) throws -> RunSummary {
        try RunSummary(events: run.events)
    }

    /// Text content of the page, or `nil` when it is not well-formed.
    private func content(of html: String) -> String? {
        final class Collector: NSObject, XMLParserDelegate {
            var text = ""
            func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
        }
        let collector = Collector()
        let parser = XMLParser(data: Data(html.utf8))
        parser.delegate = collector
        return parser.parse() ? collector.text : nil
    }

    @Test func theReportHasTheFigures() throws {
        let html = HTMLReport.render(try summary())
        let text = try #require(content(of: html))
        for part in [
            "shanghai-jinan", "96.4 %", "9,870", "4.558", "4.400", "478,976", "1,500 km",
            "20 Mbit/s", "30 ms", "0123456789ab0002", "8.13", "The distance is emulated",
            "AVX-512", "longhaul up Cluster/shanghai-jinan.yaml --name 'two words'",
            "Debian 12, 2 cores <test & measure>", "41 MB", "errs to the favourable side",
        ] {
            #expect(text.contains(part), "\(part) is missing")
        }
        for definition in RunSummary.Definition.all {
            #expect(text.contains(definition.text), "\(definition.term) is not defined")
        }
    }

    @Test func aSyntheticRunSaysThatNoLossMeansAnything() throws {
        var run = SyntheticRun()
        #expect(!HTMLReport.render(try summary(run)).contains("no loss means anything"))
        run.model = .synthetic(parameters: 478_976)
        let summary = try summary(run)
        #expect(summary.setup.synthetic == true && summary.setup.dataPath == "none")
        let text = try #require(content(of: HTMLReport.render(summary)))
        #expect(text.contains("no loss means anything"))
        #expect(text.contains("478,976 parameters: synthetic, nothing is learnt"))
        #expect(SummaryText.render(summary).contains("The trainer is synthetic"))
    }

    @Test func theReportNeedsNoNetworkAndNoScript() throws {
        let html = HTMLReport.render(try summary())
        for part in ["<script", "src=", "href=", "url(", "@import", "onload", "javascript:"] {
            #expect(!html.contains(part), "\(part) in the report")
        }
        #expect(html.contains("prefers-color-scheme:dark"))
        #expect(html.contains("@media print"))
        #expect(html.utf8.count < 1_000_000)
    }

    @Test func everyDrawingHasATitleAndADescription() throws {
        let html = HTMLReport.render(try summary())
        let drawings = html.components(separatedBy: "<svg").dropFirst()
        #expect(drawings.count >= 8)
        for drawing in drawings {
            #expect(drawing.contains("aria-label=\""))
            #expect(drawing.contains("<title>"))
        }
    }

    @Test func readingsAMomentApartDoNotMakeTheLinkLookFast() throws {
        var run = SyntheticRun()
        // The same worker tells its count again a microsecond after its first.
        run.extra = [
            run.at(
                9_000_001_000,
                .linkUse(
                    .init(
                        from: RegionID(0), to: RegionID(1), bytes: 500_000, flows: 4,
                        peakQueueBytes: 0)))
        ]
        let html = HTMLReport.render(try summary(run))
        #expect(!html.contains("Gbit/s</text>"))
        #expect(html.contains(">Mbit/s</text>"))
    }

    @Test func anIncompleteRunSaysSo() throws {
        var run = SyntheticRun()
        run.isComplete = false
        let text = try #require(content(of: HTMLReport.render(try summary(run))))
        #expect(text.contains("Incomplete."))
        #expect(text.contains("without the run's end"))
        let summary = try RunSummary(events: SyntheticRun().events.prefix(1))
        #expect(content(of: HTMLReport.render(summary))?.contains("Nothing was recorded") == true)
    }

    @Test func hostileTextStaysText() throws {
        var run = SyntheticRun()
        run.extra = [
            run.at(
                9_000_000_000,
                .workerEvicted(worker: WorkerID(1), name: Self.hostile, reason: Self.hostile)),
            run.at(9_000_000_000, .note(source: Self.hostile, text: Self.hostile)),
            run.at(
                9_000_000_000, .modelWritten(worker: WorkerID(0), path: Self.hostile, digest: 1)),
        ]
        let html = HTMLReport.render(try summary(run))
        let text = try #require(content(of: html))
        #expect(!html.contains("<b>\""))
        #expect(text.contains("<b>\"a\" & 'b'</b>]]>"))
    }

    @Test func lossesThatAreNotFiniteDoNotBreakTheDrawing() throws {
        var run = SyntheticRun()
        run.loss = { _, step in step > 30 ? .nan : 3 }
        let html = HTMLReport.render(try summary(run))
        #expect(content(of: html) != nil)
        #expect(!html.contains("Lnan"))
        #expect(content(of: html)?.contains("nan") == true)
    }

    @Test func comparedRunsShowE1ToE3() throws {
        let summary = try summary()
        let efficiency = Efficiency(pool: summary, alone: [summary], reference: summary)
        let text = try #require(content(of: HTMLReport.render(summary, efficiency: efficiency)))
        #expect(text.contains("What pooling brought"))
        for definition in Efficiency.definitions { #expect(text.contains(definition.text)) }
    }

    @Test func theClosingTextIsAlignedAndNamesTheFiles() throws {
        let text = SummaryText.render(
            try summary(), files: [("report", "run/report.html"), ("figures", "run/run.json")])
        for part in [
            "shanghai-jinan: done in", "96.4 %", "shanghai -> jinan", "run/report.html",
            "run/run.json", "one digest each", "0123456789ab0002",
        ] {
            #expect(text.contains(part), "\(part) is missing in:\n\(text)")
        }
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 120 })
        var run = SyntheticRun()
        run.isComplete = false
        #expect(SummaryText.render(try summary(run)).contains("INCOMPLETE"))
    }
}
