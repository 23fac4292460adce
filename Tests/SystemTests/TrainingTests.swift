import ClusterModel
import Foundation
import RunRecord
import Testing

extension SystemTests {
    @Suite("A whole run") struct WholeRun {
        @Test("the same seed gives the same bytes")
        func sameSeed() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                var models: [Data] = []
                var digests: [[UInt64]] = []
                for name in ["first", "second"] {
                    let run = try Run(scratch, file, directory: name, ["--seed", "11"])
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let events = try run.events()
                    digests.append(events.commits.map(\.digest))
                    #expect(events.commits.map(\.round) == [1, 2, 3, 4, 5, 6])
                    #expect(events.commits.allSatisfy { $0.members == 4 })
                    #expect(try run.summary().counts.violations == 0)
                    models.append(
                        try Data(contentsOf: URL(filePath: "\(run.directory)/model.safetensors")))
                }
                #expect(digests[0] == digests[1])
                #expect(models[0] == models[1] && models[0].count > 30_432 * 4)
                let other = try Run(scratch, file, directory: "third", ["--seed", "12"])
                try await #expect(other.program.ending() == .code(0))
                #expect(try other.events().commits.map(\.digest) != digests[0])
            }
        }

        @Test("--json prints run.json, and 'report' makes it again")
        func json() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let run = try Run(scratch, file, ["--steps", "20"])
                try await #expect(run.program.ending() == .code(0))
                let printed = try JSONSerialization.jsonObject(with: Data(run.program.output.utf8))
                let outcome = try #require(
                    (printed as? [String: Any])?["outcome"] as? [String: Any])
                #expect(outcome["exit_code"] as? Int == 0)
                let summary = try run.summary()
                #expect(summary.pool.lastStep == 20)
                #expect(summary.workers.allSatisfy { $0.budget?.isBalanced == true })
                #expect(summary.peakMemory.count == 6, "\(summary.peakMemory)")
                try FileManager.default.removeItem(atPath: "\(run.directory)/report.html")
                let report = try Program("longhaul", ["report", run.directory], in: scratch)
                try await #expect(report.ending() == .code(0))
                #expect(FileManager.default.fileExists(atPath: "\(run.directory)/report.html"))
            }
        }

        @Test("four workers that share every step train as one with the fourfold batch")
        func equivalence() async throws {
            try await withScratch { scratch in
                var four = SmallCluster()
                four.steps = 50
                four.regions = four.regions.map { .init(name: $0.name, batches: [2, 2]) }
                four.outer = "every-step"
                four.between = "fp32"
                four.checkpointEvery = 0
                let one = SmallCluster.oneRegion(steps: 50, batches: [8])
                var curves: [[UInt32: Double]] = []
                for (name, cluster) in [("four", four), ("one", one)] {
                    let file = try cluster.write(to: scratch, name: name)
                    let run = try Run(scratch, file, directory: name)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    curves.append(try run.events().trainingLoss)
                }
                #expect(curves[0].keys.sorted() == Array(1...50))
                let deviations = try (1...50).map { (step: UInt32) in
                    let a = try #require(curves[0][step])
                    let b = try #require(curves[1][step])
                    return abs(a - b) / b
                }
                print("largest relative deviation of the loss: \(deviations.max() ?? .nan)")
                #expect(deviations.allSatisfy { $0 < 1e-4 }, "\(deviations)")
                let first = try #require(curves[0][1])
                let last = try #require(curves[0][50])
                #expect(last < first - 0.3, "nothing was learned: \(first) -> \(last)")
            }
        }
    }
}
