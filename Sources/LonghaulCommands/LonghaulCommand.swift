package import ArgumentParser

/// `longhaul`: everything but the two long-running processes.
package struct LonghaulCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "longhaul",
        abstract:
            "Train one model on unlike computers in distant regions, and say what distance costs.",
        discussion: """
            EXAMPLES
              longhaul up Cluster/shanghai-jinan.yaml          a two-region cluster on this machine
              longhaul up run.yaml --seed 7 --steps 60 --json  the same bytes every time
              longhaul check run.yaml                          the plan, before anything starts
              longhaul report runs/NAME                        views of a run, again
            """,
        version: Longhaul.version,
        subcommands: [
            UpCommand.self, CheckCommand.self, ReportCommand.self, MeasureCommand.self,
            BenchCommand.self,
            SimulateCommand.self, PredictCommand.self, ReplayCommand.self,
            BandwidthCommand.self, PlaceCommand.self, RelayCommand.self, LinkCommand.self,
        ])

    package init() {}
}
