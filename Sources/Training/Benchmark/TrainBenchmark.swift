import ClusterModel
import TrainingKernels

/// What `longhaul bench train --json` prints.
package struct TrainBenchmarkResult: Codable, Sendable {
    package var parameters: Int
    /// Those a token passes: fewer than all in a mixture of experts.
    package var activeParameters: Int
    package var tokensPerStep: Int
    package var steps: Int
    /// Median over the steps.
    package var tokensPerSecond: Double
    package var stepMsMedian: Double
    package var stepMsMin: Double
    package var stepMsMax: Double
    /// Of the step with the median time.
    package var forwardMs: Double
    package var backwardMs: Double
    package var optimiserMs: Double
    package var blasCore: String
    package var blasThreads: Int
    /// The instruction set of the element-wise passes.
    package var kernels: String

    private enum CodingKeys: String, CodingKey {
        case parameters
        case activeParameters = "active_parameters"
        case tokensPerStep = "tokens_per_step"
        case steps
        case tokensPerSecond = "tokens_per_second"
        case stepMsMedian = "step_ms_median"
        case stepMsMin = "step_ms_min"
        case stepMsMax = "step_ms_max"
        case forwardMs = "forward_ms"
        case backwardMs = "backward_ms"
        case optimiserMs = "optimiser_ms"
        case blasCore = "blas_core"
        case blasThreads = "blas_threads"
        case kernels
    }
}

/// Times whole training steps (forward, backward, AdamW) on random bytes, one thread.
package enum TrainBenchmark {
    /// Untimed steps at the beginning.
    private static let warmup = 5

    /// - Parameters:
    ///   - steps: timed steps, 1 to 100,000.
    ///   - batch: sequences per step.
    ///   - sequencesPerPass: how many of them are computed together.
    package static func run(
        steps: Int, shape: ModelShape = ModelShape(), batch: Int = 16,
        sequencesPerPass: Int? = nil
    ) throws(ModelShapeError) -> TrainBenchmarkResult {
        precondition((1...100_000).contains(steps) && (1...65_536).contains(batch))
        BlasLibrary.setThreads(1)
        let transformer = try Transformer(shape: shape, sequencesPerPass: sequencesPerPass)
        transformer.initialise(seed: 1)
        let optimiser = AdamW(tensors: shape.tensors, settings: AdamWSettings())
        var generator = SeededGenerator(seed: 2)
        var times: [StepTime] = []
        var powers = (beta1: 1.0, beta2: 1.0)
        let clock = ContinuousClock()
        for step in 0..<(warmup + steps) {
            let tokens = batch * shape.context
            let inputs = (0..<tokens).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            let targets = (0..<tokens).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            powers = (powers.beta1 * 0.9, powers.beta2 * 0.95)
            let start = clock.now
            var split = PassTimes()
            _ = transformer.forwardBackward(inputs: inputs, targets: targets, times: &split)
            let middle = clock.now
            let norm = gradientNorm(transformer.gradients.floats.part(0, shape.trainedCount))
            optimiser.step(
                parameters: transformer.parameters.floats,
                gradients: transformer.gradients.floats, learningRate: 1e-3,
                gradientScale: norm > 1 ? 1 / norm : 1, powers: powers)
            transformer.balanceExperts()
            let end = clock.now
            if step >= warmup {
                times.append(
                    StepTime(
                        total: milliseconds(end - start), forward: milliseconds(split.forward),
                        backward: milliseconds(split.backward),
                        optimiser: milliseconds(end - middle)))
            }
        }
        return result(times, shape: shape, tokens: batch * shape.context)
    }

    private struct StepTime {
        var total: Double
        var forward: Double
        var backward: Double
        var optimiser: Double
    }

    private static func result(
        _ times: [StepTime], shape: ModelShape, tokens: Int
    ) -> TrainBenchmarkResult {
        let sorted = times.sorted { $0.total < $1.total }
        let median = sorted[sorted.count / 2]
        return TrainBenchmarkResult(
            parameters: shape.parameterCount, activeParameters: shape.activeParameterCount,
            tokensPerStep: tokens, steps: times.count,
            tokensPerSecond: Double(tokens) / median.total * 1e3, stepMsMedian: median.total,
            stepMsMin: sorted[0].total, stepMsMax: sorted[sorted.count - 1].total,
            forwardMs: median.forward, backwardMs: median.backward, optimiserMs: median.optimiser,
            blasCore: BlasLibrary.coreName, blasThreads: 1,
            kernels: SelectedKernels.current.name)
    }

    private static func milliseconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) * 1e3 + Double(attoseconds) * 1e-15
    }
}
