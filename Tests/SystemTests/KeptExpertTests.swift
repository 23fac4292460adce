import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Experts kept by their holders") struct KeptExperts {
        private static func cluster(
            steps: Int, keeps: Bool = true, more: [String] = []
        ) -> SmallCluster {
            var cluster = SmallCluster()
            cluster.steps = steps
            cluster.regions = [
                .init(name: "north", batches: [2, 1, 1]), .init(name: "south", batches: [1, 3]),
            ]
            cluster.layers = 2
            cluster.between = "fp32"
            cluster.model = [
                "experts: 4", "top_k: 2", "expert_width: 32", "balance: none", "spread: region",
            ]
            if keeps { cluster.model.append("keep: holder") }
            cluster.model += more
            return cluster
        }

        @Test("losses are those of workers that keep everything; regions all-reduce no expert")
        func equivalence() async throws {
            try await withScratch { scratch in
                var curves: [[UInt32: Double]] = []
                for (name, keeps) in [("everywhere", false), ("holder", true)] {
                    // In places of their own while a round goes on, and back.
                    let file = try Self.cluster(steps: 40, keeps: keeps, more: ["place_every: 7"])
                        .write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let events = try run.events()
                    curves.append(events.trainingLoss)
                    let summary = try run.summary()
                    #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                    guard keeps else { continue }
                    let moves = events.notes.filter {
                        $0.contains("their weights and moments moved")
                    }
                    #expect(moves.contains { !$0.contains("moved, 0 bytes") }, "\(moves)")
                    for text in moves { print(text) }
                    let elements = summary.setup.parameterCount
                    for case .runStarted(let start) in events.map(\.event) {
                        let experts = start.configuration.plannedExperts(elements: elements)
                            .elements
                        for (region, workers) in [("north", UInt64(3)), ("south", 2)] {
                            let link = try #require(
                                summary.links.first { $0.from == region && $0.to == region })
                            let steps = 40 * 2 * (workers - 1) * (elements - experts)
                            // Of four rounds: means of all, and parts that their owner does not keep.
                            let means = 4 * (workers - 1) * elements
                            #expect(link.values >= steps + means)
                            #expect(link.values <= steps + means + 4 * experts, "\(region)")
                        }
                    }
                    try await run.modelAsSimulated(file)
                }
                for step in 1...UInt32(40) {
                    let a = try #require(curves[0][step])
                    let b = try #require(curves[1][step])
                    #expect(abs(a - b) < 1e-4 * a, "step \(step): \(a) and \(b)")
                }
            }
        }

        @Test(
            "a holder is killed: its experts come back from the last round, and the run says what is lost"
        )
        func killed() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 120)
                cluster.step = "20 ms"
                let run = try Run(scratch, try cluster.write(to: scratch))
                let pids = try await run.pids()
                try await run.reaches(step: 35)
                kill(try #require(pids["north-2"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.evicted == ["north-2"])
                let notes = events.notes
                #expect(
                    notes.contains {
                        $0.contains("north-2 is gone")
                            && $0.contains("what they have learnt since the last round")
                    }, "\(notes)")
                #expect(notes.contains { $0.contains("that nobody brings") }, "\(notes)")
                let summary = try run.summary()
                #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                #expect(summary.pool.lastStep == 120)
                let losses = events.trainingLoss
                #expect(try #require(losses[120]) < (try #require(losses[1])) - 0.3)
                let report = try String(
                    contentsOfFile: "\(run.directory)/report.html", encoding: .utf8)
                #expect(report.contains("since the last round"))
            }
        }

        @Test("a run that is stopped goes on with every expert where it was kept")
        func resumed() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 60, more: ["place_every: 7"])
                cluster.step = "30 ms"
                cluster.checkpointEvery = 1
                let file = try cluster.write(to: scratch)
                let whole = try Run(scratch, file, directory: "whole")
                try await #expect(whole.program.ending() == .code(0), "\(whole.program.errors)")
                let run = try Run(scratch, file)
                try await run.reaches(step: 25)
                run.program.signal(SIGINT)
                _ = try await run.program.ending()
                let again = try Run(scratch, file, isResumed: true)
                try await #expect(again.program.ending() == .code(0), "\(again.program.errors)")
                let summary = try again.summary()
                #expect(summary.pool.lastStep == 60)
                #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                #expect(try !again.events().notes.contains { $0.contains("nobody brings") })
                let losses = try [whole, again].map { try #require($0.events().trainingLoss[60]) }
                // Where it stopped a round began anew; weights of another round would be farther off.
                #expect(abs(losses[0] - losses[1]) < 0.02 * losses[0], "\(losses)")
            }
        }
    }
}
