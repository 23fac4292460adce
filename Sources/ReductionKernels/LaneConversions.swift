// Conversions between vectors of 16. Each is spelled out element by element: the compiler makes
// one instruction of such an initialiser (vpmovzxwd, vcvtdq2ps, vpmovdb, or none for a change of
// type). The standard library's generic vector initialisers become calls of one weak
// specialisation, which all instruction sets would share, and `unsafeBitCast` takes vectors apart.

/// The larger of each pair.
@_alwaysEmitIntoClient @_transparent
func larger(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
    SIMD16<UInt32>(
        max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]), max(a[4], b[4]),
        max(a[5], b[5]), max(a[6], b[6]), max(a[7], b[7]), max(a[8], b[8]), max(a[9], b[9]),
        max(a[10], b[10]), max(a[11], b[11]), max(a[12], b[12]), max(a[13], b[13]),
        max(a[14], b[14]), max(a[15], b[15]))
}

/// a where x < y, else b.
@_alwaysEmitIntoClient @_transparent
func choose(
    _ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>, where x: SIMD16<UInt32>, isBelow y: SIMD16<UInt32>
) -> SIMD16<UInt32> {
    SIMD16<UInt32>(
        x[0] < y[0] ? a[0] : b[0], x[1] < y[1] ? a[1] : b[1], x[2] < y[2] ? a[2] : b[2],
        x[3] < y[3] ? a[3] : b[3], x[4] < y[4] ? a[4] : b[4], x[5] < y[5] ? a[5] : b[5],
        x[6] < y[6] ? a[6] : b[6], x[7] < y[7] ? a[7] : b[7], x[8] < y[8] ? a[8] : b[8],
        x[9] < y[9] ? a[9] : b[9], x[10] < y[10] ? a[10] : b[10], x[11] < y[11] ? a[11] : b[11],
        x[12] < y[12] ? a[12] : b[12], x[13] < y[13] ? a[13] : b[13],
        x[14] < y[14] ? a[14] : b[14], x[15] < y[15] ? a[15] : b[15])
}

@_alwaysEmitIntoClient @_transparent
func all(_ value: UInt32) -> SIMD16<UInt32> { SIMD16(repeating: value) }

/// The bits of each element.
@_alwaysEmitIntoClient @_transparent
func bits(_ v: SIMD16<Float>) -> SIMD16<UInt32> {
    SIMD16<UInt32>(
        v[0].bitPattern, v[1].bitPattern, v[2].bitPattern, v[3].bitPattern, v[4].bitPattern,
        v[5].bitPattern, v[6].bitPattern, v[7].bitPattern, v[8].bitPattern, v[9].bitPattern,
        v[10].bitPattern, v[11].bitPattern, v[12].bitPattern, v[13].bitPattern, v[14].bitPattern,
        v[15].bitPattern)
}

/// The floats of those bits.
@_alwaysEmitIntoClient @_transparent
func floats(_ v: SIMD16<UInt32>) -> SIMD16<Float> {
    SIMD16<Float>(
        Float(bitPattern: v[0]), Float(bitPattern: v[1]), Float(bitPattern: v[2]),
        Float(bitPattern: v[3]), Float(bitPattern: v[4]), Float(bitPattern: v[5]),
        Float(bitPattern: v[6]), Float(bitPattern: v[7]), Float(bitPattern: v[8]),
        Float(bitPattern: v[9]), Float(bitPattern: v[10]), Float(bitPattern: v[11]),
        Float(bitPattern: v[12]), Float(bitPattern: v[13]), Float(bitPattern: v[14]),
        Float(bitPattern: v[15]))
}

/// The bits of each element.
@_alwaysEmitIntoClient @_transparent
func signedBits(_ v: SIMD16<Float>) -> SIMD16<Int32> {
    SIMD16<Int32>(
        Int32(bitPattern: v[0].bitPattern), Int32(bitPattern: v[1].bitPattern),
        Int32(bitPattern: v[2].bitPattern), Int32(bitPattern: v[3].bitPattern),
        Int32(bitPattern: v[4].bitPattern), Int32(bitPattern: v[5].bitPattern),
        Int32(bitPattern: v[6].bitPattern), Int32(bitPattern: v[7].bitPattern),
        Int32(bitPattern: v[8].bitPattern), Int32(bitPattern: v[9].bitPattern),
        Int32(bitPattern: v[10].bitPattern), Int32(bitPattern: v[11].bitPattern),
        Int32(bitPattern: v[12].bitPattern), Int32(bitPattern: v[13].bitPattern),
        Int32(bitPattern: v[14].bitPattern), Int32(bitPattern: v[15].bitPattern))
}

