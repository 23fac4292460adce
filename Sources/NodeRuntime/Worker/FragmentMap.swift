package import WireProtocol

/// Places elements of a collective (its ranges laid end to end) in the parameter vector.
package struct FragmentMap {
    private let ranges: [ElementRange]

    package init(_ ranges: [ElementRange]) { self.ranges = ranges }

    /// Parts of the parameter vector that elements `range` of the collective cover, in order.
    package func parameters(_ range: Range<UInt64>) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var offset: UInt64 = 0
        for fragment in ranges {
            let covered =
                max(
                    range.lowerBound, offset)..<max(
                    max(range.lowerBound, offset), min(range.upperBound, offset + fragment.count))
            if !covered.isEmpty {
                let start = Int(fragment.start + (covered.lowerBound - offset))
                parts.append(start..<start + covered.count)
            }
            offset += fragment.count
        }
        return parts
    }

    /// Parts that ascending pieces of the collective cover, as long as they can be; the whole where there
    /// is no piece.
    package func parts(_ pieces: [Range<UInt64>]) -> [Range<Int>] {
        var joined: [Range<UInt64>] = []
        for piece in pieces {
            if let last = joined.last, last.upperBound == piece.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<piece.upperBound
            } else {
                joined.append(piece)
            }
        }
        return joined.isEmpty ? all : joined.flatMap { parameters($0) }
    }

    /// The whole collective.
    package var all: [Range<Int>] {
        ranges.map { Int($0.start)..<Int($0.start + $0.count) }
    }
}
