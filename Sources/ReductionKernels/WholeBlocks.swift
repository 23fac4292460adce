// Blocks of exactly 256 elements, 16 at a time. Partial blocks go through `decodeBlock` and
// `encodeBlock`, which do the same to one element at a time.

/// What a pass notes about a block of sums: per lane the sum of squares and the largest magnitude.
@frozen
public struct BlockNotes {
    @usableFromInline var squares: SIMD16<Float>
    @usableFromInline var largest: SIMD16<UInt32>

    @_alwaysEmitIntoClient @_transparent
    init() {
        squares = SIMD16(repeating: 0)
        largest = SIMD16(repeating: 0)
    }

    @_alwaysEmitIntoClient @_transparent
    mutating func note(_ lanes: SIMD16<Float>) {
        squares += lanes * lanes
        largest = larger(largest, bits(lanes) & 0x7FFF_FFFF)
    }
}

extension KernelSet {
    /// The 16 elements added pairwise: element i with i + 8, then + 4, + 2, + 1.
    ///
    /// A call: inlined into a loop which carries the vector, taking it apart makes the compiler
    /// carry it in pieces.
    @_alwaysEmitIntoClient @inline(never)
    static func treeSum(_ v: SIMD16<Float>) -> Float {
        let eight = SIMD8<Float>(
            v[0] + v[8], v[1] + v[9], v[2] + v[10], v[3] + v[11], v[4] + v[12], v[5] + v[13],
            v[6] + v[14], v[7] + v[15])
        let four = SIMD4<Float>(
            eight[0] + eight[4], eight[1] + eight[5], eight[2] + eight[6], eight[3] + eight[7])
        return (four[0] + four[2]) + (four[1] + four[3])
    }

    /// The largest of 16 values; a call for the same reason.
    @_alwaysEmitIntoClient @inline(never)
    static func largest(_ v: SIMD16<UInt32>) -> UInt32 {
        let eight = SIMD8<UInt32>(
            max(v[0], v[8]), max(v[1], v[9]), max(v[2], v[10]), max(v[3], v[11]),
            max(v[4], v[12]), max(v[5], v[13]), max(v[6], v[14]), max(v[7], v[15]))
        let four = SIMD4<UInt32>(
            max(eight[0], eight[4]), max(eight[1], eight[5]), max(eight[2], eight[6]),
            max(eight[3], eight[7]))
        return max(max(four[0], four[2]), max(four[1], four[3]))
    }

    /// Scale of block `block`; 0 for kinds without.
    @_alwaysEmitIntoClient @_transparent
    static func scale(_ source: KernelSource, _ kind: ElementKind, _ block: Int) -> Float {
        // SAFETY: the source covers the block.
        unsafe kind.isBlockScaled ? load(source.scales, block, as: Float.self) : 0
    }

    /// Decodes a whole block.
    @_alwaysEmitIntoClient
    static func decodeWhole(
        _ source: KernelSource, block: Int, into output: UnsafeMutableRawPointer
    ) {
        // SAFETY: the source covers the block; 256 floats of output.
        switch unsafe source.kind {
        case .fp32: unsafe decodeWhole(FloatLanes.self, source, block, output)
        case .bf16: unsafe decodeWhole(BFloat16Lanes.self, source, block, output)
        case .fp16: unsafe decodeWhole(HalfLanes.self, source, block, output)
        case .int8: unsafe decodeWhole(Int8Lanes.self, source, block, output)
        case .int4: unsafe decodeWhole(Int4Lanes.self, source, block, output)
        case .e3m0: unsafe decodeWhole(E3M0Lanes.self, source, block, output)
        }
    }

    @_alwaysEmitIntoClient
    static func decodeWhole<Decoder: LaneDecoder>(
        _ decoder: Decoder.Type, _ source: KernelSource, _ block: Int,
        _ output: UnsafeMutableRawPointer
    ) {
        let kind = Decoder.kind
        let values = unsafe source.values + kind.valueBytes(block &* KernelLimits.block)
        let scale = unsafe scale(source, kind, block)
        var i = 0
        // SAFETY: as in the caller.
        while i < KernelLimits.block {
            unsafe storeLanes(Decoder.lanes(values, scale, i), output, i)
            unsafe storeLanes(Decoder.lanes(values, scale, i &+ 16), output, i &+ 16)
            i &+= 32
        }
    }

