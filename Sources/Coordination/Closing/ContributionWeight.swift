/// What a contribution counts for in a closed set: tokens x tokens / steps, in integers
/// (Protocols/longhaul-1.md, section 7.8; Decoupled DiLoCo weights by tokens and by tokens a step).
package enum ContributionWeight {
    /// Sums of a thousand weights fit 64 bits, and one is exact as a Double.
    package static let most: UInt64 = 1 << 53

    /// floor(tokens^2 / steps), from 1 to ``most``.
    package static func base(tokens: UInt64, steps: UInt64) -> UInt64 {
        let product = tokens.multipliedFullWidth(by: tokens)
        let divisor = max(1, steps)
        // The quotient of a 128-bit number fits 64 bits only if its upper half is below the divisor.
        guard product.high < divisor else { return most }
        return min(most, max(1, divisor.dividingFullWidth(product).quotient))
    }

    /// Once `late` thousandths for each of `missed` rounds, rounded down each time; at least 1.
    package static func discounted(_ weight: UInt64, missed: UInt32, late: UInt32) -> UInt64 {
        var left = weight
        for _ in 0..<missed {
            let next = max(1, left.multipliedFullWidth(by: UInt64(late)).low / 1_000)
            // Nothing is left to take away, or nothing is taken away.
            guard next != left else { break }
            left = next
        }
        return left
    }
}
