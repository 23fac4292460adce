package import ClusterModel
package import Training

/// What became of a worker's tokens that wanted experts of other regions, over all steps.
package struct CrossedTokens: Sendable {
    /// Nil before the first step under a plan with owners.
    package private(set) var total: RunEvent.TokensCrossed?
    private var last: UInt32 = 0

    package init() {}

    /// One step, which counts once however often it is computed. Where every region computes all experts
    /// nothing could be wanted elsewhere, and it does not count.
    ///
    /// - Parameter tokens: of the step, times blocks.
    package mutating func note(
        _ counts: CrossingCounts, _ step: UInt32, _ crossing: TokenCrossing?, tokens: Int
    ) {
        guard crossing?.hasOwners == true, step > last else { return }
        last = step
        let regions = counts.crossed.count
        var sum = total ?? RunEvent.TokensCrossed(regions: regions)
        sum.steps += 1
        sum.tokens += UInt64(tokens)
        for region in 0..<regions { sum.crossed[region] += UInt64(counts.crossed[region]) }
        sum.stayed += UInt64(counts.stayed)
        sum.changed += UInt64(counts.changed)
        total = sum
    }
}
