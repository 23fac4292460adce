import ClusterModel
import RunRecord
import Testing

extension SystemTests {
    @Suite("Rounds that the coordinator closes") struct Decoupled {
        private func cluster() -> SmallCluster {
            var cluster = SmallCluster()
            cluster.outer = "decoupled"
            cluster.regions = [
                .init(name: "north", batches: [2, 2]), .init(name: "south", batches: [2]),
            ]
            cluster.step = "20 ms"
            cluster.paces = ["south-1": "80 ms"]
            cluster.further = ["quorum: 1", "grace_most: 60 ms"]
            return cluster
        }

        @Test("a slow region is late and merged, all its work counts, and the record replays")
        func unlikeRegions() async throws {
            try await withScratch { scratch in
                let run = try Run(
                    scratch, try cluster().write(to: scratch),
                    ["--record", scratch.path("run.jsonl")])
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                var closed: [RunEvent.RoundClosed] = []
                for stamped in events {
                    if case .roundClosed(let one) = stamped.event { closed.append(one) }
                }
                #expect(closed.map(\.key.round) == events.commits.map(\.round))
                #expect(events.commits.map(\.round) == Array(1...UInt32(closed.count)))
                // South needs four times as long: rounds are closed without it, and then with it.
                #expect(closed.contains { $0.late == ["south"] })
                #expect(closed.flatMap(\.taken).contains { $0.replica == "south" && $0.missed > 0 })
                let tokens = closed.flatMap(\.taken).reduce(0) { $0 + $1.tokens }
                #expect(tokens == 60 * 6 * 32)
                let summary = try run.summary()
                #expect(summary.rounds.closing?.closed == closed.count)
                #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                #expect(run.program.output.contains("missing: south, merged next round"))
                // Arrival has decided: the same events again give the same decisions.
                let replay = try Program(
                    "longhaul", ["replay", "run.jsonl", "--json"], in: scratch)
                try await #expect(replay.ending() == .code(0), "\(replay.errors)")
                #expect(replay.output.contains("\"differences\":0"), "\(replay.output)")
            }
        }
    }
}
