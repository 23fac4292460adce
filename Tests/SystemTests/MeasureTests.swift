import ClusterModel
import Foundation
import RunRecord
import Testing

extension SystemTests {
    @Suite("Measuring the cost of distance") struct Measuring {
        private struct Report: Decodable {
            var repetitions: Int
            var computeUtilisation: MeanInterval?
            var e1: MeanInterval?
            var e2: MeanInterval?
            var lossRatio: MeanInterval?
            var encryption: MeanInterval?
        }

        private struct Sweep: Decodable {
            struct Point: Decodable {
                var bitsPerSecond: UInt64
                var distanceKilometres: Double
                var e1: Double
            }
            var simulated: Bool
            var points: [Point]
            struct Real: Decodable { var e1: Double }
            var realPoints: [Real]
        }

        private func decoder() -> JSONDecoder {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return decoder
        }

        @Test("regions alone, one site and the pool are run with one seed, and compared")
        func repetitions() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let program = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "20", "--repetitions", "1", "--dir", "m",
                        "--json", "--warm-start", "10",
                    ], in: scratch)
                try await #expect(program.ending(within: 120) == .code(0), "\(program.errors)")
                let again = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "20", "--repetitions", "2", "--dir", "m",
                        "--json", "--warm-start", "10",
                    ], in: scratch)
                try await #expect(again.ending(within: 120) == .code(0), "\(again.errors)")
                // Of the first repetition nothing was run again.
                #expect(again.errors.components(separatedBy: "is there already").count == 7)
                let report = try decoder().decode(Report.self, from: Data(again.output.utf8))
                #expect(report.repetitions == 2)
                #expect(report.encryption?.values.count == 2)
                #expect(report.e1?.values.count == 2 && (report.e1?.mean ?? 0) > 0)
                #expect(report.e2?.values.count == 2 && (report.e2?.mean ?? 0) > 0)
                #expect(report.computeUtilisation?.halfWidth != nil)
                for run in ["1-north", "1-south", "1-one-site", "1-pool", "2-pool", "2-pool-plain"]
                {
                    let summary = try RunJSON.decode(
                        Data(contentsOf: URL(filePath: scratch.path("m/\(run)/run.json"))))
                    #expect(summary.outcome.isComplete)
                    #expect(summary.identity.seed == (run.hasPrefix("1") ? 7 : 8))
                    #expect(summary.regions.count == (run.contains("pool") ? 2 : 1))
                    #expect(summary.identity.curve == !run.hasSuffix("plain"))
                }
                let page = try String(
                    contentsOfFile: scratch.path("m/report.html"), encoding: .utf8)
                #expect(page.contains("E1") && page.contains("pool, not encrypted"))
                #expect(page.contains("north alone") && page.contains("10 steps"))
            }
        }

        @Test("a sweep is simulated, says so, and faster links cost nothing")
        func sweep() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let program = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "20", "--json", "--sweep",
                        "rate=1..1000Mbit/s,distance=0..6000km",
                    ], in: scratch)
                try await #expect(program.ending() == .code(0), "\(program.errors)")
                let sweep = try decoder().decode(Sweep.self, from: Data(program.output.utf8))
                #expect(sweep.simulated)
                #expect(sweep.points.count == 28)
                for (slow, fast) in zip(sweep.points, sweep.points.dropFirst())
                where slow.distanceKilometres == fast.distanceKilometres {
                    #expect(fast.e1 > slow.e1 - 0.01)
                }
                let first = try #require(sweep.points.first)
                let last = try #require(sweep.points.last)
                #expect(first.bitsPerSecond == 1_000_000 && last.bitsPerSecond == 1_000_000_000)
                let bad = try Program(
                    "longhaul", ["measure", file, "--sweep", "rate=10"], in: scratch)
                try await #expect(bad.ending() == .code(2))
                #expect(bad.errors.contains("for example --sweep"))
                let real = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "20", "--json", "--sweep",
                        "rate=1..1000Mbit/s,distance=0..6000km", "--real-points", "1", "--dir", "s",
                    ], in: scratch)
                try await #expect(real.ending(within: 120) == .code(0), "\(real.errors)")
                let points = try decoder().decode(Sweep.self, from: Data(real.output.utf8))
                #expect(points.realPoints.count == 1 && (points.realPoints.first?.e1 ?? 0) > 0)
            }
        }
    }
}
