// One block of fp32 values into encoded elements.

extension KernelSet {
    /// The largest magnitude of a block as the bits of a float: NaN sorts above infinity and infinity
    /// above every number, so one integer maximum is both the scale and the finite check.
    @_alwaysEmitIntoClient
    static func largestMagnitudeBits(_ input: UnsafePointer<Float>, _ count: Int) -> UInt32 {
        var largest: UInt32 = 0
        // SAFETY: the caller's block holds `count` floats.
        for i in 0..<count {
            largest = unsafe max(largest, input[i].bitPattern & 0x7FFF_FFFF)
        }
        return largest
    }

    /// Scale and reciprocal of a block whose largest code is `top`: scale = largest / top and
    /// reciprocal = top / largest, both rounded once. A block with a NaN or an infinity gets the
    /// poisoned scale (every element decodes as NaN), one of vanishing values scale 0.
    @_alwaysEmitIntoClient @_transparent
    static func blockScale(
        _ largest: UInt32, top: Float
    ) -> (scale: Float, reciprocal: Float, isUsable: Bool) {
        if largest >= 0x7F80_0000 {
            return (Float(bitPattern: KernelLimits.poisonedScale), 0, false)
        }
        let magnitude = Float(bitPattern: largest)
        if magnitude < KernelLimits.smallestMagnitude { return (0, 0, false) }
        return (magnitude / top, top / magnitude, true)
    }

    /// Encodes `count` <= 256 floats as block `block` of `target`.
    @_alwaysEmitIntoClient
    static func encodeBlock(
        _ input: UnsafePointer<Float>, block: Int, count: Int, _ target: KernelTarget
    ) {
        let start = block &* KernelLimits.block
        // SAFETY: the target covers elements start ..< start + count and, for scaled kinds, scale
        // `block`; the input holds `count` floats.
        switch unsafe target.kind {
        case .fp32:
            let base = unsafe target.values + start &* 4
            for i in 0..<count { unsafe store(input[i], base, i) }
        case .bf16:
            let base = unsafe target.values + start &* 2
            for i in 0..<count { unsafe store(bf16Bits(input[i]), base, i) }
        case .fp16:
            let base = unsafe target.values + start &* 2
            for i in 0..<count { unsafe store(fp16Bits(input[i]), base, i) }
        case .int8:
            let base = unsafe target.values + start
            let fit = unsafe blockScale(largestMagnitudeBits(input, count), top: 127)
            unsafe store(fit.scale, target.scales, block)
            if fit.isUsable {
                for i in 0..<count {
                    let code = unsafe roundedBits(input[i] * fit.reciprocal)
                    unsafe store(Int8(truncatingIfNeeded: code), base, i)
                }
            } else {
                for i in 0..<count { unsafe store(Int8(0), base, i) }
            }
        case .int4:
            unsafe encodeInt4(input, target.values + start / 2, target.scales, block, count)
        case .e3m0:
            unsafe encodeE3M0(input, target.values + start / 2, target.scales, block, count)
        }
    }

    @_alwaysEmitIntoClient
    static func encodeInt4(
        _ input: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer,
        _ scales: UnsafeMutableRawPointer, _ block: Int, _ count: Int
    ) {
        let half = (count &+ 1) / 2
        let fit = unsafe blockScale(largestMagnitudeBits(input, count), top: 7)
        // SAFETY: as in `encodeBlock`; the high half of an odd block's last byte stays zero.
        unsafe store(fit.scale, scales, block)
        guard fit.isUsable else {
            for j in 0..<half {
                unsafe store(UInt8(count &- half > j ? 0x88 : 0x08), base, j)
            }
            return
        }
        for j in 0..<(count &- half) {
            let low = unsafe (roundedBits(input[j] * fit.reciprocal) &+ 8) & 15
            let high = unsafe (roundedBits(input[half &+ j] * fit.reciprocal) &+ 8) & 15
            unsafe store(UInt8(truncatingIfNeeded: low | high &<< 4), base, j)
        }
        if count & 1 == 1 {
            let low = unsafe (roundedBits(input[half &- 1] * fit.reciprocal) &+ 8) & 15
            unsafe store(UInt8(truncatingIfNeeded: low), base, half &- 1)
        }
    }

    @_alwaysEmitIntoClient
    static func encodeE3M0(
        _ input: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer,
        _ scales: UnsafeMutableRawPointer, _ block: Int, _ count: Int
    ) {
        let half = (count &+ 1) / 2
        let fit = unsafe blockScale(largestMagnitudeBits(input, count), top: 1)
        // SAFETY: as in `encodeBlock`; the high half of an odd block's last byte stays zero.
        unsafe store(fit.scale, scales, block)
        guard fit.isUsable else {
            for j in 0..<half { unsafe store(UInt8(0), base, j) }
            return
        }
        let reciprocal = KernelLimits.squareRootOfTwo / fit.scale
        for j in 0..<(count &- half) {
            let low = unsafe e3m0Code(input[j] * reciprocal)
            let high = unsafe e3m0Code(input[half &+ j] * reciprocal)
            unsafe store(low | high &<< 4, base, j)
        }
        if count & 1 == 1 {
            unsafe store(e3m0Code(input[half &- 1] * reciprocal), base, half &- 1)
        }
    }
}
