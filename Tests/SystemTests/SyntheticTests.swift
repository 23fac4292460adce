import ClusterModel
import Foundation
import Glibc
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

        private struct Trained: Decodable {
            struct Identity: Decodable { var simulated: String }
            var identity: Identity
        }

        /// Where the default text lies no files are visible to the program.
        private static let hides =
            "mount -t tmpfs none /usr/share/dictd 2>/dev/null; exec \"$0\" \"$@\""

        @Test("it needs no text, and takes none")
        func readsNoText() async throws {
            try await withScratch { scratch in
                guard geteuid() == 0 else { return }
                var cluster = SmallCluster()
                cluster.steps = 20
                cluster.synthetic = 20_000
                let file = try cluster.write(to: scratch)
                let run = try Program(
                    "/usr/bin/unshare",
                    [
                        "--mount", "/bin/sh", "-c", Self.hides, Binaries.path("longhaul"),
                        "simulate", file, "--train", "real", "--json",
                    ], in: scratch)
                try await #expect(run.ending() == .code(0), "\(run.output) \(run.errors)")
                let text = try JSONDecoder().decode(Trained.self, from: Data(run.output.utf8))
                    .identity.simulated
                #expect(text.contains("no loss means anything"), "\(text)")
                #expect(!text.contains("so are the losses"), "\(text)")
                let given = try Program(
                    "longhaul", ["check", file, "--data", scratch.path("text.txt"), "--json"],
                    in: scratch)
                try await #expect(given.ending() == .code(2), "\(given.errors)")
                try #expect(given.failure().message.contains("reads no text"))
            }
        }

        @Test("measuring one compares rates and no losses")
        func measured() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 30
                cluster.synthetic = 20_000
                let program = try Program(
                    "longhaul",
                    ["measure", cluster.write(to: scratch), "--repetitions", "1", "--dir", "m"],
                    in: scratch)
                try await #expect(program.ending(within: 120) == .code(0), "\(program.errors)")
                #expect(program.output.contains("E1") && program.output.contains("E2"))
                #expect(program.output.contains("no loss means anything"))
                #expect(!program.output.contains("E3"), "\(program.output)")
                #expect(!program.output.contains("validation loss"), "\(program.output)")
                let page = try String(
                    contentsOfFile: scratch.path("m/report.html"), encoding: .utf8)
                #expect(!page.contains("Training loss over"))
            }
        }
    }
}
