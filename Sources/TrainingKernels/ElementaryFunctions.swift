/// Elementary functions from additions, multiplications and divisions only, each rounded apart
/// (no fused multiply-add), so that equal inputs give equal bytes on every machine and C library.

/// e^x in eight lanes for x <= 0; relative error below 2.5e-7, arguments below -87 are clamped.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; n comes from adding 1.5 * 2^23, which rounds to nearest even
/// in the baseline instruction set; polynomial of degree 7 (Cephes `expf`) for e^r.
@_alwaysEmitIntoClient
@inline(__always)
package func exponential(_ argument: Lanes) -> Lanes {
    let low = Lanes(repeating: -87)
    let x = argument.replacing(with: low, where: argument .< low)
    let shifter = Lanes(repeating: 12_582_912)
    let shifted = x * 1.442_695_04 + shifter
    let n = shifted - shifter
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var p = r * 1.987_569_1e-4 + 1.398_199_9e-3
    p = p * r + 8.333_452e-3
    p = p * r + 4.166_579_6e-2
    p = p * r + 1.666_666_5e-1
    p = p * r + 0.5
    p = p * (r * r) + r + 1
    // The low bits of `shifted` hold n; the shift puts them on the exponent field.
    // SAFETY: eight floats and eight 32-bit integers have the same size; any bits are valid in both.
    let exponent = unsafe unsafeBitCast(shifted, to: SIMD8<Int32>.self) &<< 23
    let scaled = unsafe unsafeBitCast(p, to: SIMD8<Int32>.self) &+ exponent
    return unsafe unsafeBitCast(scaled, to: Lanes.self)
}

/// The same in sixteen lanes, to the bit. Written out, because a generic SIMD type compiles to a loop through
/// memory (see `larger`).
@_alwaysEmitIntoClient
@inline(__always)
package func exponential(_ argument: WideLanes) -> WideLanes {
    let low = WideLanes(repeating: -87)
    let x = argument.replacing(with: low, where: argument .< low)
    let shifter = WideLanes(repeating: 12_582_912)
    let shifted = x * 1.442_695_04 + shifter
    let n = shifted - shifter
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var p = r * 1.987_569_1e-4 + 1.398_199_9e-3
    p = p * r + 8.333_452e-3
    p = p * r + 4.166_579_6e-2
    p = p * r + 1.666_666_5e-1
    p = p * r + 0.5
    p = p * (r * r) + r + 1
    // SAFETY: as above, sixteen of each.
    let exponent = unsafe unsafeBitCast(shifted, to: SIMD16<Int32>.self) &<< 23
    let scaled = unsafe unsafeBitCast(p, to: SIMD16<Int32>.self) &+ exponent
    return unsafe unsafeBitCast(scaled, to: WideLanes.self)
}

/// Folds eight lanes in a fixed tree: (0+4, 1+5, 2+6, 3+7), then halves again.
@_alwaysEmitIntoClient
@inline(__always)
package func foldedSum(_ lanes: Lanes) -> Float {
    let four = lanes.lowHalf + lanes.highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
}

/// The largest of eight lanes.
@_alwaysEmitIntoClient
@inline(__always)
package func foldedMaximum(_ lanes: Lanes) -> Float {
    let (low, high) = (lanes.lowHalf, lanes.highHalf)
    let four = low.replacing(with: high, where: high .> low)
    return max(max(four[0], four[2]), max(four[1], four[3]))
}

/// Lane by lane the larger value. Not generic over the width: comparisons of a generic SIMD type
/// compile to a loop over the lanes through memory (Swift 6.3.1).
@_alwaysEmitIntoClient
@inline(__always)
package func larger(_ a: Lanes, _ b: Lanes) -> Lanes {
    a.replacing(with: b, where: b .> a)
}

/// Natural logarithm of a positive, finite, normal number; absolute error below 1e-12.
///
/// log x = e ln 2 + 2 artanh((m - 1) / (m + 1)) with m in [0.70, 1.42), series to s^15.
@usableFromInline
package func naturalLogarithm(_ x: Double) -> Double {
    precondition(x.isNormal && x > 0, "the logarithm needs a positive normal number")
    var exponent = Double(x.exponent)
    var m = x.significand
    if m > 1.414_213_562_373_095_1 {
        m *= 0.5
        exponent += 1
    }
    let s = (m - 1) / (m + 1)
    let s2 = s * s
    var series = 0.0
    var odd = 15.0
    while odd >= 1 {
        series = series * s2 + 1 / odd
        odd -= 2
    }
    return exponent * 0.693_147_180_559_945_31 + 2 * s * series
}

/// Cosine of an angle in [0, pi]; absolute error below 1e-15 (Taylor series to x^20 on half of it).
@usableFromInline
package func cosine(_ x: Double) -> Double {
    precondition(x >= 0 && x <= Double.pi, "the angle must lie in [0, pi]")
    if x > Double.pi / 2 {
        return -cosine(Double.pi - x)
    }
    let x2 = x * x
    var sum = 1.0
    var k = 20.0
    while k >= 2 {
        sum = 1 - x2 / (k * (k - 1)) * sum
        k -= 2
    }
    return sum
}
