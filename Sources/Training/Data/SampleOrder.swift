import ClusterModel

/// A seeded order of all samples for any number of passes: stream index i is sample
/// permutation(pass = i / count)(i mod count), so each pass uses every sample exactly once.
///
/// Every index is found in constant time and without memory: a Feistel network of four rounds
/// permutes the next even number of bits, and results outside the range are walked on (Black and
/// Rogaway: Ciphers with Arbitrary Finite Domains, 2002).
package struct SampleOrder: Sendable, Equatable {
    package let seed: UInt64
    package let sampleCount: Int
    private let halfBits: UInt64

    package init(seed: UInt64, sampleCount: Int) {
        precondition(sampleCount >= 1 && sampleCount < 1 << 62, "1 to 2^62 samples")
        self.seed = seed
        self.sampleCount = sampleCount
        let bits = 64 - UInt64((UInt64(sampleCount) - 1).leadingZeroBitCount)
        halfBits = max(1, (bits + 1) / 2)
    }

    /// The sample at a position of the stream.
    package func sample(at index: UInt64) -> Int {
        let count = UInt64(sampleCount)
        var keys = SeededGenerator(seed: seed &+ (index / count) &* 0xD134_2543_DE82_EF95)
        let roundKeys = (keys.next(), keys.next(), keys.next(), keys.next())
        var value = index % count
        // The domain is at most four times as large: under four walks on average.
        repeat {
            value = permute(value, roundKeys)
        } while value >= count
        return Int(value)
    }

    private func permute(_ value: UInt64, _ keys: (UInt64, UInt64, UInt64, UInt64)) -> UInt64 {
        let mask = (UInt64(1) << halfBits) - 1
        var left = value >> halfBits
        var right = value & mask
        (left, right) = (right, left ^ (Self.mix(right, keys.0) & mask))
        (left, right) = (right, left ^ (Self.mix(right, keys.1) & mask))
        (left, right) = (right, left ^ (Self.mix(right, keys.2) & mask))
        (left, right) = (right, left ^ (Self.mix(right, keys.3) & mask))
        return left << halfBits | right
    }

    private static func mix(_ half: UInt64, _ key: UInt64) -> UInt64 {
        var generator = SeededGenerator(seed: half ^ key)
        return generator.next()
    }
}
