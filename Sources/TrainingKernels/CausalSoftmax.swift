/// Softmax over the visible keys of each query: row q of a score block sees keys 0...q.
@usableFromInline
package enum CausalSoftmax {
    /// Turns scores into probabilities, in place.
    ///
    /// - Parameters:
    ///   - scores: one head's block, `rowStride` floats per row, a multiple of eight.
    ///   - queries: the rows of the sequence to process; row q is at `q * rowStride`.
    ///   - keys: the number of keys computed for these rows, at most `rowStride`.
    ///   - scale: factor on the scores, 1 / sqrt(head width). Hidden keys become exactly zero.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func forward(
        scores: Floats, rowStride: Int, queries: Range<Int>, keys: Int, scale: Float
    ) {
        precondition(rowStride % laneCount == 0 && keys <= rowStride && queries.upperBound <= keys)
        for query in queries {
            let visible = query + 1
            let padded = (visible + laneCount - 1) & ~(laneCount - 1)
            let row = scores.part(query * rowStride, rowStride)
            for key in visible..<padded {
                row[key] = -.greatestFiniteMagnitude
            }
            var top = row.lanes(at: 0)
            for key in stride(from: laneCount, to: padded, by: laneCount) {
                top = larger(top, row.lanes(at: key))
            }
            let maximum = Lanes(repeating: foldedMaximum(top))
            let scale = Lanes(repeating: scale)
            var sum = Lanes.zero
            for key in stride(from: 0, to: padded, by: laneCount) {
                let weight = exponential((row.lanes(at: key) - maximum) * scale)
                sum += weight
                row.store(weight, at: key)
            }
            let reciprocal = Lanes(repeating: 1 / foldedSum(sum))
            for key in stride(from: 0, to: padded, by: laneCount) {
                row.store(row.lanes(at: key) * reciprocal, at: key)
            }
            clear(row, from: visible, to: max(keys, padded))
        }
    }

    /// `gradient` in: with respect to the probabilities; out: with respect to the scores before
    /// scaling, p (g - sum(p g)) scale. Hidden keys have p = 0 and stay zero.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func backward(
        probabilities: Floats, gradient: Floats, rowStride: Int, queries: Range<Int>, keys: Int,
        scale: Float
    ) {
        precondition(rowStride % laneCount == 0 && keys <= rowStride && queries.upperBound <= keys)
        for query in queries {
            let visible = query + 1
            let padded = (visible + laneCount - 1) & ~(laneCount - 1)
            let p = probabilities.part(query * rowStride, rowStride)
            let g = gradient.part(query * rowStride, rowStride)
            var product = Lanes.zero
            for key in stride(from: 0, to: padded, by: laneCount) {
                product += p.lanes(at: key) * g.lanes(at: key)
            }
            let sum = Lanes(repeating: foldedSum(product))
            let scale = Lanes(repeating: scale)
            for key in stride(from: 0, to: padded, by: laneCount) {
                g.store(p.lanes(at: key) * (g.lanes(at: key) - sum) * scale, at: key)
            }
            clear(g, from: padded, to: max(keys, padded))
        }
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    static func clear(_ row: Floats, from start: Int, to end: Int) {
        if start < end {
            row.part(start, end - start).fill(with: 0)
        }
    }
}
