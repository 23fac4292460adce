/// Bias by quantiles, without a rate: an expert's bias is how much its score lacks, for the k / E quantile of
/// tokens, to be chosen. Histograms of that lack add up over workers of any size, so the result does not
/// depend on who counted what.
package struct QuantileHistogram: Equatable, Sendable {
    package static let binCount = 1_000

    package let lower: Float
    package let upper: Float
    /// `[expert][bin]`.
    package private(set) var counts: [[UInt64]]

    /// - Parameter bias: in force while tokens are counted; the bins cover [min - 1, max + 1].
    package init(bias: [Float]) {
        lower = (bias.min() ?? 0) - 1
        upper = (bias.max() ?? 0) + 1
        counts = Array(
            repeating: Array(repeating: 0, count: Self.binCount), count: bias.count)
    }

    private var width: Float { (upper - lower) / Float(Self.binCount) }

    /// Counts a token: cutoff minus unbiased score for every expert that was a candidate. Where every
    /// candidate was chosen there is no cutoff, and everything counts as lowest. With region limits only
    /// experts of kept groups were candidates; the others are not told what they lack.
    package mutating func add(
        scores: [Float], routing: ExpertGate.Routing, gate: ExpertGate
    ) {
        for group in routing.keptGroups {
            for expert in gate.groupBounds[group]..<gate.groupBounds[group + 1] {
                let lack = (routing.cutoff ?? -.infinity) - scores[expert]
                counts[expert][bin(lack)] += 1
            }
        }
    }

    private func bin(_ value: Float) -> Int {
        guard value > lower else { return 0 }
        return min(Self.binCount - 1, Int((value - lower) / width))
    }

    package mutating func merge(_ other: QuantileHistogram) {
        precondition(
            lower == other.lower && upper == other.upper && counts.count == other.counts.count,
            "histograms under different biases")
        for expert in counts.indices {
            for bin in 0..<Self.binCount { counts[expert][bin] += other.counts[expert][bin] }
        }
    }

    /// Each expert's `share` quantile, interpolated inside its bin; the lowest value without counts. Minus
    /// their mean: a common part of all biases chooses nothing.
    ///
    /// - Parameter share: k / E.
    package func bias(share: Double) -> [Float] {
        let quantiles = counts.map { quantile($0, share) }
        let mean = quantiles.reduce(0, +) / Float(max(1, quantiles.count))
        return quantiles.map { $0 - mean }
    }

    private func quantile(_ bins: [UInt64], _ share: Double) -> Float {
        let total = bins.reduce(0, +)
        guard total > 0 else { return lower }
        let wanted = share * Double(total)
        var below = 0.0
        for (bin, count) in bins.enumerated() where count > 0 {
            if below + Double(count) >= wanted {
                let inside = Float(max(0, wanted - below) / Double(count))
                return lower + (Float(bin) + inside) * width
            }
            below += Double(count)
        }
        return upper
    }
}
