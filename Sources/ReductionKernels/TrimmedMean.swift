// Coordinate-wise trimmed mean: each of 16 lanes sorts its own column of values by the same
// sequence of exchanges, so that nothing depends on the values but the values.

extension KernelSet {
    @_alwaysEmitIntoClient
    static func trimmedMeanBody(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, _ count: Int, _ trim: Int,
        _ target: KernelTarget
    ) -> Double {
        var total = 0.0
        let block = KernelLimits.block
        // SAFETY: every source and the target cover `count` elements; the buffer holds a row of a
        // block per source and one for the result.
        unsafe withUnsafeTemporaryAllocation(
            byteCount: (sourceCount &+ 1) &* block &* 4, alignment: 16
        ) {
            let rows = unsafe $0.baseAddress.unsafelyUnwrapped
            let mean = unsafe (rows + sourceCount &* block &* 4)
                .assumingMemoryBound(to: Float.self)
            var done = 0
            while done < count {
                let size = min(block, count &- done)
                var index = 0
                while index < sourceCount {
                    unsafe decodeAny(
                        sources[index], block: done / block, count: size,
                        into: rows + index &* block &* 4)
                    index &+= 1
                }
                var column = 0
                while column < size {
                    unsafe sortColumns(rows + column &* 4, sourceCount)
                    unsafe storeLanes(
                        averageColumns(rows + column &* 4, trim, sourceCount &- trim),
                        UnsafeMutableRawPointer(mean), column)
                    column &+= 16
                }
                total += unsafe Double(squares(mean, size))
                unsafe encodeAny(
                    UnsafeRawPointer(mean), block: done / block, count: size, target)
                done &+= size
            }
        }
        return total
    }

    /// Sorts 16 columns of `rows` values, whose rows are a block apart, ascending: Batcher's merge
    /// exchange (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2 M).
    @_alwaysEmitIntoClient
    static func sortColumns(_ base: UnsafeMutableRawPointer, _ rows: Int) {
        guard rows > 1 else { return }
        var top = 1
        while top &* 2 < rows { top &*= 2 }
        var p = top
        while p > 0 {
            var q = top
            var r = 0
            var d = p
            while d > 0 {
                var i = 0
                while i < rows &- d {
                    if i & p == r { unsafe exchange(base, i, i &+ d) }
                    i &+= 1
                }
                d = q &- p
                q /= 2
                r = p
            }
            p /= 2
        }
    }

    /// Puts the smaller of each lane into row `low`, the larger into row `high`. The order is that
    /// of the bits as sign and magnitude, which is total: no lane is lost to a NaN.
    @_alwaysEmitIntoClient @_transparent
    static func exchange(_ base: UnsafeMutableRawPointer, _ low: Int, _ high: Int) {
        let a = unsafe loadLanes(base, low &* KernelLimits.block)
        let b = unsafe loadLanes(base, high &* KernelLimits.block)
        let x = orderKey(a)
        let y = orderKey(b)
        let lowLanes = floats(choose(bits(b), bits(a), where: y, isBelow: x))
        let highLanes = floats(choose(bits(a), bits(b), where: y, isBelow: x))
        unsafe storeLanes(lowLanes, base, low &* KernelLimits.block)
        unsafe storeLanes(highLanes, base, high &* KernelLimits.block)
    }

    @_alwaysEmitIntoClient @_transparent
    static func orderKey(_ lanes: SIMD16<Float>) -> SIMD16<UInt32> {
        let u = bits(lanes)
        let negative = all(0) &- (u &>> 31)
        return u ^ (negative | 0x8000_0000)
    }

    /// The mean of rows first ..< last of 16 columns, added in row order.
    @_alwaysEmitIntoClient
    static func averageColumns(
        _ base: UnsafeMutableRawPointer, _ first: Int, _ last: Int
    ) -> SIMD16<Float> {
        var sum = unsafe loadLanes(base, first &* KernelLimits.block)
        var row = first &+ 1
        while row < last {
            sum += unsafe loadLanes(base, row &* KernelLimits.block)
            row &+= 1
        }
        return sum / Float(last &- first)
    }
}
