/// The outer optimiser: SGD with Nesterov momentum, as PyTorch's `SGD(nesterov=True)`:
/// buf = mu buf + g (the first time buf = g), theta -= lr (g + mu buf).
///
/// DiLoCo (Douillard et al. 2023) uses lr 0.7 and mu 0.9; mu 0 is a plain step, lr 1 with mu 0 sets
/// theta to the mean of the replicas.
package struct OuterNesterov: OuterOptimiser, Codable, Equatable {
    package var learningRate: Float
    package var momentum: Float

    package init(learningRate: Float = 0.7, momentum: Float = 0.9) {
        self.learningRate = learningRate
        self.momentum = momentum
    }

    /// `buffer` is zero before the first step, which makes buf = g without a special case.
    package func step(
        parameters: inout MutableSpan<Float>, buffer: inout MutableSpan<Float>,
        gradient: Span<Float>, round: UInt32
    ) {
        precondition(parameters.count == gradient.count && buffer.count == gradient.count)
        for index in 0..<gradient.count {
            let g = gradient[index]
            let b = momentum * buffer[index] + g
            buffer[index] = b
            parameters[index] -= learningRate * (g + momentum * b)
        }
    }
}