    /// Reduces one whole block of sources of one kind into fp32 sums, 64 elements at a time: their
    /// accumulators stay in registers over all sources.
    @_alwaysEmitIntoClient @_transparent
    static func reduceWhole<Decoder: LaneDecoder>(
        _ decoder: Decoder.Type, _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int,
        block: Int, into output: UnsafeMutableRawPointer
    ) -> BlockNotes {
        var notes = BlockNotes()
        let kind = Decoder.kind
        let first = kind.valueBytes(block &* KernelLimits.block)
        var i = 0
        // SAFETY: every source covers the block; the output holds 256 floats.
        while i < KernelLimits.block {
            var values = unsafe sources[0].values + first
            var scale = unsafe scale(sources[0], kind, block)
            var f = unsafe sources[0].factor
            var a = unsafe f * Decoder.lanes(values, scale, i)
            var b = unsafe f * Decoder.lanes(values, scale, i &+ 16)
            var c = unsafe f * Decoder.lanes(values, scale, i &+ 32)
            var d = unsafe f * Decoder.lanes(values, scale, i &+ 48)
            var index = 1
            while index < sourceCount {
                unsafe values = sources[index].values + first
                scale = unsafe Self.scale(sources[index], kind, block)
                f = unsafe sources[index].factor
                a += unsafe f * Decoder.lanes(values, scale, i)
                b += unsafe f * Decoder.lanes(values, scale, i &+ 16)
                c += unsafe f * Decoder.lanes(values, scale, i &+ 32)
                d += unsafe f * Decoder.lanes(values, scale, i &+ 48)
                index &+= 1
            }
            unsafe storeLanes(a, output, i)
            unsafe storeLanes(b, output, i &+ 16)
            unsafe storeLanes(c, output, i &+ 32)
            unsafe storeLanes(d, output, i &+ 48)
            notes.note(a)
            notes.note(b)
            notes.note(c)
            notes.note(d)
            i &+= 64
        }
        return notes
    }

    /// Limits the magnitude of the finite sums of a whole block, which lies in the nearest cache.
    /// - Returns: the largest magnitude's bits, given `most` of them before.
    @_alwaysEmitIntoClient @inline(__always)
    static func limited(
        _ sums: UnsafeMutableRawPointer, _ most: UInt32, _ limit: Float
    ) -> UInt32 {
        // A block below the limit needs no second look; one with a NaN or an infinity is poisoned
        // whatever happens to its finite values, but fp32 keeps those.
        if most <= limit.bitPattern { return most }
        var i = 0
        // SAFETY: 256 floats.
        while i < KernelLimits.block {
            let u = unsafe bits(loadLanes(sums, i))
            let magnitude = u & 0x7FFF_FFFF
            let smaller = choose(
                all(limit.bitPattern), magnitude, where: all(limit.bitPattern),
                isBelow: magnitude)
            let kept = choose(magnitude, smaller, where: all(0x7F7F_FFFF), isBelow: magnitude)
            unsafe storeLanes(floats(kept | (u & 0x8000_0000)), sums, i)
            i &+= 16
        }
        return most < 0x7F80_0000 ? limit.bitPattern : most
    }

    /// The same over sources of different kinds: each is decoded to `scratch` and added.
    @_alwaysEmitIntoClient
    static func reduceMixed(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, block: Int,
        scratch: UnsafeMutableRawPointer, into output: UnsafeMutableRawPointer
    ) -> BlockNotes {
        var notes = BlockNotes()
        var index = 0
        // SAFETY: every source covers the block; output and scratch hold 256 floats each.
        while index < sourceCount {
            unsafe decodeWhole(sources[index], block: block, into: scratch)
            let f = unsafe sources[index].factor
            var i = 0
            while i < KernelLimits.block {
                let product = unsafe f * loadLanes(scratch, i)
                let sum = unsafe index == 0 ? product : loadLanes(output, i) + product
                unsafe storeLanes(sum, output, i)
                if index &+ 1 == sourceCount { notes.note(sum) }
                i &+= 16
            }
            index &+= 1
        }
        return notes
    }
}