/// Zero-extended.
@_alwaysEmitIntoClient @_transparent
func widened(_ v: SIMD16<UInt8>) -> SIMD16<UInt32> {
    SIMD16<UInt32>(
        UInt32(v[0]), UInt32(v[1]), UInt32(v[2]), UInt32(v[3]), UInt32(v[4]), UInt32(v[5]),
        UInt32(v[6]), UInt32(v[7]), UInt32(v[8]), UInt32(v[9]), UInt32(v[10]), UInt32(v[11]),
        UInt32(v[12]), UInt32(v[13]), UInt32(v[14]), UInt32(v[15]))
}

/// Zero-extended.
@_alwaysEmitIntoClient @_transparent
func widened(_ v: SIMD16<UInt16>) -> SIMD16<UInt32> {
    SIMD16<UInt32>(
        UInt32(v[0]), UInt32(v[1]), UInt32(v[2]), UInt32(v[3]), UInt32(v[4]), UInt32(v[5]),
        UInt32(v[6]), UInt32(v[7]), UInt32(v[8]), UInt32(v[9]), UInt32(v[10]), UInt32(v[11]),
        UInt32(v[12]), UInt32(v[13]), UInt32(v[14]), UInt32(v[15]))
}

/// Exact.
@_alwaysEmitIntoClient @_transparent
func converted(_ v: SIMD16<Int8>) -> SIMD16<Float> {
    SIMD16<Float>(
        Float(v[0]), Float(v[1]), Float(v[2]), Float(v[3]), Float(v[4]), Float(v[5]),
        Float(v[6]), Float(v[7]), Float(v[8]), Float(v[9]), Float(v[10]), Float(v[11]),
        Float(v[12]), Float(v[13]), Float(v[14]), Float(v[15]))
}

/// Exact below 2^24.
@_alwaysEmitIntoClient @_transparent
func converted(_ v: SIMD16<UInt32>) -> SIMD16<Float> {
    SIMD16<Float>(
        Float(v[0]), Float(v[1]), Float(v[2]), Float(v[3]), Float(v[4]), Float(v[5]),
        Float(v[6]), Float(v[7]), Float(v[8]), Float(v[9]), Float(v[10]), Float(v[11]),
        Float(v[12]), Float(v[13]), Float(v[14]), Float(v[15]))
}

/// The low byte of each element.
@_alwaysEmitIntoClient @_transparent
func lowBytes(_ v: SIMD16<UInt32>) -> SIMD16<UInt8> {
    SIMD16<UInt8>(
        UInt8(truncatingIfNeeded: v[0]), UInt8(truncatingIfNeeded: v[1]),
        UInt8(truncatingIfNeeded: v[2]), UInt8(truncatingIfNeeded: v[3]),
        UInt8(truncatingIfNeeded: v[4]), UInt8(truncatingIfNeeded: v[5]),
        UInt8(truncatingIfNeeded: v[6]), UInt8(truncatingIfNeeded: v[7]),
        UInt8(truncatingIfNeeded: v[8]), UInt8(truncatingIfNeeded: v[9]),
        UInt8(truncatingIfNeeded: v[10]), UInt8(truncatingIfNeeded: v[11]),
        UInt8(truncatingIfNeeded: v[12]), UInt8(truncatingIfNeeded: v[13]),
        UInt8(truncatingIfNeeded: v[14]), UInt8(truncatingIfNeeded: v[15]))
}

/// The low 16 bits of each element.
@_alwaysEmitIntoClient @_transparent
func lowHalves(_ v: SIMD16<UInt32>) -> SIMD16<UInt16> {
    SIMD16<UInt16>(
        UInt16(truncatingIfNeeded: v[0]), UInt16(truncatingIfNeeded: v[1]),
        UInt16(truncatingIfNeeded: v[2]), UInt16(truncatingIfNeeded: v[3]),
        UInt16(truncatingIfNeeded: v[4]), UInt16(truncatingIfNeeded: v[5]),
        UInt16(truncatingIfNeeded: v[6]), UInt16(truncatingIfNeeded: v[7]),
        UInt16(truncatingIfNeeded: v[8]), UInt16(truncatingIfNeeded: v[9]),
        UInt16(truncatingIfNeeded: v[10]), UInt16(truncatingIfNeeded: v[11]),
        UInt16(truncatingIfNeeded: v[12]), UInt16(truncatingIfNeeded: v[13]),
        UInt16(truncatingIfNeeded: v[14]), UInt16(truncatingIfNeeded: v[15]))
}
