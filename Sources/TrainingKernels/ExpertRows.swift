/// Moves between tokens (N rows) and the experts' rows (R rows, ordered by expert). Which row a choice has
/// is `rows[token * topK + choice]`, -1 where it was dropped; choices are added in their order, so that a
/// sum does not depend on where an expert's rows lie.
@usableFromInline
package enum ExpertRows {
    /// target[r] = source[tokens[r]]; rows without a token (-1) become zero.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func gather(
        _ source: Floats, tokens: [Int32], rows: Int, width: Int, into target: Floats
    ) {
        precondition(width % laneCount == 0 && rows * width <= target.count && rows <= tokens.count)
        for row in 0..<rows {
            let to = target.part(row * width, width)
            let token = Int(tokens[row])
            if token >= 0 {
                to.copy(from: source.part(token * width, width))
            } else {
                to.fill(with: 0)
            }
        }
    }

    /// result[t - first] += sum over j of weights[t, j] outputs[rows[t, j]] for as many tokens t from `first`
    /// on as `result` has rows.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func combine(
        _ outputs: Floats, rows: [Int32], weights: [Float], topK: Int, width: Int,
        from first: Int, addedTo result: Floats
    ) {
        let end = first + result.count / width
        precondition(first >= 0 && end * topK <= min(rows.count, weights.count))
        precondition(width % laneCount == 0)
        for token in first..<end {
            let to = result.part((token - first) * width, width)
            for slot in token * topK..<(token + 1) * topK where rows[slot] >= 0 {
                let from = outputs.part(Int(rows[slot]) * width, width)
                let weight = Lanes(repeating: weights[slot])
                for column in stride(from: 0, to: width, by: laneCount) {
                    to.store(to.lanes(at: column) + from.lanes(at: column) * weight, at: column)
                }
            }
        }
    }

    /// The gradients of `combine`: rowGradient[rows[t, j]] = weights[t, j] gradient[t], and
    /// weightGradient[t, j] = gradient[t] . outputs[rows[t, j]], 0 for a dropped choice. Rows without a token
    /// stay as they are.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func combineBackward(
        _ gradient: Floats, outputs: Floats, rows: [Int32], weights: [Float], topK: Int,
        width: Int, rowGradient: Floats, weightGradient: Floats
    ) {
        let tokens = gradient.count / width
        precondition(width % laneCount == 0 && tokens * topK <= min(rows.count, weights.count))
        for token in 0..<tokens {
            let from = gradient.part(token * width, width)
            for slot in token * topK..<(token + 1) * topK {
                guard rows[slot] >= 0 else {
                    weightGradient[slot] = 0
                    continue
                }
                let output = outputs.part(Int(rows[slot]) * width, width)
                let to = rowGradient.part(Int(rows[slot]) * width, width)
                let weight = Lanes(repeating: weights[slot])
                var product = Lanes.zero
                for column in stride(from: 0, to: width, by: laneCount) {
                    let value = from.lanes(at: column)
                    product += value * output.lanes(at: column)
                    to.store(value * weight, at: column)
                }
                weightGradient[slot] = foldedSum(product)
            }
        }
    }

    /// result[t - first] += sum over j of source[rows[t, j]], for tokens as in `combine`: the gradient of
    /// `gather`.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func addRows(
        _ source: Floats, rows: [Int32], topK: Int, width: Int, from first: Int,
        to result: Floats
    ) {
        let end = first + result.count / width
        precondition(width % laneCount == 0 && first >= 0 && end * topK <= rows.count)
        for token in first..<end {
            let to = result.part((token - first) * width, width)
            for slot in token * topK..<(token + 1) * topK where rows[slot] >= 0 {
                RowKernels.add(source.part(Int(rows[slot]) * width, width), to: to)
            }
        }
    }
}
