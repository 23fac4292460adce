/// How the elements of one kernel operand are laid out in memory.
///
/// `int8`, `int4` and `e3m0` keep one fp32 scale per block of `KernelLimits.block` elements in a
/// separate array. All multi-byte values are little-endian.
@frozen
public enum ElementKind: UInt8, Sendable, CaseIterable {
    case fp32
    case bf16
    case fp16
    case int8
    case int4
    case e3m0

    /// Whether a block carries a scale.
    @_alwaysEmitIntoClient @inline(__always)
    public var isBlockScaled: Bool {
        switch self {
        case .fp32, .bf16, .fp16: false
        case .int8, .int4, .e3m0: true
        }
    }

    /// Bytes of `count` elements without their scales. A half byte at the end of an odd partial
    /// block of `int4` or `e3m0` counts whole.
    @_alwaysEmitIntoClient @inline(__always)
    public func valueBytes(_ count: Int) -> Int {
        switch self {
        case .fp32: count &* 4
        case .bf16, .fp16: count &* 2
        case .int8: count
        case .int4, .e3m0: (count &+ 1) / 2
        }
    }

    /// Bytes of the scales of `count` elements.
    @_alwaysEmitIntoClient @inline(__always)
    public func scaleBytes(_ count: Int) -> Int {
        isBlockScaled ? (count &+ (KernelLimits.block - 1)) / KernelLimits.block &* 4 : 0
    }
}

/// Sizes which every kernel shares.
@frozen
public enum KernelLimits {
    /// Elements which share one scale, and the unit in which the fused passes work: 1 KiB of
    /// fp32 accumulators stays in the nearest cache (and in registers on x86-64-v4).
    @_alwaysEmitIntoClient @inline(__always)
    public static var block: Int { 256 }

    /// A block whose largest magnitude is smaller is sent as zeros: below it the scale or its
    /// reciprocal would leave the normal range of fp32. 2^-119.
    @_alwaysEmitIntoClient @inline(__always)
    public static var smallestMagnitude: Float { Float(bitPattern: 0x0400_0000) }

    /// The bits of the scale of a block which holds a NaN or an infinity.
    @_alwaysEmitIntoClient @inline(__always)
    public static var poisonedScale: UInt32 { 0x7FC0_0000 }

    /// The fp32 constant nearest to the square root of two, by which E3M0 rounds in log2.
    @_alwaysEmitIntoClient @inline(__always)
    public static var squareRootOfTwo: Float { Float(bitPattern: 0x3FB5_04F3) }
}

/// One source of a reduction: where its elements and scales are, and its share of the mean.
///
/// SAFETY: both pointers must stay readable for the whole pass; whoever makes one holds the bytes.
@frozen
@unsafe
public struct KernelSource {
    /// First element; needs no alignment.
    public var values: UnsafeRawPointer
    /// First scale; needs no alignment; not read for kinds without scales.
    public var scales: UnsafeRawPointer
    /// f_i of the mean.
    public var factor: Float
    public var kind: ElementKind

    @_alwaysEmitIntoClient @inline(__always)
    public init(
        values: UnsafeRawPointer, scales: UnsafeRawPointer, factor: Float, kind: ElementKind
    ) {
        unsafe self.values = values
        unsafe self.scales = scales
        unsafe self.factor = factor
        unsafe self.kind = kind
    }
}

/// Where a kernel writes encoded elements.
@frozen
@unsafe
public struct KernelTarget {
    /// First element; needs no alignment.
    public var values: UnsafeMutableRawPointer
    /// First scale; needs no alignment; not written for kinds without scales.
    public var scales: UnsafeMutableRawPointer
    public var kind: ElementKind

    @_alwaysEmitIntoClient @inline(__always)
    public init(
        values: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, kind: ElementKind
    ) {
        unsafe self.values = values
        unsafe self.scales = scales
        unsafe self.kind = kind
    }
}
