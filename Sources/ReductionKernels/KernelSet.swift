/// The kernels as compiled for one instruction set.
///
/// The bodies below are emitted into whichever module conforms, with that module's instruction
/// set: a conformance is the whole of a wrapper module. All are deterministic, and their results
/// do not depend on the conformer.
public protocol KernelSet: SendableMetatype {
    /// The name which `LONGHAUL_ISA` accepts.
    static var name: String { get }

    /// accumulator += source, element by element. Memory traffic: 12 bytes per element.
    static func accumulate(
        _ accumulator: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, count: Int)

    /// The weighted sum of `sourceCount` sources in their order, encoded into `target`.
    ///
    /// acc = f_0 x_0, then acc = acc + f_i x_i, each product and sum rounded to fp32. Works block
    /// by block: one trip through memory whatever the number of sources.
    ///
    /// - Parameter limit: finite sums of larger magnitude are encoded as +-limit; .infinity (none) or
    ///   a positive number.
    /// - Returns: the sum of squares of the sums before the limit and the encoding (`squares` of
    ///   each block, added as Double in block order); not finite if a sum is not finite.
    static func reduce(
        _ sources: UnsafePointer<KernelSource>, sourceCount: Int, count: Int, limit: Float,
        into target: KernelTarget
    ) -> Double

    /// The coordinate-wise trimmed mean of `sourceCount` <= 64 sources, encoded into `target`.
    ///
    /// Per element the values are sorted, `trim` are dropped at either end, and the rest is added in
    /// ascending order and divided by their number. trim = (n - 1) / 2 gives the median. NaN sort
    /// beyond the infinities of their sign, so that up to `trim` of either sign are dropped.
    /// - Returns: as `reduce`.
    static func trimmedMean(
        _ sources: UnsafePointer<KernelSource>, sourceCount: Int, count: Int, trim: Int,
        into target: KernelTarget
    ) -> Double

    /// The receiver's pass over one decoded mean g: m = mu m + g; outer -= lr (g + mu m);
    /// live = alpha live + (1 - alpha) outer (live = outer when alpha is 0).
    ///
    /// Stops before the first block of 256 which holds a NaN or an infinity.
    /// - Returns: the elements applied, and the sum of squares of g over them.
    static func apply(
        _ mean: KernelSource, count: Int, step: OuterStep, outer: UnsafeMutableRawPointer,
        momentum: UnsafeMutableRawPointer, live: UnsafeMutableRawPointer
    ) -> (applied: Int, squares: Double)

    /// Splits `count` elements of 4 or 2 bytes, rotated left by a bit, into byte planes, the
    /// highest byte first.
    static func splitPlanes(
        _ input: UnsafeRawPointer, width: Int, count: Int, into planes: UnsafeMutableRawPointer)

    /// The inverse of `splitPlanes`.
    static func joinPlanes(
        _ planes: UnsafeRawPointer, width: Int, count: Int, into output: UnsafeMutableRawPointer)

    /// Splits `count` bytes (a multiple of 256), as Gray codes, into 8 bit planes, the lowest first.
    static func splitBits(
        _ input: UnsafeRawPointer, count: Int, into planes: UnsafeMutableRawPointer)

    /// The inverse of `splitBits`.
    static func joinBits(
        _ planes: UnsafeRawPointer, count: Int, into output: UnsafeMutableRawPointer)

    /// How many of the whole 8-byte words in `count` bytes are zero.
    static func zeroWords(_ input: UnsafeRawPointer, count: Int) -> Int

    /// Decodes `count` elements to fp32.
    static func decode(
        _ source: KernelSource, count: Int, into output: UnsafeMutableRawPointer)

    /// Encodes `count` floats.
    static func encode(_ input: UnsafeRawPointer, count: Int, into target: KernelTarget)

    /// Encodes contribution + residue and leaves what the encoding lost in the residue.
    ///
    /// sum = contribution + residue; target = encode(sum); residue = sum - decode(target).
    /// - Returns: the sum of squares of the new residue.
    static func encodeWithResidue(
        _ contribution: UnsafeRawPointer, residue: UnsafeMutableRawPointer, count: Int,
        into target: KernelTarget
    ) -> Double

    /// The sum of squares of `count` floats in the kernels' fixed order; not finite if an element
    /// is not finite.
    static func sumOfSquares(_ input: UnsafeRawPointer, count: Int) -> Double
}

// SAFETY: callers promise `count` readable elements behind each source and `count` writable ones
// behind each target; the bodies stay inside.
extension KernelSet {
    @_alwaysEmitIntoClient @inline(__always)
    public static func accumulate(
        _ accumulator: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, count: Int
    ) {
        unsafe accumulateBody(accumulator, source, count)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func reduce(
        _ sources: UnsafePointer<KernelSource>, sourceCount: Int, count: Int, limit: Float,
        into target: KernelTarget
    ) -> Double {
        unsafe reduceBody(sources, sourceCount, count, limit, target)
    }

    /// The same without a limit.
    @_alwaysEmitIntoClient @inline(__always)
    public static func reduce(
        _ sources: UnsafePointer<KernelSource>, sourceCount: Int, count: Int,
        into target: KernelTarget
    ) -> Double {
        unsafe reduce(
            sources, sourceCount: sourceCount, count: count, limit: .infinity, into: target)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func trimmedMean(
        _ sources: UnsafePointer<KernelSource>, sourceCount: Int, count: Int, trim: Int,
        into target: KernelTarget
    ) -> Double {
        unsafe trimmedMeanBody(sources, sourceCount, count, trim, target)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func apply(
        _ mean: KernelSource, count: Int, step: OuterStep, outer: UnsafeMutableRawPointer,
        momentum: UnsafeMutableRawPointer, live: UnsafeMutableRawPointer
    ) -> (applied: Int, squares: Double) {
        unsafe applyBody(mean, count, step, outer, momentum, live)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func decode(
        _ source: KernelSource, count: Int, into output: UnsafeMutableRawPointer
    ) {
        unsafe decodeBody(source, count, output)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func encode(
        _ input: UnsafeRawPointer, count: Int, into target: KernelTarget
    ) {
        unsafe encodeBody(input, count, target)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func encodeWithResidue(
        _ contribution: UnsafeRawPointer, residue: UnsafeMutableRawPointer, count: Int,
        into target: KernelTarget
    ) -> Double {
        unsafe encodeWithResidueBody(contribution, residue, count, target)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func sumOfSquares(_ input: UnsafeRawPointer, count: Int) -> Double {
        unsafe sumOfSquaresBody(input, count)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func splitPlanes(
        _ input: UnsafeRawPointer, width: Int, count: Int, into planes: UnsafeMutableRawPointer
    ) {
        unsafe splitBody(input, width, count, planes)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func joinPlanes(
        _ planes: UnsafeRawPointer, width: Int, count: Int, into output: UnsafeMutableRawPointer
    ) {
        unsafe joinBody(planes, width, count, output)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func splitBits(
        _ input: UnsafeRawPointer, count: Int, into planes: UnsafeMutableRawPointer
    ) {
        unsafe splitBitsBody(input, count, planes)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func joinBits(
        _ planes: UnsafeRawPointer, count: Int, into output: UnsafeMutableRawPointer
    ) {
        unsafe joinBitsBody(planes, count, output)
    }

    @_alwaysEmitIntoClient @inline(__always)
    public static func zeroWords(_ input: UnsafeRawPointer, count: Int) -> Int {
        unsafe zeroWordsBody(input, count)
    }
}
