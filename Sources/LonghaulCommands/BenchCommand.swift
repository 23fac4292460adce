import ArgumentParser
import ClusterModel
import Training

/// `longhaul bench`: measurements people run, beside peers on the same machine.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure parts of Longhaul on this machine.",
        subcommands: [
            BenchTrainCommand.self, BenchReduceCommand.self, BenchCodecCommand.self,
            BenchAllreduceCommand.self, BenchAllreduceWorkerCommand.self,
            BenchDispatchCommand.self, BenchDispatchWorkerCommand.self,
            BenchStateCommand.self, BenchStateWorkerCommand.self,
            BenchControlCommand.self, BenchControlClientsCommand.self,
            BenchLanesCommand.self, BenchLanesReceiverCommand.self,
        ])
}

/// `longhaul bench train`: tokens per second of one training step on one thread.
struct BenchTrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Training step of the byte-level transformer, one thread.",
        discussion: """
            EXAMPLES
              longhaul bench train --json
              longhaul bench train --steps 40 --batch 16 --layers 4
              longhaul bench train --moe --experts 8 --top-k 2 --json
            """)

    @Option(help: "Timed steps.")
    var steps = 40

    @Option(help: "Sequences per step.")
    var batch = 16

    @Option(
        help: "Sequences computed together (default: as a worker does, 4; with --moe, up to 16).")
    var pass: Int?

    @Option(help: "Model width.")
    var width = 128

    @Option(help: "Layers.")
    var layers = 2

    @Option(help: "Attention heads.")
    var heads = 4

    @Option(help: "Context in bytes.")
    var context = 128

    @Flag(help: "Experts in the place of each feed-forward layer.")
    var moe = false

    @Option(help: "With --moe: experts of a layer (default: 8).")
    var experts: Int?

    @Option(help: "With --moe: experts a token uses (default: 2).")
    var topK: Int?

    @Option(help: "With --moe: hidden width of an expert (default: four times the model's width).")
    var expertWidth: Int?

    @Option(help: "With --moe: experts that every token uses besides (default: 0).")
    var sharedExperts: Int?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard steps > 0, batch > 0 else {
            throw ValidationError("--steps and --batch must be at least 1")
        }
        let given = [experts, topK, expertWidth, sharedExperts].contains { $0 != nil }
        guard moe || !given else {
            throw ValidationError(
                "--experts, --top-k, --expert-width and --shared-experts need --moe")
        }
    }

    func run() throws {
        BlasLibrary.reexecIfMisdetected { Console.error("longhaul: \($0)") }
        BlasLibrary.setThreads(1)
        let mixture = ExpertShape(
            count: experts ?? 8, topK: topK ?? 2, width: expertWidth ?? 4 * width,
            shared: sharedExperts ?? 0)
        let shape = ModelShape(
            dModel: width, layers: layers, heads: heads, context: context,
            experts: moe ? mixture : nil)
        let result = try TrainBenchmark.run(
            steps: steps, shape: shape, batch: batch, sequencesPerPass: pass)
        if json {
            try Console.printJSON(result)
        } else {
            print(
                """
                \(result.parameters) parameters (\(result.activeParameters) active), \
                \(result.tokensPerStep) tokens per step, BLAS core \(result.blasCore), \
                \(result.blasThreads) thread
                \(Int(result.tokensPerSecond)) tokens/s; step \(result.stepMsMedian) ms \
                [\(result.stepMsMin)...\(result.stepMsMax)], of it forward \(result.forwardMs), \
                backward \(result.backwardMs), optimiser \(result.optimiserMs)
                """)
        }
    }
}
