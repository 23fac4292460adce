/// Delayed Nesterov (Liu et al. 2024, arXiv 2401.09135, Algorithm 3 with c = 0): every round applies
/// lr g / N, every N-th adds the momentum term:
///
///     theta -= lr (g / N)                           rounds that are no multiple of N
///     m = mu m + (g_1 + ... + g_N) / N              every N-th round
///     theta -= lr (mu m + g / N)
///
/// The sum is kept in m itself: its first round scales m by mu, each adds g / N, and m is read only when
/// it is whole, so there is no third vector. With N = 1 it is Nesterov.
package struct OuterDelayedNesterov: OuterOptimiser, Codable, Equatable {
    package var learningRate: Float
    package var momentum: Float
    /// N.
    package var every: UInt32

    package init(learningRate: Float, momentum: Float, every: UInt32) {
        precondition(every > 0, "momentum every 0 rounds")
        self.learningRate = learningRate
        self.momentum = momentum
        self.every = every
    }

    package func step(
        parameters: inout MutableSpan<Float>, buffer: inout MutableSpan<Float>,
        gradient: Span<Float>, round: UInt32
    ) {
        precondition(parameters.count == gradient.count && buffer.count == gradient.count)
        let share = 1 / Float(every)
        let isFirst = (round - 1) % every == 0
        let isLast = round % every == 0
        for index in 0..<gradient.count {
            let part = share * gradient[index]
            let kept = isFirst ? momentum * buffer[index] : buffer[index]
            let sum = kept + part
            buffer[index] = sum
            let ahead = isLast ? momentum * sum : 0
            parameters[index] -= learningRate * (part + ahead)
        }
    }
}
