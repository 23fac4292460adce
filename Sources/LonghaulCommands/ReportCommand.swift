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
            """)

    @Argument(help: "Run directory.")
    var directory: String

    @Flag(help: "Print run.json instead of text.")
    var json = false

    func run() throws {
        let files = ReportFiles(directory: directory)
        let summary = try files.write()
        if json {
            try Console.printSummary(summary)
        } else {
            print(try files.text())
        }
    }
}
