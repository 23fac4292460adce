import TrainingKernels

/// Causal multi-head attention over the fused query-key-value matrix, head by head, by BLAS.
///
/// Queries are taken in blocks; a block multiplies only with the keys up to its own end, which saves
/// almost half of the products of the full square.
struct Attention {
    /// Queries per block: 32 skips three eighths of a square of 128 (measured on a whole step:
    /// 64 is 2 % slower, 128 is 4 % slower; smaller products would be too small for BLAS).
    static let queryBlock = 32

    let context: Int
    let heads: Int
    let headWidth: Int
    let scoreStride: Int
    let kernels: any ElementwiseKernels.Type

    private var dModel: Int { heads * headWidth }
    private var scale: Float { 1 / Float(headWidth).squareRoot() }

    /// - Parameters:
    ///   - queryKeyValue: sequences * context rows of 3 * dModel.
    ///   - probabilities: sequences * heads blocks of context * scoreStride, written.
    ///   - attended: sequences * context rows of dModel, written.
    func forward(
        sequences: Int, queryKeyValue: Floats, probabilities: Floats, attended: Floats
    ) {
        forEachHead(sequences) { sequence, head in
            let square = self.square(probabilities, sequence, head)
            for queries in queryBlocks {
                let keys = queries.upperBound
                let scores = rows(square, queries, columns: keys)
                multiply(
                    part(queryKeyValue, .query, sequence, head, queries), .asStored,
                    part(queryKeyValue, .key, sequence, head, 0..<keys), .transposed,
                    into: scores)
                kernels.softmaxForward(
                    scores: square, rowStride: scoreStride, queries: queries, keys: keys,
                    scale: scale)
                multiply(
                    scores, .asStored,
                    part(queryKeyValue, .value, sequence, head, 0..<keys), .asStored,
                    into: column(attended, sequence, head, queries))
            }
        }
    }

    /// Writes the gradient with respect to `queryKeyValue`, given that of `attended`.
    func backward(
        sequences: Int, queryKeyValue: Floats, probabilities: Floats, attendedGradient: Floats,
        queryKeyValueGradient: Floats, scoreGradient: Floats
    ) {
        forEachHead(sequences) { sequence, head in
            let square = self.square(probabilities, sequence, head)
            for queries in queryBlocks {
                let keys = queries.upperBound
                let gradient = rows(scoreGradient, queries, columns: keys)
                multiply(
                    column(attendedGradient, sequence, head, queries), .asStored,
                    part(queryKeyValue, .value, sequence, head, 0..<keys), .transposed,
                    into: gradient)
                kernels.softmaxBackward(
                    probabilities: square, gradient: scoreGradient, rowStride: scoreStride,
                    queries: queries, keys: keys, scale: scale)
                multiply(
                    gradient, .asStored,
                    part(queryKeyValue, .key, sequence, head, 0..<keys), .asStored,
                    into: part(queryKeyValueGradient, .query, sequence, head, queries))
            }
            // A block of keys is seen by the queries from its own beginning to the end.
            for keys in queryBlocks {
                let queries = keys.lowerBound..<context
                multiply(
                    block(scoreGradient, queries, keys), .transposed,
                    part(queryKeyValue, .query, sequence, head, queries), .asStored,
                    into: part(queryKeyValueGradient, .key, sequence, head, keys))
                multiply(
                    block(square, queries, keys), .transposed,
                    column(attendedGradient, sequence, head, queries), .asStored,
                    into: part(queryKeyValueGradient, .value, sequence, head, keys))
            }
        }
    }

    private enum Projection: Int {
        case query, key, value
    }

    private var queryBlocks: some Sequence<Range<Int>> {
        let context = self.context
        return stride(from: 0, to: context, by: Self.queryBlock).lazy.map {
            $0..<min($0 + Self.queryBlock, context)
        }
    }

    private func forEachHead(_ sequences: Int, _ body: (Int, Int) -> Void) {
        for sequence in 0..<sequences {
            for head in 0..<heads {
                body(sequence, head)
            }
        }
    }

    /// The context x scoreStride square of one head.
    private func square(_ floats: Floats, _ sequence: Int, _ head: Int) -> Floats {
        let size = context * scoreStride
        return floats.part((sequence * heads + head) * size, size)
    }

    private func rows(_ square: Floats, _ rows: Range<Int>, columns: Int) -> Matrix {
        block(square, rows, 0..<columns)
    }

    private func block(_ square: Floats, _ rows: Range<Int>, _ columns: Range<Int>) -> Matrix {
        let start = rows.lowerBound * scoreStride + columns.lowerBound
        return Matrix(
            square.part(start, square.count - start), rows: rows.count, columns: columns.count,
            rowStride: scoreStride)
    }

    /// One head's queries, keys or values of some tokens of a sequence.
    private func part(
        _ floats: Floats, _ projection: Projection, _ sequence: Int, _ head: Int,
        _ tokens: Range<Int>
    ) -> Matrix {
        let width = 3 * dModel
        let column = projection.rawValue * dModel + head * headWidth
        let start = (sequence * context + tokens.lowerBound) * width + column
        return Matrix(
            floats.part(start, floats.count - start), rows: tokens.count, columns: headWidth,
            rowStride: width)
    }

    /// One head's columns of the attended values of some tokens of a sequence.
    private func column(
        _ floats: Floats, _ sequence: Int, _ head: Int, _ tokens: Range<Int>
    ) -> Matrix {
        let start = (sequence * context + tokens.lowerBound) * dModel + head * headWidth
        return Matrix(
            floats.part(start, floats.count - start), rows: tokens.count, columns: headWidth,
            rowStride: dModel)
    }
}
