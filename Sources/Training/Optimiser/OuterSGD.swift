/// The outer optimiser without momentum: theta -= lr g. With lr 1 it sets theta to the mean of the replicas
/// (SparseLoCo, arXiv 2508.15706, which keeps what it did not send in the error feedback instead).
package struct OuterSGD: OuterOptimiser, Codable, Equatable {
    package var learningRate: Float

    package init(learningRate: Float) { self.learningRate = learningRate }

    /// Leaves `buffer` as it is.
    package func step(
        parameters: inout MutableSpan<Float>, buffer: inout MutableSpan<Float>,
        gradient: Span<Float>, round: UInt32
    ) {
        precondition(parameters.count == gradient.count)
        for index in 0..<gradient.count {
            parameters[index] -= learningRate * gradient[index]
        }
    }
}
