/// Cross entropy of next-byte predictions, fused with softmax and its own gradient.
@usableFromInline
package enum CrossEntropy {
    /// - Parameters:
    ///   - logits: one row of `vocabulary` floats per target; out: their gradient,
    ///     (softmax - one-hot) * gradientScale.
    ///   - targets: the right byte of each row, from `firstTarget` on.
    /// - Returns: the sum of -log p(target) over the rows, added in row order.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func forwardBackward(
        logits: Floats, vocabulary: Int, targets: [UInt8], firstTarget: Int,
        gradientScale: Float
    ) -> Double {
        precondition(vocabulary % laneCount == 0 && logits.count % vocabulary == 0)
        let rows = logits.count / vocabulary
        var loss = 0.0
        for row in 0..<rows {
            let y = logits.part(row * vocabulary, vocabulary)
            let target = Int(targets[firstTarget + row])
            let targetLogit = y[target]
            var top = y.lanes(at: 0)
            for column in stride(from: laneCount, to: vocabulary, by: laneCount) {
                top = larger(top, y.lanes(at: column))
            }
            let largest = foldedMaximum(top)
            let maximum = Lanes(repeating: largest)
            var sum = Lanes.zero
            for column in stride(from: 0, to: vocabulary, by: laneCount) {
                let weight = exponential(y.lanes(at: column) - maximum)
                sum += weight
                y.store(weight, at: column)
            }
            let total = foldedSum(sum)
            let factor = Lanes(repeating: gradientScale / total)
            for column in stride(from: 0, to: vocabulary, by: laneCount) {
                y.store(y.lanes(at: column) * factor, at: column)
            }
            y[target] -= gradientScale
            loss += naturalLogarithm(Double(total)) - Double(targetLogit - largest)
        }
        return loss
    }
}
