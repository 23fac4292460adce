/// e^x by argument reduction and a polynomial: the same bits on every machine, which libm's are not.
/// Relative error below 3e-7 over [-87, 88]; 0 below, infinity above.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to the 7th power, whose remainder is below
/// 5.2e-9 (Abramowitz and Stegun, 4.2.1).
package func exponential(_ x: Float) -> Float {
    guard x > -87 else { return x.isNaN ? x : 0 }
    guard x < 88 else { return x.isNaN ? x : .infinity }
    // Adding 1.5 * 2^23 rounds to the nearest integer, in lanes as well.
    let n = (x * 1.442_695_04 + 12_582_912) - 12_582_912
    // ln 2 in two parts, so that n times the first is exact.
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var sum = r * 1.984_127e-4 + 1.388_888_9e-3
    sum = sum * r + 8.333_333e-3
    sum = sum * r + 4.166_666_8e-2
    sum = sum * r + 1.666_666_7e-1
    sum = sum * r + 0.5
    sum = sum * r + 1
    sum = sum * r + 1
    return sum * powerOfTwo(n)
}

/// The same in eight lanes, bit by bit.
package func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
    let low = SIMD8<Float>(repeating: -87)
    let high = SIMD8<Float>(repeating: 88)
    let inside = x.replacing(with: low, where: .!(x .> low)).replacing(with: high, where: x .> high)
    let shift = SIMD8<Float>(repeating: 12_582_912)
    let n = (inside * 1.442_695_04 + shift) - shift
    let r = (inside - n * 0.693_359_375) - n * -2.121_944_4e-4
    var sum = r * 1.984_127e-4 + 1.388_888_9e-3
    sum = sum * r + 8.333_333e-3
    sum = sum * r + 4.166_666_8e-2
    sum = sum * r + 1.666_666_7e-1
    sum = sum * r + 0.5
    sum = sum * r + 1
    sum = sum * r + 1
    var powers = SIMD8<Float>()
    for lane in 0..<8 { powers[lane] = powerOfTwo(n[lane]) }
    var result = sum * powers
    result.replace(with: SIMD8(repeating: 0), where: x .<= low)
    result.replace(with: SIMD8(repeating: .infinity), where: x .>= high)
    result.replace(with: x, where: x .!= x)
    return result
}

/// 2^n for a whole number n in [-126, 127].
private func powerOfTwo(_ n: Float) -> Float {
    Float(bitPattern: UInt32(bitPattern: Int32(n) + 127) << 23)
}
