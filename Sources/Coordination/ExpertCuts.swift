package import ClusterModel
package import WireProtocol

/// One expert's elements in a collective.
package struct ExpertPart: Equatable, Sendable {
    package var range: Range<UInt64>
    /// Its number when the plan's blocks are counted through.
    package var expert: Int

    package init(range: Range<UInt64>, expert: Int) {
        self.range = range
        self.expert = expert
    }

    /// Where the plan's experts lie in the collective of `ranges`, laid end to end; those of other
    /// fragments are left out. Ascending.
    package static func parts(of blocks: [ExpertBlock], in ranges: [ElementRange]) -> [ExpertPart] {
        var parts: [ExpertPart] = []
        var offset: UInt64 = 0
        for range in ranges {
            let end = range.start + range.count
            var first = 0
            for block in blocks {
                defer { first += Int(block.count) }
                guard block.start < end, block.end > range.start else { continue }
                for number in 0..<UInt64(block.count) {
                    let from = max(range.start, block.start + number * block.each)
                    let to = min(end, block.start + (number + 1) * block.each)
                    guard from < to else { continue }
                    let start = offset + (from - range.start)
                    parts.append(
                        ExpertPart(
                            range: start..<start + (to - from), expert: first + Int(number)))
                }
            }
            offset += range.count
        }
        return parts
    }
}

/// Where a chunk of a slice begins that experts cut, and whose values it holds.
struct ExpertCut: Equatable, Sendable {
    var start: UInt64
    var expert: Int?

    /// The chunks of `slice`: it ends where a part begins or ends, and each piece between is cut every
    /// `length` elements from its own beginning.
    static func cuts(
        of slice: Range<UInt64>, by parts: [ExpertPart], every length: UInt64
    ) -> [ExpertCut] {
        var cuts: [ExpertCut] = []
        var next = slice.lowerBound
        func add(to end: UInt64, _ expert: Int?) {
            var start = next
            while start < end {
                cuts.append(ExpertCut(start: start, expert: expert))
                start += min(length, end - start)
            }
            next = max(next, end)
        }
        for part in parts where part.range.upperBound > next {
            guard part.range.lowerBound < slice.upperBound else { break }
            add(to: part.range.lowerBound, nil)
            add(to: min(part.range.upperBound, slice.upperBound), part.expert)
        }
        add(to: slice.upperBound, nil)
        return cuts
    }
}

/// Tokens behind a contribution: of the whole replica, and of each expert.
struct TrainedTokens: Equatable, Sendable {
    var all: UInt64 = 0
    /// By the plan's numbers; empty: nobody counts them.
    var experts: [UInt64] = []

    /// What a chunk counts for. An expert's counts for its own tokens, but for one at least: one that no
    /// replica used takes the plain mean. Who has trained on nothing counts for nothing, but for the tokens
    /// of experts that earlier rounds have left out.
    func weight(of expert: Int?) -> UInt64 {
        guard let expert, experts.indices.contains(expert) else { return all }
        return max(experts[expert], min(1, all))
    }
}

extension TrainedTokens {
    /// Tokens of a step by expert: each member of a replica has the same shares, so all count alike.
    ///
    /// - Parameter shares: of the replica's tokens, by expert; the region's encoding may have rounded one
    ///   past 1.
    static func ofStep(_ shares: [Float], tokens: UInt64) -> [UInt64] {
        shares.map { share in
            let count = (Double(share) * Double(tokens)).rounded()
            guard count.isFinite, count > 0 else { return 0 }
            return count < Double(tokens) ? UInt64(count) : tokens
        }
    }
}
