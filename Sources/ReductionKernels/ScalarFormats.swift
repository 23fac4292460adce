// Conversions of single values. The kernels' loops are written over them, and the compiler turns
// them into vector code; none has a branch that depends on the value.

/// fp32 to bf16, rounded to nearest even. A NaN stays a quiet NaN.
@_alwaysEmitIntoClient @_transparent
public func bf16Bits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16
    let quiet = (bits &>> 16) | 0x40
    return UInt16(truncatingIfNeeded: bits & 0x7FFF_FFFF > 0x7F80_0000 ? quiet : rounded)
}

/// bf16 to fp32, exact.
@_alwaysEmitIntoClient @_transparent
public func floatFromBF16(_ bits: UInt16) -> Float {
    Float(bitPattern: UInt32(bits) &<< 16)
}

/// fp32 to IEEE binary16, rounded to nearest even. Finite values beyond 65,504 become 65,504 with
/// their sign, so that a large gradient stays finite; infinities and NaN keep their class.
///
/// A value below 2^-14 is added to 0.5, whose unit in the last place is the smallest binary16
/// subnormal: the addition's own rounding to nearest even is then the conversion's.
@_alwaysEmitIntoClient @_transparent
public func fp16Bits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = (bits &>> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    let odd = (magnitude &>> 13) & 1
    let normal = (magnitude &- 0x3800_0000 &+ 0xFFF &+ odd) &>> 13
    let small = (Float(bitPattern: magnitude) + 0.5).bitPattern &- 0x3F00_0000
    var result = magnitude < 0x3880_0000 ? small : min(normal, 0x7BFF)
    result = magnitude == 0x7F80_0000 ? 0x7C00 : result
    result = magnitude > 0x7F80_0000 ? 0x7E00 : result
    return UInt16(truncatingIfNeeded: result | sign)
}

/// IEEE binary16 to fp32, exact. The product rescales the exponent and normalises subnormals.
@_alwaysEmitIntoClient @_transparent
public func floatFromFP16(_ bits: UInt16) -> Float {
    let wide = UInt32(bits)
    let shifted = (wide & 0x7FFF) &<< 13
    let scaled = (Float(bitPattern: shifted) * Float(bitPattern: 0x7780_0000)).bitPattern
    let special = shifted | 0x7F80_0000
    let magnitude = shifted >= 0x0F80_0000 ? special : scaled
    return Float(bitPattern: magnitude | ((wide & 0x8000) &<< 16))
}

/// The nearest integer (ties to even) of a value between -2^21 and 2^21, as the low bits of the
/// sum with 1.5 x 2^23: the addition rounds, and no conversion instruction is needed.
@_alwaysEmitIntoClient @_transparent
public func roundedBits(_ value: Float) -> UInt32 {
    (value + 12_582_912).bitPattern
}

/// The E3M0 code of a value already multiplied by sqrt(2) / scale: bit 3 the sign, below it the
/// level. The exponent of the product is the rounded log2; level 0 never carries a sign.
@_alwaysEmitIntoClient @_transparent
public func e3m0Code(_ value: Float) -> UInt8 {
    let bits = value.bitPattern
    let exponent = (bits &>> 23) & 0xFF
    let level = max(exponent, 120) &- 120
    let code = level | ((bits &>> 28) & 8)
    return UInt8(truncatingIfNeeded: level == 0 ? 0 : code)
}

/// The value of an E3M0 code relative to its block's scale.
@_alwaysEmitIntoClient @_transparent
public func floatFromE3M0(_ code: UInt8) -> Float {
    let level = UInt32(code & 7)
    let magnitude = level == 0 ? 0 : (level &+ 120) &<< 23
    return Float(bitPattern: magnitude | (UInt32(code & 8) &<< 28))
}
