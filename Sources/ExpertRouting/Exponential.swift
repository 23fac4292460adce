/// e^x by argument reduction and a polynomial: the same bits on every machine, which libm's are not.
/// Relative error below 3e-7 over [-87, 88]; 0 below, infinity above.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to the 7th power, whose remainder is below
/// 5.2e-9 (Abramowitz and Stegun, 4.2.1).
package func exponential(_ x: Float) -> Float {
    guard x > -87 else { return x.isNaN ? x : 0 }
    guard x < 88 else { return x.isNaN ? x : .infinity }
    let n = (x * 1.442_695_04).rounded()
    // ln 2 in two parts, so that n times the first is exact.
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var sum: Float = 1.984_127e-4
    for coefficient: Float in [
        1.388_888_9e-3, 8.333_333e-3, 4.166_666_8e-2, 1.666_666_7e-1, 0.5, 1, 1,
    ] {
        sum = sum * r + coefficient
    }
    return Float(sign: .plus, exponent: Int(n), significand: sum)
}
