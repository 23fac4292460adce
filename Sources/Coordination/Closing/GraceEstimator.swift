package import ClusterModel

/// How long a round stays open for replicas that have not arrived: median + k MAD of how far behind the
/// round's first arrival the others have come so far (docs/decisions/0017-decoupled.md). Whoever is
/// always first teaches nothing and is not counted; whoever came after the round was closed is.
package struct GraceEstimator: Equatable, Sendable {
    /// Lags looked back at: a few per replica and round, and short enough to follow a change.
    package static let window = 64

    /// k MAD counts for at least this part of the longest grace, and for a round trip: where all have been
    /// equally far behind so far, whoever is a packet later is not late.
    package static let leastPart: Int64 = 16

    /// In order of arrival, the oldest first.
    package private(set) var lags: [Interval] = []

    package init() {}

    /// - Parameter lag: from the first arrival of the round that the replica was missing in.
    package mutating func note(_ lag: Interval) {
        if lags.count == Self.window { lags.removeFirst() }
        lags.append(max(.zero, lag))
    }

    /// - Parameter distance: what messages may be apart without anybody's being late: the longest round
    ///   trip between regions.
    package func grace(_ rules: ClosingRules, distance: Interval = .zero) -> Grace {
        guard let median = Self.median(lags) else { return .unknown(rules.graceMost) }
        let part = Interval(nanoseconds: rules.graceMost.nanoseconds / Self.leastPart)
        let least = min(max(part, distance), rules.graceMost)
        guard median <= rules.graceMost else { return .hopeless(median: median, length: least) }
        let distances = lags.map { Interval(nanoseconds: ($0 - median).nanoseconds.magnitude) }
        let deviation = Self.median(distances) ?? .zero
        // Distances are bounded by the clock, factors by the file: a product can still be too large.
        let (product, overflows) = deviation.nanoseconds.multipliedReportingOverflow(
            by: Int64(rules.graceFactor))
        let spread = Interval(nanoseconds: overflows ? .max / 2 : product / 1_000)
        return .spread(
            median: median, deviation: deviation, least: least,
            length: min(median + max(spread, least), rules.graceMost))
    }

    /// The lower of the two middle ones; nil of nothing.
    static func median(_ values: [Interval]) -> Interval? {
        values.isEmpty ? nil : values.sorted()[(values.count - 1) / 2]
    }
}

extension Interval {
    fileprivate init(nanoseconds: UInt64) {
        self.init(nanoseconds: Int64(clamping: nanoseconds))
    }
}

/// A grace and where it comes from.
package enum Grace: Codable, Equatable, Sendable {
    /// Nobody has come second yet: as long as the cluster file allows.
    case unknown(Interval)
    /// `length` is median + k deviation, no more than the cluster file allows; k deviation counts for
    /// `least` at least.
    case spread(median: Interval, deviation: Interval, least: Interval, length: Interval)
    /// Most of those who were not first came later than the longest grace: waiting for them gains nothing.
    case hopeless(median: Interval, length: Interval)

    /// From the round's first arrival on.
    package var length: Interval {
        switch self {
        case .unknown(let most): most
        case .spread(_, _, _, let length): length
        case .hopeless(_, let length): length
        }
    }

    package func text(_ rules: ClosingRules) -> String {
        switch self {
        case .unknown(let most):
            return "nobody has come second yet, grace was the longest allowed, "
                + Figures.duration(most.seconds)
        case .spread(let median, let deviation, let least, let length):
            let sum =
                "grace was median \(Figures.duration(median.seconds)) + "
                + "\(ClosingRules.decimal(rules.graceFactor)) x MAD "
                + Figures.duration(deviation.seconds)
            if length >= rules.graceMost {
                return sum + ", at most \(Figures.duration(rules.graceMost.seconds))"
            }
            return length > median + least
                ? sum : sum + " (\(Figures.duration(least.seconds)) at least)"
        case .hopeless(let median, let length):
            return
                "grace was \(Figures.duration(length.seconds)), half of the others come "
                + "\(Figures.duration(median.seconds)) after "
                + "the first or later, which is over \(Figures.duration(rules.graceMost.seconds))"
        }
    }
}
