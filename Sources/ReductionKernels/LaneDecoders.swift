// How 16 elements of a whole block become floats, one type per kind: what is generic over such a
// type is compiled once per kind, with nothing left to decide inside its loops.

/// Decodes elements i ..< i + 16 of one whole block; i is a multiple of 16.
public protocol LaneDecoder {
    /// The kind which this type decodes.
    static var kind: ElementKind { get }

    /// `values` is the block's first value, `scale` its scale (ignored by kinds without).
    static func lanes(_ values: UnsafeRawPointer, _ scale: Float, _ i: Int) -> SIMD16<Float>
}

extension LaneDecoder {
    /// Codes i ..< i + 16: the low halves of bytes i ..< i + 16, or from 128 on the high ones.
    @_alwaysEmitIntoClient @_transparent
    static func nibbles(_ values: UnsafeRawPointer, _ i: Int) -> SIMD16<UInt32> {
        // SAFETY: a whole block has 128 bytes.
        let bytes = unsafe widened(
            values.loadUnaligned(fromByteOffset: i & 127, as: SIMD16<UInt8>.self))
        return (bytes &>> UInt32(truncatingIfNeeded: (i &>> 7) &<< 2)) & 15
    }
}

/// fp32 as it is.
@frozen
public enum FloatLanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .fp32 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe loadLanes(values, i)
    }
}

/// bf16.
@frozen
public enum BFloat16Lanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .bf16 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe floatsFromBF16(
            values.loadUnaligned(fromByteOffset: i &* 2, as: SIMD16<UInt16>.self))
    }
}

/// IEEE binary16.
@frozen
public enum HalfLanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .fp16 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe floatsFromFP16(
            values.loadUnaligned(fromByteOffset: i &* 2, as: SIMD16<UInt16>.self))
    }
}

/// int8 times scale.
@frozen
public enum Int8Lanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .int8 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe scale
            * converted(values.loadUnaligned(fromByteOffset: i, as: SIMD16<Int8>.self))
    }
}

/// int4 times scale.
@frozen
public enum Int4Lanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .int4 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe scale * floatsFromInt4(nibbles(values, i))
    }
}

/// E3M0 times scale.
@frozen
public enum E3M0Lanes: LaneDecoder {
    @_alwaysEmitIntoClient @_transparent
    public static var kind: ElementKind { .e3m0 }

    @_alwaysEmitIntoClient @_transparent
    public static func lanes(
        _ values: UnsafeRawPointer, _ scale: Float, _ i: Int
    ) -> SIMD16<Float> {
        // SAFETY: the block is whole and i + 16 <= 256.
        unsafe scale * floatsFromE3M0(nibbles(values, i))
    }
}
