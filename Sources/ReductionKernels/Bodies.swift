// The passes: loops over blocks around the block functions.

//
// They are static members of the protocol, so that what the compiler does not inline is
// specialised per conformer under a name of its own. A free function would become one weak symbol
// in every wrapper, of which the linker keeps a single one, with whatever instruction set it has.

extension KernelSet {
    @_alwaysEmitIntoClient
    static func accumulateBody(
        _ accumulator: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, _ count: Int
    ) {
        // SIMD8: registers of 256 bits were faster than those of 512 at every size on Zen 4
        // (docs/reduction.md), and this loop lives from loads and stores alone.
        // SAFETY: both operands hold `count` floats; wide <= count is a multiple of 32.
        let wide = count & ~31
        var i = 0
        while i < wide {
            let a = unsafe loadEight(accumulator, i) + loadEight(source, i)
            let b = unsafe loadEight(accumulator, i &+ 8) + loadEight(source, i &+ 8)
            unsafe storeEight(a, accumulator, i)
            unsafe storeEight(b, accumulator, i &+ 8)
            let c = unsafe loadEight(accumulator, i &+ 16) + loadEight(source, i &+ 16)
            let d = unsafe loadEight(accumulator, i &+ 24) + loadEight(source, i &+ 24)
            unsafe storeEight(c, accumulator, i &+ 16)
            unsafe storeEight(d, accumulator, i &+ 24)
            i &+= 32
        }
        while i < count {
            let sum =
                unsafe load(accumulator, i, as: Float.self) + load(source, i, as: Float.self)
            unsafe store(sum, accumulator, i)
            i &+= 1
        }
    }

    /// Sum of squares of one block: 16 partial sums (lane j adds elements j, j + 16, ... in order),
    /// missing elements counting as zero, then halves added pairwise.
    @_alwaysEmitIntoClient
    static func squares(_ input: UnsafePointer<Float>, _ count: Int) -> Float {
        var sums = Lanes(repeating: 0)
        var i = 0
        // SAFETY: the caller's block holds `count` floats.
        while i &+ 16 <= count {
            let lanes = unsafe loadLanes(UnsafeRawPointer(input), i)
            sums += lanes * lanes
            i &+= 16
        }
        if i < count {
            var lanes = Lanes(repeating: 0)
            for j in 0..<(count &- i) { lanes[j] = unsafe input[i &+ j] }
            sums += lanes * lanes
        }
        return treeSum(sums)
    }

    /// The fp32 case of `reduceBody`: accumulators in registers, straight to the output.
    /// Memory traffic: 4 (n + 1) bytes per element.
    @_alwaysEmitIntoClient
    static func reduceFloats(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, _ count: Int,
        _ output: UnsafeMutableRawPointer
    ) -> Double {
        var total = 0.0
        var i = 0
        // SAFETY: every source and the output hold `count` floats; i + 256 <= count in the loop.
        while i &+ KernelLimits.block <= count {
            var sums = SIMD16<Float>(repeating: 0)
            let end = i &+ KernelLimits.block
            while i < end {
                let f = unsafe sources[0].factor
                let p = unsafe sources[0].values
                var a = unsafe f * loadLanes(p, i)
                var b = unsafe f * loadLanes(p, i &+ 16)
                var c = unsafe f * loadLanes(p, i &+ 32)
                var d = unsafe f * loadLanes(p, i &+ 48)
                var index = 1
                while index < sourceCount {
                    let f = unsafe sources[index].factor
                    let p = unsafe sources[index].values
                    a += unsafe f * loadLanes(p, i)
                    b += unsafe f * loadLanes(p, i &+ 16)
                    c += unsafe f * loadLanes(p, i &+ 32)
                    d += unsafe f * loadLanes(p, i &+ 48)
                    index &+= 1
                }
                unsafe storeLanes(a, output, i)
                unsafe storeLanes(b, output, i &+ 16)
                unsafe storeLanes(c, output, i &+ 32)
                unsafe storeLanes(d, output, i &+ 48)
                sums += a * a
                sums += b * b
                sums += c * c
                sums += d * d
                i &+= 64
            }
            total += Double(treeSum(sums))
        }
        if i < count {
            let target = unsafe KernelTarget(values: output, scales: output, kind: .fp32)
            total += unsafe reduceBlocks(
                FloatLanes.self, sources, sourceCount, count, .infinity, target, from: i)
        }
        return total
    }

