import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Who reaches whom") struct Reach {
        @Test("two workers that nobody can dial reach each other over a third")
        func dialOut() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.hidden = ["north-2", "south-2"]
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                #expect(summary.pool.lastStep == 60)
                #expect(summary.rounds.committed == 6)
                #expect(summary.counts.evictions == 0 && summary.counts.violations == 0)
                let paths = summary.relayed.map { [$0.from, $0.to, $0.via] }
                #expect(
                    paths == [
                        ["north-2", "south-2", "north-1"], ["south-2", "north-2", "north-1"],
                    ])
                #expect(summary.relayed.allSatisfy { $0.bytes > 0 && $0.frames > 6 })
                let report = try String(
                    contentsOfFile: "\(run.directory)/report.html", encoding: .utf8)
                #expect(report.contains("north-2 -&gt; south-2 via north-1"))
                #expect(run.program.errors.contains("north-1 passes on between them"))
            }
        }

        @Test("a cluster nobody can dial ends with 78 and says what to do")
        func nobodyDialable() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster.oneRegion(steps: 5)
                cluster.hidden = ["north-1", "north-2"]
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(78), "\(run.program.errors)")
                #expect(run.program.errors.contains("none of 2 workers can be dialled"))
            }
        }

        /// How many of the two have a part depends on who answers first: the model has few pieces. That
        /// several do is the simulator's to show.
        @Test("a worker that comes back takes its state from those that stayed")
        func stateFromSeveral() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster.oneRegion(steps: 400, batches: [2, 2, 2])
                cluster.step = "20 ms"
                let run = try await HandStarted(scratch, try cluster.write(to: scratch))
                var workers = try (1...3).map { try run.worker(scratch, "w\($0)") }
                let log = "\(run.directory)/run.sqlite"
                try await workers[0].waitUntil("30 steps") {
                    try RunLogReader(path: log).events().commits.count >= 30
                }
                workers[2].signal(SIGKILL)
                try await #expect(workers[2].ending() == .signal(SIGKILL))
                workers[2] = try run.worker(scratch, "w3")
                for worker in workers {
                    try await #expect(worker.ending() == .code(0), "\(worker.errors)")
                }
                try await #expect(run.coordinator.ending() == .code(0))
                let events = try RunLogReader(path: log).events()
                let taken = events.compactMap { stamped -> RunEvent.StateTaken? in
                    if case .stateTaken(let taken) = stamped.event { taken } else { nil }
                }
                #expect(taken.count == 1)
                let sources = try #require(taken.first?.sources)
                #expect((1...2).contains(sources.count))
                #expect(sources.allSatisfy { $0.bytes > 0 })
                #expect(taken.first?.resumedBytes == 0)
                #expect(events.commits.last?.members == 3)
            }
        }
    }
}
