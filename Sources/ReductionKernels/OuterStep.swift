/// The constants of an outer Nesterov step and of the blend which follows it.
@frozen
public struct OuterStep: Equatable, Sendable {
    /// Outer learning rate.
    public var learningRate: Float
    /// mu
    public var momentum: Float
    /// Share of the live parameters which stays; 0 replaces them by the outer copy.
    public var alpha: Float

    @_alwaysEmitIntoClient @inline(__always)
    public init(learningRate: Float, momentum: Float, alpha: Float) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.alpha = alpha
    }
}

extension KernelSet {
    /// Memory traffic per element: the mean's bytes and 24 for the three fp32 arrays read and
    /// written.
    @_alwaysEmitIntoClient
    static func applyBody(
        _ mean: KernelSource, _ count: Int, _ step: OuterStep,
        _ outer: UnsafeMutableRawPointer, _ momentum: UnsafeMutableRawPointer,
        _ live: UnsafeMutableRawPointer
    ) -> (applied: Int, squares: Double) {
        var total = 0.0
        var done = 0
        // SAFETY: all operands cover `count` elements; the buffer holds a block.
        unsafe withUnsafeTemporaryAllocation(byteCount: KernelLimits.block * 4, alignment: 16) {
            let gradient = unsafe $0.baseAddress.unsafelyUnwrapped
                .assumingMemoryBound(to: Float.self)
            while done < count {
                let size = min(KernelLimits.block, count &- done)
                unsafe decodeAny(
                    mean, block: done / KernelLimits.block, count: size,
                    into: UnsafeMutableRawPointer(gradient))
                let sum = unsafe squares(gradient, size)
                if !sum.isFinite, unsafe largestMagnitudeBits(gradient, size) >= 0x7F80_0000 {
                    return
                }
                total += Double(sum)
                unsafe nesterov(
                    gradient, size, step, outer + done &* 4, momentum + done &* 4,
                    live + done &* 4)
                done &+= size
            }
        }
        return (done, total)
    }

    /// One block of the outer step; every product and sum is rounded apart.
    @_alwaysEmitIntoClient
    static func nesterov(
        _ gradient: UnsafeMutablePointer<Float>, _ count: Int, _ step: OuterStep,
        _ outer: UnsafeMutableRawPointer, _ momentum: UnsafeMutableRawPointer,
        _ live: UnsafeMutableRawPointer
    ) {
        let rate = step.learningRate
        let mu = step.momentum
        let keep = step.alpha
        let take = 1 - keep
        var i = 0
        // SAFETY: each operand holds `count` floats; i + 16 <= count in the wide loop.
        while i &+ 16 <= count {
            let g = unsafe loadLanes(gradient, i)
            let m = unsafe mu * loadLanes(momentum, i) + g
            let o = unsafe loadLanes(outer, i) - rate * (g + mu * m)
            unsafe storeLanes(m, momentum, i)
            unsafe storeLanes(o, outer, i)
            if keep == 0 {
                unsafe storeLanes(o, live, i)
            } else {
                unsafe storeLanes(keep * loadLanes(live, i) + take * o, live, i)
            }
            i &+= 16
        }
        while i < count {
            let g = unsafe gradient[i]
            let m = unsafe mu * load(momentum, i, as: Float.self) + g
            let o = unsafe load(outer, i, as: Float.self) - rate * (g + mu * m)
            unsafe store(m, momentum, i)
            unsafe store(o, outer, i)
            let l = unsafe keep == 0 ? o : keep * load(live, i, as: Float.self) + take * o
            unsafe store(l, live, i)
            i &+= 1
        }
    }
}
