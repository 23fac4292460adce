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
            BenchControlCommand.self, BenchControlClientsCommand.self,
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
            """)

    @Option(help: "Timed steps.")
    var steps = 40

    @Option(help: "Sequences per step.")
    var batch = 16

    @Option(help: "Model width.")
    var width = 128

    @Option(help: "Layers.")
    var layers = 2

    @Option(help: "Attention heads.")
    var heads = 4

    @Option(help: "Context in bytes.")
    var context = 128

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard steps > 0, batch > 0 else {
            throw ValidationError("--steps and --batch must be at least 1")
        }
    }

    func run() throws {
        BlasLibrary.reexecIfMisdetected { Console.error("longhaul: \($0)") }
        BlasLibrary.setThreads(1)
        let shape = ModelShape(
            dModel: width, layers: layers, heads: heads, context: context)
        let result = try TrainBenchmark.run(steps: steps, shape: shape, batch: batch)
        if json {
            try Console.printJSON(result)
        } else {
            print(
                """
                \(result.parameters) parameters, \(result.tokensPerStep) tokens per step, BLAS core \
                \(result.blasCore), \(result.blasThreads) thread
                \(Int(result.tokensPerSecond)) tokens/s; step \(result.stepMsMedian) ms \
                [\(result.stepMsMin)...\(result.stepMsMax)], of it forward \(result.forwardMs), \
                backward \(result.backwardMs), optimiser \(result.optimiserMs)
                """)
        }
    }
}
