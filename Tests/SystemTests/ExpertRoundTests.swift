import ClusterModel
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Rarely used experts cross less often") struct ExpertRounds {
        private static func cluster(rounds: Int?) -> SmallCluster {
            var cluster = SmallCluster()
            cluster.steps = 80
            cluster.syncEvery = 5
            cluster.layers = 2
            cluster.step = "15 ms"
            cluster.checkpointEvery = 0
            // Without balancing, few experts get most of the tokens.
            cluster.model = ["experts: 8", "top_k: 1", "expert_width: 32", "balance: none"]
            if let rounds { cluster.further = ["expert_rounds: \(rounds)"] }
            return cluster
        }

        private static func poolBytes(_ events: [StampedEvent]) -> UInt64 {
            var last: [WorkerID: [RegionID: UInt64]] = [:]
            for case .traffic(let worker, let traffic) in events.map(\.event) {
                last[worker, default: [:]][traffic.toRegion] = traffic.bytes
            }
            // North has the first two seats.
            return last.reduce(0) { sum, entry in
                sum + (entry.value[RegionID(entry.key.rawValue < 2 ? 1 : 0)] ?? 0)
            }
        }

        @Test("fewer bytes cross, a worker dies, and all end with the same model")
        func fewerBytes() async throws {
            try await withScratch { scratch in
                var sent: [UInt64] = []
                for rounds in [nil, 4] {
                    let name = rounds == nil ? "all" : "own"
                    let file = try Self.cluster(rounds: rounds).write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let events = try run.events()
                    sent.append(Self.poolBytes(events))
                    let summary = try run.summary()
                    #expect(summary.counts.violations == 0 && summary.rounds.conflicts.isEmpty)
                    let exchanged = summary.experts?.traffic?.exchanged
                    #expect((exchanged == nil) == (rounds == nil))
                    #expect((exchanged ?? 1) <= 1)
                }
                #expect(sent[1] < sent[0] * 9 / 10, "\(sent)")
                var longer = Self.cluster(rounds: 4)
                longer.steps = 320
                longer.checkpointEvery = 2
                let run = try Run(
                    scratch, try longer.write(to: scratch, name: "death"), directory: "death")
                let pids = try await run.pids()
                try await run.event("a round that leaves experts out") {
                    if case .expertsExchanged(_, let part, let all) = $0 {
                        part < all
                    } else {
                        false
                    }
                }
                kill(try #require(pids["south-2"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                #expect(summary.counts.violations == 0 && summary.rounds.conflicts.isEmpty)
                #expect(try run.events().evicted == ["south-2"])
                #expect(summary.rounds.committed == 64)
            }
        }
    }
}
