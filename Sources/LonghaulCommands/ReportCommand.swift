import ArgumentParser
import ClusterModel
import Foundation

/// `longhaul report`: makes the views of a finished (or broken off) run again.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write report.html and run.json of a run again.",
        discussion: """
            EXAMPLES
              longhaul report runs/shanghai-jinan-20261121-203000
              longhaul report runs/shanghai-jinan-20261121-203000 --trace trace.json
            """)

    @Argument(help: "Run directory.")
    var directory: String

    @Flag(help: "Print run.json instead of text.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Also write the run as a Chrome trace: steps, waits, time shares, rates of the links.",
            valueName: "file"))
    var trace: String?

    func run() throws {
        let files = ReportFiles(directory: directory)
        let summary = try files.write()
        if let trace { try files.writeTrace(to: trace) }
        if json {
            try Console.printSummary(summary)
        } else {
            print(try files.text())
        }
    }
}