    @_alwaysEmitIntoClient
    static func reduceBody(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, _ count: Int, _ limit: Float,
        _ target: KernelTarget
    ) -> Double {
        let kind = unsafe sources[0].kind
        var index = 1
        // SAFETY: `sourceCount` sources.
        while index < sourceCount, unsafe sources[index].kind == kind { index &+= 1 }
        if index < sourceCount {
            return unsafe reduceMixedBlocks(sources, sourceCount, count, limit, target)
        }
        switch kind {
        case .fp32:
            if unsafe target.kind == .fp32, limit == .infinity {
                return unsafe reduceFloats(sources, sourceCount, count, target.values)
            }
            return unsafe reduceBlocks(
                FloatLanes.self, sources, sourceCount, count, limit, target, from: 0)
        case .bf16:
            return unsafe reduceBlocks(
                BFloat16Lanes.self, sources, sourceCount, count, limit, target, from: 0)
        case .fp16:
            return unsafe reduceBlocks(
                HalfLanes.self, sources, sourceCount, count, limit, target, from: 0)
        case .int8:
            return unsafe reduceBlocks(
                Int8Lanes.self, sources, sourceCount, count, limit, target, from: 0)
        case .int4:
            return unsafe reduceBlocks(
                Int4Lanes.self, sources, sourceCount, count, limit, target, from: 0)
        case .e3m0:
            return unsafe reduceBlocks(
                E3M0Lanes.self, sources, sourceCount, count, limit, target, from: 0)
        }
    }

    /// Blocks from element `start` (a multiple of 256) on, of sources of one kind.
    /// Memory traffic: the encoded sources once, the encoded mean once.
    @_alwaysEmitIntoClient
    static func reduceBlocks<Decoder: LaneDecoder>(
        _ decoder: Decoder.Type, _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int,
        _ count: Int, _ limit: Float, _ target: KernelTarget, from start: Int
    ) -> Double {
        var total = 0.0
        // SAFETY: every source and the target cover `count` elements; the buffer holds a block.
        unsafe withUnsafeTemporaryAllocation(byteCount: KernelLimits.block * 4, alignment: 16) {
            let buffer = unsafe $0.baseAddress.unsafelyUnwrapped
            let direct = unsafe target.kind == .fp32
            var block = start / KernelLimits.block
            let whole = count / KernelLimits.block
            while block < whole {
                let sums = unsafe direct ? target.values + block &* KernelLimits.block &* 4 : buffer
                let notes = unsafe reduceWhole(
                    decoder, sources, sourceCount, block: block, into: sums)
                total += Double(treeSum(notes.squares))
                let most = unsafe limited(sums, largest(notes.largest), limit)
                if !direct { unsafe encodeWhole(sums, most: most, block: block, target) }
                block &+= 1
            }
            total += unsafe reduceRest(sources, sourceCount, count, limit, target, buffer)
        }
        return total
    }

    /// The same for sources of different kinds.
    @_alwaysEmitIntoClient
    static func reduceMixedBlocks(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, _ count: Int, _ limit: Float,
        _ target: KernelTarget
    ) -> Double {
        var total = 0.0
        // SAFETY: as in `reduceBlocks`; the buffer holds two blocks.
        unsafe withUnsafeTemporaryAllocation(byteCount: KernelLimits.block * 8, alignment: 16) {
            let sums = unsafe $0.baseAddress.unsafelyUnwrapped
            let scratch = unsafe sums + KernelLimits.block * 4
            var block = 0
            let whole = count / KernelLimits.block
            while block < whole {
                let notes = unsafe reduceMixed(
                    sources, sourceCount, block: block, scratch: scratch, into: sums)
                total += Double(treeSum(notes.squares))
                let most = unsafe limited(sums, largest(notes.largest), limit)
                unsafe encodeWhole(sums, most: most, block: block, target)
                block &+= 1
            }
            total += unsafe reduceRest(sources, sourceCount, count, limit, target, sums)
        }
        return total
    }

    /// The partial block at the end, if there is one.
    @_alwaysEmitIntoClient
    static func reduceRest(
        _ sources: UnsafePointer<KernelSource>, _ sourceCount: Int, _ count: Int, _ limit: Float,
        _ target: KernelTarget, _ buffer: UnsafeMutableRawPointer
    ) -> Double {
        let block = count / KernelLimits.block
        let rest = count &- block &* KernelLimits.block
        guard rest > 0 else { return 0 }
        // SAFETY: as in `reduceBlocks`.
        let sums = unsafe buffer.assumingMemoryBound(to: Float.self)
        unsafe decodeBlock(sources[0], block: block, count: rest, how: .set, sums)
        var index = 1
        while index < sourceCount {
            unsafe decodeBlock(sources[index], block: block, count: rest, how: .add, sums)
            index &+= 1
        }
        let total = unsafe Double(squares(sums, rest))
        if limit < .infinity {
            for i in 0..<rest where unsafe sums[i].isFinite {
                unsafe sums[i] = max(-limit, min(sums[i], limit))
            }
        }
        unsafe encodeBlock(sums, block: block, count: rest, target)
        return total
    }

