import ClusterModel
import Foundation
import RunRecord
import Testing

extension SystemTests {
    @Suite("Simulation beside the real thing") struct SimulationBesideReality {
        private struct Recording: Decodable {
            var machines: Int
            var events: Int
            var differences: Int
            var orphans: Int
        }

        private struct Prediction: Decodable {
            struct Row: Decodable {
                var figure: String
                var error: Double
            }
            var rows: [Row]
            var digestsAgree: Bool
        }

        private struct Routing: Decodable, Equatable {
            var traceHash: UInt64
            var maxViolation: Double
            var routedTokens: UInt64
        }

        @Test("routing of experts is the same in two processes, and another with another seed")
        func routingOfExperts() async throws {
            try await withScratch { scratch in
                try """
                name: routing
                steps: 6
                seed: 7
                coordinator: a
                regions:
                  a: {workers: [{name: a, count: 4, batch: 1}]}
                  b: {workers: [{name: b, count: 4, batch: 1}]}
                links: [{between: [a, b], one_way: 15 ms, rate: 1 Gbit/s}]
                schedule: {outer: diloco, sync_every: 3}
                model: {experts: 16, top_k: 4, gate: sigmoid}
                routing: {slots: 4, tokens: 64, drift: 0.2, place_every: 2}
                """.write(toFile: scratch.path("r.yaml"), atomically: true, encoding: .utf8)
                let decoder = JSONDecoder()
                decoder.keyDecodingStrategy = .convertFromSnakeCase
                var found: [Routing] = []
                for seed in ["7", "7", "8"] {
                    let run = try Program(
                        "longhaul",
                        ["simulate", "r.yaml", "--experts", "--json", "--seed", seed], in: scratch)
                    try await #expect(run.ending() == .code(0), "\(run.errors)")
                    found.append(try decoder.decode(Routing.self, from: Data(run.output.utf8)))
                }
                #expect(found[0] == found[1])
                #expect(found[0].traceHash != found[2].traceHash)
                #expect(found[0].routedTokens == 64 * 2 * 2 * 6)
                let text = try Program(
                    "longhaul", ["simulate", "r.yaml", "--experts"], in: scratch)
                try await #expect(text.ending() == .code(0))
                #expect(text.output.contains("bytes across per token"))
                let real = try Program(
                    "longhaul", ["simulate", "r.yaml", "--experts", "--train", "real"], in: scratch)
                try await #expect(real.ending() == .code(2))
            }
        }

        @Test("a recorded run replays, and its simulation ends with the same model and bytes")
        func recordedRun() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let run = try Run(scratch, file, ["--record", scratch.path("run.jsonl")])
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")

                let replay = try Program(
                    "longhaul", ["replay", "run.jsonl", "--json"], in: scratch)
                try await #expect(replay.ending() == .code(0), "\(replay.errors)")
                let decoder = JSONDecoder()
                decoder.keyDecodingStrategy = .convertFromSnakeCase
                let recording = try decoder.decode(
                    Recording.self, from: Data(replay.output.utf8))
                #expect(recording.machines == 5)
                #expect(recording.events > 1_000)
                #expect(recording.differences == 0 && recording.orphans == 0)

                // The same without one of the events is another run.
                var lines = try String(
                    contentsOfFile: scratch.path("run.jsonl"), encoding: .utf8
                ).split(separator: "\n")
                let middle = try #require(lines.lastIndex { $0.contains("\"computed\"") })
                lines.remove(at: middle)
                try lines.joined(separator: "\n").write(
                    toFile: scratch.path("cut.jsonl"), atomically: true, encoding: .utf8)
                let cut = try Program("longhaul", ["replay", "cut.jsonl"], in: scratch)
                try await #expect(cut.ending() == .code(13))
                #expect(cut.errors.contains("wanted:"))

                let simulated = try Program(
                    "longhaul",
                    [
                        "simulate", file, "--train", "real", "--dir", "simulated", "--trace",
                        "t.json",
                    ],
                    in: scratch)
                try await #expect(simulated.ending() == .code(0), "\(simulated.errors)")
                let model = { (directory: String) in
                    try Data(contentsOf: URL(filePath: "\(directory)/model.safetensors"))
                }
                #expect(try model(run.directory) == model(scratch.path("simulated")))
                #expect(
                    try Data(contentsOf: URL(filePath: scratch.path("t.json"))).count > 10_000)
                #expect(simulated.output.contains("modelled by the simulator"))

                let predict = try Program(
                    "longhaul", ["predict", file, "--from", run.directory, "--json"], in: scratch)
                try await #expect(predict.ending() == .code(0), "\(predict.errors)")
                let prediction = try decoder.decode(
                    Prediction.self, from: Data(predict.output.utf8))
                #expect(prediction.digestsAgree)
                let links = prediction.rows.filter { $0.figure.contains("->") }
                #expect(links.count == 4)
                // A short run of a small model: repeated HELLOs weigh more than in docs/simulation.md.
                #expect(links.allSatisfy { abs($0.error) < 0.05 }, "\(links)")
                #expect(prediction.rows.contains { $0.figure == "round time" })
            }
        }

        /// Without an inner schedule the two workers of a region contribute together (decision 22), with
        /// int8 and error feedback.
        @Test(
            "a streaming run ends with the same model under the virtual clock",
            arguments: ["every-step", "none"])
        func streaming(inner: String) async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.inner = inner
                cluster.outer = "streaming"
                cluster.layers = 3
                cluster.further = ["fragments: 3", "overlap: 2", "blend: 0.5"]
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file, [])
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                try await run.modelAsSimulated(file)
                let round = try Program(
                    "longhaul", ["simulate", file, "--fidelity", "round"], in: scratch)
                try await #expect(round.ending() != .code(0))
                #expect(round.errors.contains("use --fidelity slice"))
            }
        }

        /// Biases move by counts of workers with unlike batches; a digest that differed would end the run.
        @Test("experts: members agree on every digest, and the simulation ends with the same model")
        func experts() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 30
                cluster.model = [
                    "experts: 4", "expert_width: 32", "shared_experts: 1", "gate: sigmoid",
                    "balance: quantile", "capacity: 1.5",
                ]
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                #expect(summary.rounds.conflicts.isEmpty && summary.counts.violations == 0)
                let use = try #require(summary.experts)
                #expect(use.series.map(\.step) == [10, 20, 30])
                #expect(use.blocks.count == 1 && use.blocks[0].shares.count == 4)
                #expect(abs(use.blocks[0].shares.reduce(0, +) - 1) < 1e-6)
                let model = try await run.modelAsSimulated(file)
                #expect(model.range(of: Data("gate.e_score_correction_bias".utf8)) != nil)
            }
        }

        @Test("the same seed takes the same course in every process")
        func traceHash() async throws {
            try await withScratch { scratch in
                var hashes: [String] = []
                for environment in [[:], [:], ["SWIFT_DETERMINISTIC_HASHING": "1"]] {
                    let program = try Program(
                        "longhaul", ["simulate", "--swarm", "--seeds", "623..623", "--verbose"],
                        in: scratch, environment: environment)
                    try await #expect(program.ending() == .code(0), "\(program.errors)")
                    let line = try #require(
                        program.output.split(separator: "\n").last { $0.hasPrefix("trace hash") })
                    hashes.append(String(line))
                }
                #expect(Set(hashes).count == 1, "\(hashes)")
            }
        }
    }
}
