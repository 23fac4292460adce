/// The bins in which quantile balancing counts: 1,000 of equal width over [min b - 1, max b + 1], where b is
/// the bias in force.
package struct QuantileBins: Equatable, Sendable {
    package static let count = 1_000

    package let lower: Float
    package let upper: Float

    package init(bias: some Collection<Float>) {
        lower = (bias.min() ?? 0) - 1
        upper = (bias.max() ?? 0) + 1
    }

    private var width: Float { (upper - lower) / Float(Self.count) }

    /// The bin of a lack; values outside count in the outermost ones, what is no number in the first.
    package func bin(_ lack: Float) -> Int {
        guard lack > lower else { return 0 }
        return min(Self.count - 1, Int(min((lack - lower) / width, Float(Self.count))))
    }

    /// The `share` quantile of what was counted, interpolated inside its bin; without counts the lowest.
    package func quantile(_ bins: some Sequence<Double>, _ share: Double) -> Float {
        let total = bins.reduce(0, +)
        guard total > 0 else { return lower }
        let wanted = share * total
        var below = 0.0
        for (bin, count) in bins.enumerated() where count > 0 {
            if below + count >= wanted {
                let inside = Float(max(0, wanted - below) / count)
                return lower + (Float(bin) + inside) * width
            }
            below += count
        }
        return upper
    }

    /// A new bias from what every expert lacks. Minus their mean: what all biases share chooses nothing.
    ///
    /// - Parameters:
    ///   - bins: `[expert][bin]`, counts or weights in any unit, as an all-reduce brings them.
    ///   - share: k / E.
    package func bias(_ bins: some Collection<some Sequence<Double>>, share: Double) -> [Float] {
        let quantiles = bins.map { quantile($0, share) }
        let mean = quantiles.reduce(0, +) / Float(max(1, quantiles.count))
        return quantiles.map { $0 - mean }
    }
}

/// Bias by quantiles, without a rate: an expert's bias is how much its score lacks, for the k / E quantile of
/// tokens, to be chosen. Histograms of that lack add up over workers of any size, so the result does not
/// depend on who counted what.
package struct QuantileHistogram: Equatable, Sendable {
    package let bins: QuantileBins
    /// `[expert][bin]`.
    package private(set) var counts: [[UInt64]]

    /// - Parameter bias: in force while tokens are counted.
    package init(bias: [Float]) {
        bins = QuantileBins(bias: bias)
        counts = Array(
            repeating: Array(repeating: 0, count: QuantileBins.count), count: bias.count)
    }

    /// Counts a token: cutoff minus unbiased score for every expert that was a candidate. Where every
    /// candidate was chosen there is no cutoff, and everything counts as lowest. With region limits only
    /// experts of kept groups were candidates; the others are not told what they lack.
    package mutating func add(
        scores: [Float], routing: ExpertGate.Routing, gate: ExpertGate
    ) {
        for group in routing.keptGroups {
            for expert in gate.groupBounds[group]..<gate.groupBounds[group + 1] {
                let lack = (routing.cutoff ?? -.infinity) - scores[expert]
                counts[expert][bins.bin(lack)] += 1
            }
        }
    }

    /// The same of a token of a batch.
    ///
    /// - Parameters:
    ///   - weight: how many tokens it stands for.
    ///   - isCandidate: of the experts of kept groups, those that could be chosen.
    package mutating func add(
        _ batch: GateBatch, token: Int, weight: UInt64 = 1,
        isCandidate: (Int) -> Bool = { _ in true }
    ) {
        let gate = batch.gate
        let cutoff = batch.cutoffs[token]
        for group in 0..<gate.groups where batch.keeps[token * gate.groups + group] {
            for expert in gate.groupBounds[group]..<gate.groupBounds[group + 1]
            where isCandidate(expert) {
                let lack = cutoff - batch.scores[token * gate.experts + expert]
                counts[expert][bins.bin(lack)] += weight
            }
        }
    }

    package mutating func merge(_ other: QuantileHistogram) {
        precondition(
            bins == other.bins && counts.count == other.counts.count,
            "histograms under different biases")
        for expert in counts.indices {
            for bin in 0..<QuantileBins.count { counts[expert][bin] += other.counts[expert][bin] }
        }
    }

    /// - Parameter share: k / E.
    package func bias(share: Double) -> [Float] {
        bins.bias(counts.map { $0.map(Double.init) }, share: share)
    }
}
