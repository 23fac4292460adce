/// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, the same numbers on every machine.
package struct SeededGenerator: Sendable, Codable, Equatable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in [0, 1), 24 bits.
    package mutating func uniform() -> Float {
        Float(next() >> 40) * 0x1p-24
    }

    /// Uniform in 0 ..< bound by multiplication; the bias is below bound / 2^64.
    package mutating func integer(below bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// Approximately normal, mean 0, variance 1: the sum of 12 uniforms minus 6, so that no library
    /// function decides the bytes. Tails end at +-6.
    package mutating func normal() -> Float {
        var sum: Float = 0
        for _ in 0..<12 { sum += uniform() }
        return sum - 6
    }
}
