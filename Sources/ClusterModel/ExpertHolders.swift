/// Which member of a region computes which experts where `spread: region` says so, as long as nothing has
/// placed them anew.
package enum ExpertHolders {
    /// Member i of W holds those from ceil(i E / W) to ceil((i + 1) E / W) - 1 of E.
    package static func holder(of expert: Int, experts: Int, members: Int) -> Int {
        expert * members / experts
    }

    /// In what order a region lays the vector out to all-reduce it: for each member an equal part of what is
    /// no expert's, then the experts it holds, so that they lie in the slice it owns as long as members hold
    /// equally many.
    ///
    /// - Parameter blocks: ascending and apart; empty: the vector's own order.
    package static func order(
        elements: UInt64, blocks: [ExpertBlock], members: Int
    ) -> [Range<UInt64>] {
        guard !blocks.isEmpty, members > 1 else { return [0..<elements] }
        var rest: [Range<UInt64>] = []
        var start: UInt64 = 0
        for block in blocks {
            rest.append(start..<block.start)
            start = block.end
        }
        rest.append(start..<elements)
        let count = rest.reduce(UInt64(0)) { $0 + UInt64($1.count) }
        let all = UInt64(members)
        return (0..<all).flatMap { member -> [Range<UInt64>] in
            let own = part(of: rest, member * count / all..<(member + 1) * count / all)
            return own
                + blocks.map { block in
                    // The first expert of the member is ceil(i E / W).
                    let first = (member * UInt64(block.count) + all - 1) / all
                    let next = ((member + 1) * UInt64(block.count) + all - 1) / all
                    return block.start + first * block.each..<block.start + next * block.each
                }.filter { !$0.isEmpty }
        }
    }

    /// Of ranges laid end to end.
    private static func part(
        of ranges: [Range<UInt64>], _ wanted: Range<UInt64>
    ) -> [Range<UInt64>] {
        var offset: UInt64 = 0
        return ranges.compactMap { range in
            let (from, to) = (
                max(wanted.lowerBound, offset), min(wanted.upperBound, offset + UInt64(range.count))
            )
            defer { offset += UInt64(range.count) }
            guard from < to else { return nil }
            return range.lowerBound + (from - offset)..<range.lowerBound + (to - offset)
        }
    }
}

extension RunConfiguration {
    /// Each expert is computed by one worker of a region, which alone contributes it to what the region
    /// all-reduces.
    package var spreadsExperts: Bool {
        model.experts?.spread == .region && schedule.inner == .everyStep
    }

    /// Between rounds an expert's weights and moments are with the worker of a region that computes it, and
    /// nothing of it is in what the region all-reduces.
    package var keepsExpertsAtHolders: Bool {
        spreadsExperts && model.experts?.keep == .holder
            && (schedule.outer == .diloco || schedule.outer == .localSGD)
    }

    /// Experts that a plan names: because their values count by the tokens they saw, or because one member
    /// of a region contributes them. A chunk holds elements of one of them, or of none.
    package func plannedExperts(elements: UInt64) -> [ExpertBlock] {
        spreadsExperts
            ? FragmentLayout.experts(of: model, elements: elements)
            : expertBlocks(elements: elements)
    }
}
