// One block of encoded elements into fp32 accumulators: acc = f x or acc += f x, or x alone.

/// What a decoded element does to the accumulator.
@frozen
public enum Combine {
    /// acc = x
    case copy
    /// acc = f x
    case set
    /// acc = acc + f x, product and sum rounded apart
    case add
}

extension KernelSet {
    @_alwaysEmitIntoClient @_transparent
    static func combine(
        _ value: Float, _ factor: Float, _ how: Combine,
        _ accumulator: UnsafeMutablePointer<Float>, _ index: Int
    ) {
        // SAFETY: index < the block's count, as the callers' loops say.
        switch how {
        case .copy: unsafe accumulator[index] = value
        case .set: unsafe accumulator[index] = factor * value
        case .add: unsafe accumulator[index] = accumulator[index] + factor * value
        }
    }

    /// Decodes `count` <= 256 elements of block `block` of `source` into `accumulator`.
    @_alwaysEmitIntoClient
    static func decodeBlock(
        _ source: KernelSource, block: Int, count: Int, how: Combine,
        _ accumulator: UnsafeMutablePointer<Float>
    ) {
        let start = block &* KernelLimits.block
        let factor = unsafe source.factor
        // SAFETY: the source covers elements start ..< start + count and, for scaled kinds, scale
        // `block`; the accumulator holds `count` floats.
        switch unsafe source.kind {
        case .fp32:
            let base = unsafe source.values + start &* 4
            for i in 0..<count {
                let value = unsafe load(base, i, as: Float.self)
                unsafe combine(value, factor, how, accumulator, i)
            }
        case .bf16:
            let base = unsafe source.values + start &* 2
            for i in 0..<count {
                let value = unsafe floatFromBF16(load(base, i, as: UInt16.self))
                unsafe combine(value, factor, how, accumulator, i)
            }
        case .fp16:
            let base = unsafe source.values + start &* 2
            for i in 0..<count {
                let value = unsafe floatFromFP16(load(base, i, as: UInt16.self))
                unsafe combine(value, factor, how, accumulator, i)
            }
        case .int8:
            let base = unsafe source.values + start
            let scale = unsafe load(source.scales, block, as: Float.self)
            for i in 0..<count {
                let value = unsafe scale * Float(load(base, i, as: Int8.self))
                unsafe combine(value, factor, how, accumulator, i)
            }
        case .int4, .e3m0:
            let base = unsafe source.values + start / 2
            let scale = unsafe load(source.scales, block, as: Float.self)
            unsafe decodeNibbles(
                base, scale, source.kind == .int4, count, factor, how, accumulator)
        }
    }

    /// Two codes per byte: byte j holds element j in its low and element j + ceil(count / 2) in its
    /// high half, so that both halves unpack into runs of consecutive elements.
    @_alwaysEmitIntoClient
    static func decodeNibbles(
        _ base: UnsafeRawPointer, _ scale: Float, _ isInteger: Bool, _ count: Int,
        _ factor: Float, _ how: Combine, _ accumulator: UnsafeMutablePointer<Float>
    ) {
        let half = (count &+ 1) / 2
        // SAFETY: `half` bytes from base; j and half + j stay below count.
        if isInteger {
            for j in 0..<half {
                let code = unsafe load(base, j, as: UInt8.self) & 15
                let value = scale * Float(Int32(code) &- 8)
                unsafe combine(value, factor, how, accumulator, j)
            }
            for j in 0..<(count &- half) {
                let code = unsafe load(base, j, as: UInt8.self) &>> 4
                let value = scale * Float(Int32(code) &- 8)
                unsafe combine(value, factor, how, accumulator, half &+ j)
            }
        } else {
            for j in 0..<half {
                let value = unsafe scale * floatFromE3M0(load(base, j, as: UInt8.self) & 15)
                unsafe combine(value, factor, how, accumulator, j)
            }
            for j in 0..<(count &- half) {
                let value = unsafe scale * floatFromE3M0(load(base, j, as: UInt8.self) &>> 4)
                unsafe combine(value, factor, how, accumulator, half &+ j)
            }
        }
    }
}
