import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Experts of one region") struct OwnedExperts {
        private static func cluster(
            steps: Int, batches: [[Int]], tokens: Int, more: [String] = []
        ) -> SmallCluster {
            var cluster = SmallCluster()
            cluster.steps = steps
            cluster.regions = [
                .init(name: "north", batches: batches[0]),
                .init(name: "south", batches: batches[1]),
            ]
            cluster.layers = 2
            cluster.syncEvery = 5
            cluster.between = "fp32"
            cluster.checkpointEvery = 0
            cluster.adapt = "never"
            cluster.model =
                [
                    "experts: 4", "top_k: 2", "expert_width: 32", "shared_experts: 1",
                    "across: budget", "owned: 2", "budget_tokens: \(tokens)",
                ] + more
            return cluster
        }

        private static func owners(_ events: [StampedEvent]) -> [RunEvent.ExpertOwners] {
            events.compactMap {
                if case .expertOwners(let owners) = $0.event { owners } else { nil }
            }
        }

        /// The last word of each worker on what it sent to the other region.
        private static func traffic(_ events: [StampedEvent]) -> [RunEvent.Traffic] {
            var last: [WorkerID: RunEvent.Traffic] = [:]
            for case .traffic(let worker, let traffic) in events.map(\.event)
            where traffic.toRegion.index != (worker.rawValue < 2 ? 0 : 1) {
                last[worker] = traffic
            }
            return last.sorted { $0.key < $1.key }.map(\.value)
        }

        private static func plan(_ owners: RunEvent.ExpertOwners?) -> OneProcessPool.Plan {
            OneProcessPool.Plan(
                owners: owners.map { $0.owners.map { $0 == .none ? nil : $0.index } }
                    ?? Array(repeating: nil, count: 8),
                budgets: [0, 1].map { from in
                    owners?.budgets.first { $0.from.index == from }.map { Int($0.tokens) } ?? 0
                })
        }

        @Test("losses are those of the same rule in one process, within rounding")
        func oneProcess() async throws {
            try await withScratch { scratch in
                let steps: UInt32 = 80
                let cluster = Self.cluster(steps: Int(steps), batches: [[3], [2]], tokens: 40)
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                var start: RunEvent.RunStarted?
                for case .runStarted(let started) in events.map(\.event) { start = started }
                let owners = Self.owners(events)
                #expect(owners.count > 1 && owners.allSatisfy { !$0.budgets.isEmpty })
                let pool = try OneProcessPool(try #require(start))
                let unlimited = try OneProcessPool(try #require(start))
                var losses: [[UInt32: Double]] = [[:], [:]]
                for case .stepped(let worker, let step, let loss, _, _) in events.map(\.event) {
                    losses[Int(worker.rawValue)][step] = loss
                }
                var (worst, apart) = (0.0, 0.0)
                for step in 1...steps {
                    let present = owners.last { $0.turn * 5 < step }
                    let isNew = step == 1 || owners.contains { $0.turn * 5 + 1 == step }
                    let plan = Self.plan(present)
                    let expected = try pool.step(step, plan, isNew: isNew)
                    var free = plan
                    free.budgets = [10_000, 10_000]
                    let other = try unlimited.step(step, free, isNew: isNew)
                    for region in 0..<2 {
                        let loss = try #require(losses[region][step])
                        worst = max(worst, abs(loss - expected[region]) / expected[region])
                        apart = max(apart, abs(loss - other[region]) / other[region])
                    }
                }
                print("largest deviation \(worst); of a run whose budgets never end \(apart)")
                #expect(worst < 1e-4)
                #expect(apart > 10 * worst, "another rule gives the same losses")
                let summary = try run.summary()
                let crossing = try #require(summary.experts?.crossing)
                print("crossed \(crossing.crossed), stayed \(crossing.stayed)")
                #expect(crossing.crossed == UInt64(pool.crossed) && crossing.crossed > 500)
                #expect(crossing.stayed == UInt64(pool.stayed) && crossing.stayed > 500)
                // Five sequences of 32 tokens in two blocks, of the steps that had owners.
                let steady = UInt64(steps - 5 * owners[0].turn)
                #expect(crossing.tokens == 5 * 32 * 2 * steady)
                #expect(crossing.tokenBytes > 4 * 4 * 32 * crossing.crossed)
                #expect(summary.counts.violations == 0)
                #expect(summary.rounds.committed == 16 && summary.rounds.conflicts.isEmpty)
            }
        }

        @Test("one site, and one region by itself, compute all experts")
        func oneRegion() async throws {
            try await withScratch { scratch in
                let cluster = Self.cluster(steps: 10, batches: [[2], [2]], tokens: 30)
                let file = try cluster.write(to: scratch)
                for flags in [["--one-site"], ["--only-region", "south"]] {
                    let run = try Run(scratch, file, directory: flags[flags.count - 1], flags)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    #expect(try run.events().trainingLoss.keys.sorted() == Array(1...10))
                    let summary = try run.summary()
                    #expect(summary.experts != nil && summary.experts?.crossing == nil)
                    #expect(summary.counts.violations == 0)
                }
            }
        }

        private struct Prediction: Decodable {
            struct Row: Decodable {
                var figure: String
                var measured: Double
                var predicted: Double
            }
            var rows: [Row]
            var digestsAgree: Bool
        }

        @Test("the simulator trains the same model with the same tokens across, and predicts bytes")
        func simulated() async throws {
            try await withScratch { scratch in
                let cluster = Self.cluster(
                    steps: 40, batches: [[2, 1], [2]], tokens: 40, more: ["token_wire: int8"])
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let directory = scratch.path("simulated")
                let simulation = try Program(
                    "longhaul", ["simulate", file, "--train", "real", "--dir", directory],
                    in: scratch)
                try await #expect(simulation.ending() == .code(0), "\(simulation.errors)")
                let real = try run.events()
                let other = try RunLogReader(path: directory + "/run.sqlite").events()
                #expect(real.commits.map(\.digest) == other.commits.map(\.digest))
                #expect(real.commits.count == 8)
                let (measured, modelled) = try (run.summary(), RunSummary(events: other))
                let crossing = try #require(measured.experts?.crossing)
                let again = try #require(modelled.experts?.crossing)
                #expect(crossing.crossed > 100 && crossing.crossed == again.crossed)
                #expect(crossing.stayed == again.stayed && crossing.tokens == again.tokens)
                #expect(crossing.tokenBytes == again.tokenBytes)

                let predict = try Program(
                    "longhaul", ["predict", file, "--from", run.directory, "--json"], in: scratch)
                try await #expect(predict.ending() == .code(0), "\(predict.errors)")
                let decoder = JSONDecoder()
                decoder.keyDecodingStrategy = .convertFromSnakeCase
                let prediction = try decoder.decode(
                    Prediction.self, from: Data(predict.output.utf8))
                #expect(prediction.digestsAgree)
                let lanes = prediction.rows.filter { $0.figure.hasPrefix("lanes ") }
                #expect(lanes.count == 2)
                // How many acknowledgements go together is a matter of time, and a member that asks at a
                // heartbeat for what is on its way gets it twice; what must cross is the same to the byte.
                let (sent, predicted) = (Self.traffic(real), Self.traffic(other))
                #expect(sent.count == 3 && predicted.count == 3)
                for (real, modelled) in zip(sent, predicted) {
                    #expect(real.resent == 0 && real.values == modelled.values)
                    #expect(real.tokenBytes == modelled.tokenBytes)
                    #expect(real.encodedBytes >= modelled.encodedBytes)
                    let heads = real.bytes - real.encodedBytes - (real.tokenBytes ?? 0)
                    #expect(heads < 128 * real.frames)
                }
                for (row, workers) in zip(lanes, [0..<2, 2..<3]) {
                    #expect(row.measured == Double(sent[workers].reduce(0) { $0 + $1.bytes }))
                    // Simulated from what the run measured: other times, other acknowledgements.
                    let simulated = predicted[workers].reduce(0) { $0 + $1.bytes }
                    #expect(abs(row.predicted / Double(simulated) - 1) < 0.05, "\(row)")
                }
            }
        }

        @Test("without a budget no token leaves; a run repeats")
        func nothingCrosses() async throws {
            try await withScratch { scratch in
                var digests: [[UInt64]] = []
                for name in ["first", "second"] {
                    let cluster = Self.cluster(
                        steps: 30, batches: [[2, 1], [2]], tokens: 30)
                    let file = try cluster.write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    digests.append(try run.events().commits.map(\.digest))
                }
                #expect(digests[0] == digests[1] && digests[0].count == 6)
                let none = Self.cluster(steps: 30, batches: [[2, 1], [2]], tokens: 0)
                let run = try Run(
                    scratch, try none.write(to: scratch, name: "none"), directory: "none")
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let crossing = try #require(try run.summary().experts?.crossing)
                #expect(crossing.crossed == 0 && crossing.stayed > 100 && crossing.tokenBytes == 0)
                #expect(try run.events().commits.map(\.digest) != digests[0])
            }
        }

        private static func tokensCross(in run: Run) async throws {
            try await run.event("tokens that cross") {
                if case .tokensCrossed(_, let count) = $0 {
                    count.crossed.contains { $0 > 0 }
                } else {
                    false
                }
            }
        }

        @Test("a region that owns experts dies: the other computes them, and says what is lost")
        func ownerDies() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(
                    steps: 120, batches: [[2, 1], [2]], tokens: 60, more: ["token_wire: bf16"])
                cluster.step = "20 ms"
                let run = try Run(scratch, try cluster.write(to: scratch))
                let pids = try await run.pids()
                try await Self.tokensCross(in: run)
                kill(try #require(pids["south-1"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.evicted == ["south-1"])
                let lost = events.notes.filter { $0.contains("that south alone computed") }
                #expect(lost.count == 1, "\(lost)")
                let owners = Self.owners(events)
                #expect(owners.last?.owners.allSatisfy { $0 == .none } == true)
                #expect(owners.last?.budgets.isEmpty == true)
                let losses = events.trainingLoss
                #expect(losses.keys.sorted() == Array(1...120))
                #expect(try #require(losses[120]) < (try #require(losses[1])) - 0.3)
                #expect(try run.summary().counts.violations == 0)
            }
        }

        @Test("a link that is down in the middle of a step: the step is computed again without it")
        func outage() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 200, batches: [[2], [2]], tokens: 60)
                cluster.step = "20 ms"
                cluster.deadlines = ["patience": "1 s"]
                cluster.linkChanges = ["{at: 3 s, for: 6 s, outage: true}"]
                let run = try Run(scratch, try cluster.write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.evicted == [])
                let reasons = events.compactMap {
                    if case .epochStarted(_, _, let reason) = $0.event { reason } else { nil }
                }
                #expect(reasons.contains { $0.contains("waits for tokens of") }, "\(reasons)")
                #expect(
                    events.contains {
                        if case .waiting(_, let activity, _, _, _, _) = $0.event {
                            activity.hasPrefix("tokens of step")
                        } else {
                            false
                        }
                    })
                let budgets = Self.owners(events).map { !$0.budgets.isEmpty }
                let gap = try #require(budgets.firstIndex(of: false), "\(budgets)")
                #expect(budgets[..<gap].contains(true) && budgets[gap...].contains(true))
                let losses = events.trainingLoss
                #expect(losses.keys.sorted() == Array(1...200))
                let summary = try run.summary()
                #expect(summary.counts.violations == 0 && summary.rounds.conflicts.isEmpty)
            }
        }

        @Test("one of a region's workers dies in the middle of steps: tokens cross again later")
        func workerDies() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 150, batches: [[2, 1], [2, 1]], tokens: 60)
                cluster.step = "20 ms"
                let run = try Run(scratch, try cluster.write(to: scratch))
                let pids = try await run.pids()
                try await Self.tokensCross(in: run)
                kill(try #require(pids["south-2"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let events = try run.events()
                #expect(events.evicted == ["south-2"])
                let budgets = Self.owners(events).map { !$0.budgets.isEmpty }
                let gap = try #require(budgets.firstIndex(of: false), "\(budgets)")
                #expect(budgets[..<gap].contains(true) && budgets[gap...].contains(true))
                let losses = events.trainingLoss
                #expect(losses.keys.sorted() == Array(1...150))
                let summary = try run.summary()
                #expect(summary.counts.violations == 0 && summary.rounds.conflicts.isEmpty)
            }
        }
    }
}
