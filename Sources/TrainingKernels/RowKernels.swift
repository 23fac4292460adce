/// Small passes over matrices stored row by row.
@usableFromInline
package enum RowKernels {
    /// matrix[r, c] = bias[c]: what a product is then added to.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func repeatRow(_ bias: Floats, into matrix: Floats) {
        let width = bias.count
        precondition(width > 0 && width % laneCount == 0 && matrix.count % width == 0)
        for row in stride(from: 0, to: matrix.count, by: width) {
            for column in stride(from: 0, to: width, by: laneCount) {
                matrix.store(bias.lanes(at: column), at: row + column)
            }
        }
    }

    /// result[r, c] = residual[r, c] + bias[c]: what the end of a residual branch is added to.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func sum(_ residual: Floats, bias: Floats, into result: Floats) {
        let width = bias.count
        precondition(width > 0 && width % laneCount == 0 && result.count % width == 0)
        precondition(residual.count == result.count)
        for row in stride(from: 0, to: result.count, by: width) {
            for column in stride(from: 0, to: width, by: laneCount) {
                let index = row + column
                result.store(residual.lanes(at: index) + bias.lanes(at: column), at: index)
            }
        }
    }

    /// sums[c] += sum over r of matrix[r, c], rows in ascending order: the gradient of a bias.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func addColumnSums(of matrix: Floats, to sums: Floats) {
        let width = sums.count
        precondition(width > 0 && width % laneCount == 0 && matrix.count % width == 0)
        var column = 0
        // Four accumulators at a time stay in registers; the order of rows is the same in each.
        while column + 4 * laneCount <= width {
            var a = Lanes.zero
            var b = Lanes.zero
            var c = Lanes.zero
            var d = Lanes.zero
            for row in stride(from: column, to: matrix.count, by: width) {
                a += matrix.lanes(at: row)
                b += matrix.lanes(at: row + laneCount)
                c += matrix.lanes(at: row + 2 * laneCount)
                d += matrix.lanes(at: row + 3 * laneCount)
            }
            sums.store(sums.lanes(at: column) + a, at: column)
            sums.store(sums.lanes(at: column + laneCount) + b, at: column + laneCount)
            sums.store(sums.lanes(at: column + 2 * laneCount) + c, at: column + 2 * laneCount)
            sums.store(sums.lanes(at: column + 3 * laneCount) + d, at: column + 3 * laneCount)
            column += 4 * laneCount
        }
        while column < width {
            var a = Lanes.zero
            for row in stride(from: column, to: matrix.count, by: width) {
                a += matrix.lanes(at: row)
            }
            sums.store(sums.lanes(at: column) + a, at: column)
            column += laneCount
        }
    }

    /// target *= factor; the length is a multiple of eight.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func scale(_ target: Floats, by factor: Float) {
        precondition(target.count % laneCount == 0)
        let lanes = Lanes(repeating: factor)
        for index in stride(from: 0, to: target.count, by: laneCount) {
            target.store(target.lanes(at: index) * lanes, at: index)
        }
    }

    /// target += source, element by element; lengths are multiples of eight.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func add(_ source: Floats, to target: Floats) {
        precondition(source.count == target.count && source.count % laneCount == 0)
        for index in stride(from: 0, to: source.count, by: laneCount) {
            target.store(target.lanes(at: index) + source.lanes(at: index), at: index)
        }
    }
}
