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
    ///   - ordersByHolder: the region lays the vector out by itself (``ExpertHolders/order``); false: it is
    ///     part of a collective that has it in its own order.
    package init(
        elements: UInt64, workers: Int, spread: [ExpertBlock] = [], ordersByHolder: Bool = true
    ) {
        let count = UInt64(max(1, workers))
        means = (count - 1) * elements
        let order =
            ordersByHolder
            ? ExpertHolders.order(elements: elements, blocks: spread, members: Int(count))
            : [0..<elements]
        var (alone, sent): (UInt64, UInt64) = (0, 0)
        for block in spread {
            alone += block.each * UInt64(block.count)
            for expert in 0..<Int(block.count) {
                let holder = UInt64(
                    ExpertHolders.holder(
                        of: expert, experts: Int(block.count), members: Int(count)))
                let start = block.start + UInt64(expert) * block.each
                let slice = holder * elements / count..<(holder + 1) * elements / count
                sent += block.each - Self.overlap(start..<start + block.each, order, slice)
            }
        }
        contributions = (count - 1) * (elements - alone) + sent
    }

    /// Elements of `part` of the vector that lie in `slice` of it as `order` lays it out.
    private static func overlap(
        _ part: Range<UInt64>, _ order: [Range<UInt64>], _ slice: Range<UInt64>
    ) -> UInt64 {
        var offset: UInt64 = 0
        var found: UInt64 = 0
        for range in order {
            let own = range.clamped(to: part)
            if !own.isEmpty {
                let from = offset + (own.lowerBound - range.lowerBound)
                found += UInt64((from..<from + UInt64(own.count)).clamped(to: slice).count)
            }
            offset += UInt64(range.count)
        }
        return found
    }
}
