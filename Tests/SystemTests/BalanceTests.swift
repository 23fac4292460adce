import ClusterModel
import RunRecord
import Testing

extension SystemTests {
    @Suite("Plans that follow rates") struct Balancing {
        @Test("a region of unlike workers gets unlike micro-batches; everybody trains to the end")
        func unlikeWorkers() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 100
                cluster.adapt = "on"
                cluster.regions = [
                    .init(name: "north", batches: [4, 4]), .init(name: "south", batches: [2]),
                ]
                cluster.step = "40 ms"
                cluster.paces = ["north-2": "120 ms"]
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.commits.map(\.round) == Array(1...10))
                #expect(events.commits.allSatisfy { $0.members == 3 })
                var reasons: [String] = []
                for stamped in events {
                    if case .epochStarted(_, _, let reason) = stamped.event {
                        reasons.append(reason)
                    }
                }
                #expect(
                    reasons.contains { $0.hasPrefix("balance: north: 4 + 4 -> ") }, "\(reasons)")
                // Tokens are what four and four would have been, and the fast one drew more of them.
                let workers = try run.summary().workers
                #expect(workers[0].tokens + workers[1].tokens == 100 * 8 * 32)
                #expect(workers[0].tokens > workers[1].tokens)
                #expect(try run.summary().counts.violations == 0)
            }
        }
    }
}
