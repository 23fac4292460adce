import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation

/// `longhaul check`: the effective plan of a cluster file, before anything starts.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Show what a cluster file means; start nothing.",
        discussion: """
            EXAMPLES
              longhaul check Cluster/shanghai-jinan.yaml
              longhaul check Cluster/shanghai-jinan.yaml --steps 60 --json
            """)

    @OptionGroup var input: RunFile

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let report = CheckReport(try input.load(), path: input.file)
        if json {
            print(String(decoding: try report.json(), as: UTF8.self))
        } else {
            print(report.text)
        }
    }
}
