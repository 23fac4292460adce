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
            // Whole lanes up to `last`; there, lanes behind the query are hidden.
            let last = query & ~(laneCount - 1)
            let hidden = laneNumbers .> SIMD8(repeating: Int32(truncatingIfNeeded: query - last))
            let row = scores.part(query * rowStride, rowStride)
            let lowest = Lanes(repeating: -.greatestFiniteMagnitude)
            row.store(row.lanes(at: last).replacing(with: lowest, where: hidden), at: last)
            var top = row.lanes(at: last)
            var key = 0
            while key < last {
                top = larger(top, row.lanes(at: key))
                key += laneCount
            }
            let maximum = Lanes(repeating: foldedMaximum(top))
            let scale = Lanes(repeating: scale)
            var sum = Lanes.zero
            key = 0
            let (wideMaximum, wideScale) = (
                WideLanes(lowHalf: maximum, highHalf: maximum),
                WideLanes(lowHalf: scale, highHalf: scale)
            )
            // Two lanes at a time; they are added one after the other.
            while key < last {
                let weights = exponential((row.wideLanes(at: key) - wideMaximum) * wideScale)
                sum += weights.lowHalf
                sum += weights.highHalf
                row.store(weights, at: key)
                key += wideLaneCount
            }
            while key <= last {
                let weight = exponential((row.lanes(at: key) - maximum) * scale)
                sum += weight
                row.store(weight, at: key)
                key += laneCount
            }
            let reciprocal = Lanes(repeating: 1 / foldedSum(sum))
            key = 0
            while key < last {
                row.store(row.lanes(at: key) * reciprocal, at: key)
                key += laneCount
            }
            let end = row.lanes(at: last) * reciprocal
            row.store(end.replacing(with: Lanes.zero, where: hidden), at: last)
            clear(row, from: last + laneCount, keys: keys)
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
            let end = (query & ~(laneCount - 1)) + laneCount
            let p = probabilities.part(query * rowStride, rowStride)
            let g = gradient.part(query * rowStride, rowStride)
            var product = Lanes.zero
            var key = 0
            while key < end {
                product += p.lanes(at: key) * g.lanes(at: key)
                key += laneCount
            }
            let sum = Lanes(repeating: foldedSum(product))
            let scale = Lanes(repeating: scale)
            key = 0
            while key < end {
                g.store(p.lanes(at: key) * (g.lanes(at: key) - sum) * scale, at: key)
                key += laneCount
            }
            clear(g, from: end, keys: keys)
        }
    }

    /// Clears the rest of a row's keys, in whole lanes: a row has room up to its stride.
    @_alwaysEmitIntoClient
    @inline(__always)
    static func clear(_ row: Floats, from start: Int, keys: Int) {
        var key = start
        while key < keys {
            row.store(Lanes.zero, at: key)
            key += laneCount
        }
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    static var laneNumbers: SIMD8<Int32> { SIMD8(0, 1, 2, 3, 4, 5, 6, 7) }
}
