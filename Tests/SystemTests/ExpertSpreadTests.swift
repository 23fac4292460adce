import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Experts spread over workers") struct ExpertSpread {
        private static func cluster(
            steps: Int, batches: [Int], spread: Bool = true, more: [String] = []
        ) -> SmallCluster {
            var cluster = SmallCluster.oneRegion(steps: steps, batches: batches)
            cluster.layers = 2
            cluster.checkpointEvery = 0
            cluster.model = ["experts: 4", "top_k: 2", "expert_width: 32", "shared_experts: 1"]
            if spread { cluster.model.append("spread: region") }
            cluster.model += more
            return cluster
        }

        private static func configuration(_ events: [StampedEvent]) throws -> RunConfiguration {
            for case .runStarted(let start) in events.map(\.event) { return start.configuration }
            throw CancellationError()
        }

        private static func bytes(_ events: [StampedEvent]) -> UInt64 {
            var last: [WorkerID: UInt64] = [:]
            for case .traffic(let worker, let traffic) in events.map(\.event) {
                last[worker] = traffic.bytes
            }
            return last.values.reduce(0, +)
        }

        @Test("over 1, 2 and 4 workers the losses are the same, within rounding")
        func equivalence() async throws {
            try await withScratch { scratch in
                let steps = 40
                var curves: [[UInt32: Double]] = []
                var sent: [UInt64] = []
                var encoded: [UInt64] = []
                let runs: [(String, SmallCluster)] = [
                    ("one", Self.cluster(steps: steps, batches: [4], spread: false)),
                    ("two", Self.cluster(steps: steps, batches: [2, 2])),
                    ("unequal", Self.cluster(steps: steps, batches: [3, 1])),
                    ("four", Self.cluster(steps: steps, batches: [1, 1, 1, 1])),
                    ("apart", Self.cluster(steps: steps, batches: [2, 2], spread: false)),
                ]
                for (name, cluster) in runs {
                    let file = try cluster.write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let events = try run.events()
                    curves.append(events.trainingLoss)
                    sent.append(Self.bytes(events))
                    let summary = try run.summary()
                    #expect(summary.counts.violations == 0)
                    #expect(summary.workers.allSatisfy { $0.budget?.isBalanced == true })
                    encoded.append(summary.links.reduce(0) { $0 + $1.encodedBytes })
                    // Only who computes an expert contributes it: what the formula says, to the value.
                    let elements = summary.setup.parameterCount
                    let spread = try Self.configuration(events)
                    let traffic = RegionTraffic(
                        elements: elements, workers: summary.workers.count,
                        spread: spread.spreadsExperts
                            ? spread.plannedExperts(elements: elements) : [],
                        ordersByHolder: spread.schedule.outer != .everyStep)
                    let values = summary.links.reduce(0) { $0 + $1.values }
                    #expect(values == traffic.values * UInt64(steps), "\(name)")
                }
                for (index, curve) in curves.enumerated().dropFirst() {
                    let deviations = try (1...UInt32(steps)).map { step in
                        let a = try #require(curve[step])
                        let b = try #require(curves[0][step])
                        return abs(a - b) / b
                    }
                    print("\(runs[index].0): largest deviation \(deviations.max() ?? .nan)")
                    #expect(deviations.allSatisfy { $0 < 1e-4 }, "\(runs[index].0) \(deviations)")
                }
                let first = try #require(curves[0][1])
                let last = try #require(curves[0][UInt32(steps)])
                #expect(last < first - 0.3, "nothing was learned: \(first) -> \(last)")
                // Gradients cross in both; tokens besides only where experts are spread.
                let besides = zip(sent, encoded).map { $0 - $1 }
                #expect(besides[1] > besides[4] + 1_000_000, "\(sent), of gradients \(encoded)")
                #expect(encoded[1] < encoded[4], "\(encoded)")
                print("bytes of gradients, spread and not, 2 workers: \(encoded[1]), \(encoded[4])")
            }
        }

        /// Between regions experts' parameters cross as without; workers own what they compute.
        @Test("in two regions gradients stay with who computes experts; a simulation agrees")
        func regions() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 30
                cluster.regions = [
                    .init(name: "north", batches: [2, 1, 1]),
                    .init(name: "south", batches: [1, 3]),
                ]
                cluster.layers = 2
                cluster.checkpointEvery = 0
                cluster.model = [
                    "experts: 4", "top_k: 2", "expert_width: 32", "balance: none",
                    "spread: region",
                ]
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                let elements = summary.setup.parameterCount
                let configuration = try Self.configuration(run.events())
                let blocks = configuration.plannedExperts(elements: elements)
                for (region, workers) in [("north", 3), ("south", 2)] {
                    let traffic = RegionTraffic(
                        elements: elements, workers: workers, spread: blocks)
                    // Of three rounds the means are passed on to the other members besides.
                    let rounds = 3 * UInt64(workers - 1) * elements
                    let link = try #require(
                        summary.links.first { $0.from == region && $0.to == region })
                    #expect(link.values == 30 * traffic.values + rounds, "\(region)")
                    #expect(traffic.contributions < traffic.means)
                }
                try await run.modelAsSimulated(file)
            }
        }

        @Test(
            "a worker that holds experts is killed: the run goes on with all experts",
            arguments: ["tcp", "memory"])
        func killedHolder(sameHost: String) async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 200, batches: [2, 1, 1], more: [])
                cluster.step = "20 ms"
                cluster.sameHost = sameHost
                let run = try Run(scratch, try cluster.write(to: scratch))
                let pids = try await run.pids()
                try await run.reaches(step: 30)
                kill(try #require(pids["north-2"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.evicted == ["north-2"])
                let shared = events.notes.filter { $0.hasSuffix("in shared memory") }
                #expect(shared.count == (sameHost == "memory" ? 6 : 0), "\(shared)")
                // The report says what was lost: computing, no weights.
                let lost = try #require(
                    events.notes.first { $0.contains("north-2 is gone") })
                #expect(lost.contains("which computed 2 of 8"), "\(lost)")
                #expect(lost.contains("no weights are lost"))
                let report = try String(
                    contentsOfFile: "\(run.directory)/report.html", encoding: .utf8)
                #expect(report.contains("north-2 is gone, which computed"))
                let summary = try run.summary()
                #expect(summary.counts.violations == 0)
                #expect(summary.pool.lastStep == 200)
                let losses = events.trainingLoss
                #expect(losses.keys.sorted() == Array(1...200))
                let before = try #require(losses[30])
                let after = try #require(losses[200])
                #expect(after < before, "\(before) -> \(after)")
            }
        }

        @Test("experts follow their loads: no step is lost, and nothing else changes")
        func placement() async throws {
            try await withScratch { scratch in
                var curves: [[UInt32: Double]] = []
                for (name, more) in [("still", []), ("moving", ["place_every: 10"])] {
                    let cluster = Self.cluster(
                        steps: 60, batches: [2, 2], more: ["balance: none"] + more)
                    let file = try cluster.write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let events = try run.events()
                    curves.append(events.trainingLoss)
                    let placed = events.notes.filter { $0.contains("placed anew") }
                    #expect((placed.count > 3) == (name == "moving"), "\(placed)")
                    for text in placed { print(text) }
                    let epochs = events.filter {
                        if case .epochStarted = $0.event { true } else { false }
                    }
                    #expect(epochs.count == 1)
                    #expect(try run.summary().counts.violations == 0)
                }
                for step in 1...UInt32(60) {
                    let a = try #require(curves[0][step])
                    let b = try #require(curves[1][step])
                    #expect(abs(a - b) < 1e-4 * a, "step \(step): \(a) and \(b)")
                }
            }
        }

        @Test("int8 tokens train too")
        func packed() async throws {
            try await withScratch { scratch in
                let cluster = Self.cluster(
                    steps: 40, batches: [2, 2], more: ["token_wire: int8"])
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let losses = try run.events().trainingLoss
                #expect(try #require(losses[40]) < (try #require(losses[1])) - 0.3)
            }
        }
    }
}
