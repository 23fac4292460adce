/// Values that an all-reduce inside one region puts on the wire, all its workers together; formulas of
/// docs/algorithms.md, "Inside a region".
///
/// Worker i of W owns the slice from floor(i N / W) on. Means go from each owner to all others. Contributions
/// come from all to each owner, except that only its holder contributes an expert of `spread`.
package struct RegionTraffic: Equatable, Sendable {
    package let contributions: UInt64
    package let means: UInt64

    package var values: UInt64 { contributions + means }

    /// - Parameters:
    ///   - elements: N.
    ///   - spread: experts that one worker of the region computes and contributes each, placed as at first
    ///     (``ExpertHolders``); empty: none are.
    package init(elements: UInt64, workers: Int, spread: [ExpertBlock] = []) {
        let others = UInt64(max(1, workers)) - 1
        let count = UInt64(max(1, workers))
        means = others * elements
        var alone: UInt64 = 0
        var sent: UInt64 = 0
        for block in spread {
            for expert in 0..<UInt64(block.count) {
                let holder = UInt64(
                    ExpertHolders.holder(
                        of: Int(expert), experts: Int(block.count), members: Int(count)))
                let (first, next) = (
                    holder * elements / count, (holder + 1) * elements / count
                )
                let start = block.start + expert * block.each
                let (from, to) = (max(start, first), min(start + block.each, next))
                alone += block.each
                sent += block.each - (from < to ? to - from : 0)
            }
        }
        contributions = others * (elements - alone) + sent
    }
}
