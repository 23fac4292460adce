/// A small seeded generator: the same inputs on every run.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A value below `bound`.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// A gradient-like value: random sign and significand, exponent spread over eight octaves.
    mutating func value() -> Float {
        let bits = next()
        let exponent = UInt32(110 + bits % 9)
        return Float(
            bitPattern: UInt32(truncatingIfNeeded: bits >> 32) & 0x807F_FFFF | exponent << 23)
    }

    /// Any finite pattern: denormals, zeros of both signs and giants included.
    mutating func anyFinite() -> Float {
        while true {
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: next() >> 16))
            if value.isFinite { return value }
        }
    }

    mutating func values(_ count: Int, wild: Bool = false) -> [Float] {
        (0..<count).map { index in
            if wild && index % 7 == 3 { return anyFinite() }
            return index % 19 == 5 ? 0 : value()
        }
    }
}

/// Values at which conversions change their behaviour.
let edgeValues: [Float] = [
    0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude,
    0x1p-25, 0x1.000002p-25, 0x1.8p-25, 0x1p-24, 0x1.8p-24, 0x1.ffcp-15, 0x1.ffep-15, 0x1p-14,
    1, -1, 1.0009765625, 1.00048828125, 1.0014648438, 65_503.996, 65_504, 65_519.996, 65_520,
    1e5, -1e5, 3.3895314e38, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
    Float(bitPattern: 0x3F80_8000), Float(bitPattern: 0x3F81_8000),
    Float(bitPattern: 0x3F80_8001), 0x1p-119, 0x1.fffffep-120,
]

let nonFinite: [Float] = [
    .infinity, -.infinity, .nan, -.nan, Float(bitPattern: 0x7F80_0001),
    Float(bitPattern: 0xFFFF_FFFF), Float(bitPattern: 0x7FBF_FFFF),
]
