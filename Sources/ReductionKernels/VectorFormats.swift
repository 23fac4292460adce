// The conversions of `ScalarFormats`, 16 values at a time: the same operations on the same bits.

@_alwaysEmitIntoClient @_transparent
func bf16Bits(_ v: SIMD16<Float>) -> SIMD16<UInt16> {
    let u = bits(v)
    let rounded = (u &+ 0x7FFF &+ ((u &>> 16) & 1)) &>> 16
    let quiet = (u &>> 16) | 0x40
    return lowHalves(
        choose(quiet, rounded, where: all(0x7F80_0000), isBelow: u & 0x7FFF_FFFF))
}

@_alwaysEmitIntoClient @_transparent
func floatsFromBF16(_ v: SIMD16<UInt16>) -> SIMD16<Float> {
    floats(widened(v) &<< 16)
}

@_alwaysEmitIntoClient @_transparent
func fp16Bits(_ v: SIMD16<Float>) -> SIMD16<UInt16> {
    let u = bits(v)
    let sign = (u &>> 16) & 0x8000
    let magnitude = u & 0x7FFF_FFFF
    let odd = (magnitude &>> 13) & 1
    let normal = (magnitude &- 0x3800_0000 &+ 0xFFF &+ odd) &>> 13
    let saturated = choose(all(0x7BFF), normal, where: all(0x7BFF), isBelow: normal)
    let small = bits(floats(magnitude) + 0.5) &- 0x3F00_0000
    let finite = choose(small, saturated, where: magnitude, isBelow: all(0x3880_0000))
    let special = choose(all(0x7E00), all(0x7C00), where: all(0x7F80_0000), isBelow: magnitude)
    let result = choose(special, finite, where: all(0x7F7F_FFFF), isBelow: magnitude)
    return lowHalves(result | sign)
}

@_alwaysEmitIntoClient @_transparent
func floatsFromFP16(_ v: SIMD16<UInt16>) -> SIMD16<Float> {
    let wide = widened(v)
    let shifted = (wide & 0x7FFF) &<< 13
    let scaled = bits(floats(shifted) * Float(bitPattern: 0x7780_0000))
    let special = shifted | 0x7F80_0000
    let magnitude = choose(special, scaled, where: all(0x0F7F_FFFF), isBelow: shifted)
    return floats(magnitude | ((wide & 0x8000) &<< 16))
}

/// Values of int4 codes before scaling.
@_alwaysEmitIntoClient @_transparent
func floatsFromInt4(_ codes: SIMD16<UInt32>) -> SIMD16<Float> {
    converted(codes) - 8
}

/// Values of E3M0 codes before scaling.
@_alwaysEmitIntoClient @_transparent
func floatsFromE3M0(_ codes: SIMD16<UInt32>) -> SIMD16<Float> {
    let level = codes & 7
    let magnitude = ((level &+ 120) &<< 23) & maskAboveZero(level)
    return floats(magnitude | ((codes & 8) &<< 28))
}

@_alwaysEmitIntoClient @_transparent
func e3m0Codes(_ v: SIMD16<Float>) -> SIMD16<UInt32> {
    let u = bits(v)
    let level = larger((u &>> 23) & 0xFF, all(120)) &- 120
    return level | ((u &>> 28) & 8 & maskAboveZero(level))
}

/// All ones for levels 1 to 7, zero for level 0: (level + 7) / 8, negated.
@_alwaysEmitIntoClient @_transparent
func maskAboveZero(_ level: SIMD16<UInt32>) -> SIMD16<UInt32> {
    all(0) &- ((level &+ 7) &>> 3)
}

/// Nearest integers, ties to even, in the low bits; as `roundedBits` of one value.
@_alwaysEmitIntoClient @_transparent
func roundedBits(_ v: SIMD16<Float>) -> SIMD16<UInt32> {
    bits(v + 12_582_912)
}
