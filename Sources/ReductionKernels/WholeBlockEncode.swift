// Encoding of blocks of exactly 256 elements, 16 at a time; as `encodeBlock`.

extension KernelSet {
    /// The largest magnitude's bits of a whole block.
    @_alwaysEmitIntoClient
    static func largestWhole(_ input: UnsafeRawPointer) -> UInt32 {
        var a = SIMD16<UInt32>(repeating: 0)
        var b = a
        var i = 0
        // SAFETY: 256 floats of input.
        while i < KernelLimits.block {
            a = unsafe larger(a, bits(loadLanes(input, i)) & 0x7FFF_FFFF)
            b = unsafe larger(b, bits(loadLanes(input, i &+ 16)) & 0x7FFF_FFFF)
            i &+= 32
        }
        let both = larger(a, b)
        var result = both[0]
        for lane in 1..<16 { result = max(result, both[lane]) }
        return result
    }

    /// Encodes a whole block; `most` is its largest magnitude's bits (used by scaled kinds).
    @_alwaysEmitIntoClient
    static func encodeWhole(
        _ input: UnsafeRawPointer, most: UInt32, block: Int, _ target: KernelTarget
    ) {
        let base = unsafe target.values + target.kind.valueBytes(block &* KernelLimits.block)
        var i = 0
        // SAFETY: the input holds 256 floats, the target covers the block.
        switch unsafe target.kind {
        case .fp32:
            while i < KernelLimits.block {
                unsafe storeLanes(loadLanes(input, i), base, i)
                i &+= 16
            }
        case .bf16:
            while i < KernelLimits.block {
                let halves = unsafe bf16Bits(loadLanes(input, i))
                unsafe base.storeBytes(
                    of: halves, toByteOffset: i &* 2, as: SIMD16<UInt16>.self)
                i &+= 16
            }
        case .fp16:
            while i < KernelLimits.block {
                let halves = unsafe fp16Bits(loadLanes(input, i))
                unsafe base.storeBytes(
                    of: halves, toByteOffset: i &* 2, as: SIMD16<UInt16>.self)
                i &+= 16
            }
        case .int8:
            let fit = blockScale(most, top: 127)
            unsafe store(fit.scale, target.scales, block)
            guard fit.isUsable else { return unsafe fillWhole(0, base, KernelLimits.block) }
            while i < KernelLimits.block {
                let codes = unsafe roundedBits(loadLanes(input, i) * fit.reciprocal)
                unsafe base.storeBytes(
                    of: lowBytes(codes), toByteOffset: i, as: SIMD16<UInt8>.self)
                i &+= 16
            }
        case .int4:
            let fit = blockScale(most, top: 7)
            unsafe store(fit.scale, target.scales, block)
            guard fit.isUsable else { return unsafe fillWhole(0x88, base, KernelLimits.block / 2) }
            while i < KernelLimits.block / 2 {
                let low = unsafe roundedBits(loadLanes(input, i) * fit.reciprocal) &+ 8
                let high = unsafe roundedBits(loadLanes(input, i &+ 128) * fit.reciprocal) &+ 8
                unsafe base.storeBytes(
                    of: lowBytes((low & 15) | high &<< 4), toByteOffset: i,
                    as: SIMD16<UInt8>.self)
                i &+= 16
            }
        case .e3m0:
            unsafe encodeWholeE3M0(input, most, base, target.scales, block)
        }
    }

    /// The codes of a block without usable scale.
    @_alwaysEmitIntoClient
    static func fillWhole(_ code: UInt8, _ base: UnsafeMutableRawPointer, _ bytes: Int) {
        var i = 0
        // SAFETY: the target's block has `bytes` bytes, a multiple of 16.
        while i < bytes {
            unsafe base.storeBytes(
                of: SIMD16<UInt8>(repeating: code), toByteOffset: i, as: SIMD16<UInt8>.self)
            i &+= 16
        }
    }

    @_alwaysEmitIntoClient
    static func encodeWholeE3M0(
        _ input: UnsafeRawPointer, _ most: UInt32, _ base: UnsafeMutableRawPointer,
        _ scales: UnsafeMutableRawPointer, _ block: Int
    ) {
        let fit = blockScale(most, top: 1)
        // SAFETY: as in `encodeWhole`.
        unsafe store(fit.scale, scales, block)
        guard fit.isUsable else { return unsafe fillWhole(0, base, KernelLimits.block / 2) }
        let reciprocal = KernelLimits.squareRootOfTwo / fit.scale
        var i = 0
        while i < KernelLimits.block / 2 {
            let low = unsafe e3m0Codes(loadLanes(input, i) * reciprocal)
            let high = unsafe e3m0Codes(loadLanes(input, i &+ 128) * reciprocal)
            unsafe base.storeBytes(
                of: lowBytes(low | high &<< 4), toByteOffset: i, as: SIMD16<UInt8>.self)
            i &+= 16
        }
    }
}