    @_alwaysEmitIntoClient
    static func decodeBody(
        _ source: KernelSource, _ count: Int, _ output: UnsafeMutableRawPointer
    ) {
        var block = 0
        var done = 0
        // SAFETY: source and output cover `count` elements. The output may lie at any byte, and the
        // processors this runs on store floats there; the pointer is never used as an aligned one.
        while done < count {
            let size = min(KernelLimits.block, count &- done)
            unsafe decodeAny(source, block: block, count: size, into: output + done &* 4)
            block &+= 1
            done &+= size
        }
    }

    @_alwaysEmitIntoClient
    static func encodeBody(
        _ input: UnsafeRawPointer, _ count: Int, _ target: KernelTarget
    ) {
        var block = 0
        var done = 0
        // SAFETY: input and target cover `count` elements; alignment as in `decodeBody`.
        while done < count {
            let size = min(KernelLimits.block, count &- done)
            unsafe encodeAny(input + done &* 4, block: block, count: size, target)
            block &+= 1
            done &+= size
        }
    }

    @_alwaysEmitIntoClient
    static func encodeWithResidueBody(
        _ contribution: UnsafeRawPointer, _ residue: UnsafeMutableRawPointer, _ count: Int,
        _ target: KernelTarget
    ) -> Double {
        var total = 0.0
        let written = unsafe KernelSource(
            values: UnsafeRawPointer(target.values), scales: UnsafeRawPointer(target.scales),
            factor: 1, kind: target.kind)
        // SAFETY: all operands cover `count` elements; alignment as in `decodeBody`.
        unsafe withUnsafeTemporaryAllocation(byteCount: KernelLimits.block * 4, alignment: 16) {
            let scratch = unsafe $0.baseAddress.unsafelyUnwrapped
            var done = 0
            while done < count {
                let size = min(KernelLimits.block, count &- done)
                let block = done / KernelLimits.block
                let rest = unsafe residue + done &* 4
                unsafe accumulateBody(rest, contribution + done &* 4, size)
                unsafe encodeAny(UnsafeRawPointer(rest), block: block, count: size, target)
                total += unsafe Double(
                    subtractBlock(
                        written, block: block, count: size, from: rest, scratch: scratch))
                done &+= size
            }
        }
        return total
    }

    @_alwaysEmitIntoClient
    static func sumOfSquaresBody(_ input: UnsafeRawPointer, _ count: Int) -> Double {
        var total = 0.0
        var done = 0
        // SAFETY: the input holds `count` floats; alignment as in `decodeBody`.
        while done < count {
            let size = min(KernelLimits.block, count &- done)
            total += unsafe Double(
                squares((input + done &* 4).assumingMemoryBound(to: Float.self), size))
            done &+= size
        }
        return total
    }

    /// Decodes a whole or a partial block.
    @_alwaysEmitIntoClient
    static func decodeAny(
        _ source: KernelSource, block: Int, count: Int, into output: UnsafeMutableRawPointer
    ) {
        // SAFETY: as in `decodeBody`.
        if count == KernelLimits.block {
            unsafe decodeWhole(source, block: block, into: output)
        } else {
            unsafe decodeBlock(
                source, block: block, count: count, how: .copy,
                output.assumingMemoryBound(to: Float.self))
        }
    }

    /// Encodes a whole or a partial block.
    @_alwaysEmitIntoClient
    static func encodeAny(
        _ input: UnsafeRawPointer, block: Int, count: Int, _ target: KernelTarget
    ) {
        // SAFETY: as in `encodeBody`.
        if count == KernelLimits.block {
            let most = unsafe target.kind.isBlockScaled ? largestWhole(input) : 0
            unsafe encodeWhole(input, most: most, block: block, target)
        } else {
            unsafe encodeBlock(
                input.assumingMemoryBound(to: Float.self), block: block, count: count, target)
        }
    }

    /// values -= decode(block); `scratch` holds a block.
    /// - Returns: the block's sum of squares afterwards.
    @_alwaysEmitIntoClient
    static func subtractBlock(
        _ source: KernelSource, block: Int, count: Int, from values: UnsafeMutableRawPointer,
        scratch: UnsafeMutableRawPointer
    ) -> Float {
        // SAFETY: source and values cover `count` elements.
        unsafe decodeAny(source, block: block, count: count, into: scratch)
        var i = 0
        while i &+ 16 <= count {
            unsafe storeLanes(loadLanes(values, i) - loadLanes(scratch, i), values, i)
            i &+= 16
        }
        while i < count {
            let rest =
                unsafe load(values, i, as: Float.self) - load(scratch, i, as: Float.self)
            unsafe store(rest, values, i)
            i &+= 1
        }
        return unsafe squares(values.assumingMemoryBound(to: Float.self), count)
    }
}
