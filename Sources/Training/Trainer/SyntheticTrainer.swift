import TrainingKernels

/// A trainer without a model: any number of parameters, pseudo-random gradients, nothing learnt.
///
/// For measuring everything around training. The gradient depends on seed, first sample and element
/// only, has a deviation of about 0.01 and all mantissa bits in use, so that codecs find no more
/// structure than in real gradients. Its one tensor is a matrix named `synthetic.weight`.
package final class SyntheticTrainer: Trainer, MemoryBackedTrainer {
    package let parameterCount: Int
    package let tensors: [TensorSpec]
    package let keepsOuterCopy: Bool
    package var counters = TrainerCounters()
    let memory: TrainerMemory
    private let seed: UInt64
    private let tokensPerSample: Int
    private let storage: FloatStorage
    private let learningRate: Float = 1e-3

    package init(
        parameterCount: Int, seed: UInt64, tokensPerSample: Int = 128, keepsOuterCopy: Bool
    ) {
        precondition(parameterCount >= 1 && tokensPerSample >= 1)
        self.parameterCount = parameterCount
        self.seed = seed
        self.tokensPerSample = tokensPerSample
        self.keepsOuterCopy = keepsOuterCopy
        tensors = [
            TensorSpec(
                name: "synthetic.weight", shape: [parameterCount], range: 0..<parameterCount,
                layer: nil, kind: .matrix)
        ]
        // Four vectors, each on its own cache lines.
        let padded = (parameterCount + 15) & ~15
        storage = FloatStorage(count: 4 * padded)
        memory = TrainerMemory(
            parameters: storage.floats.part(0, parameterCount),
            gradients: storage.floats.part(padded, parameterCount),
            firstMoment: storage.floats.part(2 * padded, parameterCount),
            secondMoment: storage.floats.part(3 * padded, parameterCount),
            keepsOuterCopy: keepsOuterCopy)
        fill(memory.parameters, key: Self.key(seed, .max))
        resetOuterState()
    }

    /// The loss falls with the number of steps as a display; it says nothing.
    package func computeGradient(samples: [UInt64]) -> StepResult {
        precondition(!samples.isEmpty, "a step needs samples")
        fill(memory.gradients, key: Self.key(seed, samples[0]))
        let tokens = samples.count * tokensPerSample
        counters.tokens += UInt64(tokens)
        return StepResult(tokens: tokens, loss: evaluate(samples: 1))
    }

    package func evaluate(samples: Int) -> Float {
        1 / Float(counters.innerSteps + 1)
    }

    /// parameters -= 0.001 * gradient; the moments stay zero.
    @discardableResult
    package func optimiserStep() -> OptimiserReport {
        let norm = gradientNorm(memory.gradients)
        for index in 0..<parameterCount {
            memory.parameters[index] -= learningRate * memory.gradients[index]
        }
        counters.innerSteps += 1
        return OptimiserReport(gradientNorm: norm, learningRate: learningRate)
    }

    private static func key(_ seed: UInt64, _ sample: UInt64) -> UInt32 {
        let mixed = (seed &+ 0x9E37_79B9_7F4A_7C15) &* (sample &* 2 &+ 1)
        return UInt32(truncatingIfNeeded: mixed >> 32)
    }

    /// A triangular distribution over (-0.024, 0.024) from two 24-bit halves of an integer hash.
    private func fill(_ target: Floats, key: UInt32) {
        for index in 0..<target.count {
            var hash = UInt64(UInt32(truncatingIfNeeded: index) ^ key) &* 0x9E37_79B9_7F4A_7C15
            hash = (hash ^ (hash >> 29)) &* 0xBF58_476D_1CE4_E5B9
            let first = Float(Int32(truncatingIfNeeded: hash >> 40))
            let second = Float(Int32(truncatingIfNeeded: (hash >> 16) & 0xFF_FFFF))
            target[index] = (first - second) * (0.024 * 0x1p-24)
        }
    }
}
