import ClusterModel
import Foundation
import RunRecord
import Testing

extension SystemTests {
    @Suite("A run without a model") struct Synthetic {
        @Test(
            "a synthetic trainer under every schedule; the report says that losses mean nothing",
            arguments: ["every-step", "diloco", "streaming", "decoupled"])
        func synthetic(outer: String) async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 24
                cluster.outer = outer
                cluster.syncEvery = 8
                cluster.synthetic = 200_000
                if outer == "streaming" { cluster.further = ["fragments: 4", "overlap: 1"] }
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                #expect(summary.setup.synthetic == true)
                #expect(summary.setup.parameterCount == 200_000)
                #expect(summary.setup.dataPath == "none")
                #expect(summary.pool.lastStep == 24)
                #expect(summary.counts.violations == 0)
                #expect(summary.rounds.conflicts.isEmpty && summary.rounds.committed > 0)
                let html = try String(
                    contentsOfFile: "\(run.directory)/report.html", encoding: .utf8)
                #expect(html.contains("no loss means anything"))
                // Each step says when it ended, and is heard of later; clocks agree to a round trip.
                for event in try run.events() {
                    guard case .stepped(_, _, _, _, let at) = event.event else { continue }
                    let ended = try #require(at)
                    #expect(ended <= event.time + .milliseconds(100))
                }
            }
        }
    }
}
