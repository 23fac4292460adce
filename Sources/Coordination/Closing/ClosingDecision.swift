package import ClusterModel

/// Whether a round is closed now, from counts and times alone.
package enum ClosingDecision: Equatable, Sendable {
    /// Look again when somebody arrives, and at `until` at the latest if that is known.
    case wait(until: Instant?)
    case close(Reason)

    package enum Reason: Codable, Equatable, Sendable {
        /// Nobody is missing.
        case everybody
        /// The quorum is there and the grace is over.
        case graceOver
    }

    /// - Parameters:
    ///   - first: when the first replica arrived; nil: none has.
    ///   - arrived: replicas that have.
    ///   - able: replicas that have arrived or still can: not those that have nothing left to train.
    package static func decide(
        at now: Instant, first: Instant?, arrived: Int, able: Int, grace: Grace,
        rules: ClosingRules
    ) -> ClosingDecision {
        guard let first, arrived > 0 else { return .wait(until: nil) }
        if arrived >= able { return .close(.everybody) }
        guard arrived >= min(rules.quorum, able) else { return .wait(until: nil) }
        let until = first + grace.length
        return now >= until ? .close(.graceOver) : .wait(until: until)
    }
}

/// A closed set, as the record keeps it and people read it.
package struct ClosingAccount: Equatable, Sendable {
    package var round: UInt32
    package var arrived: Int
    package var able: Int
    /// From the first arrival to the decision.
    package var after: Interval
    package var reason: ClosingDecision.Reason
    package var grace: Grace
    /// Replicas that are late, and how many rounds were closed without each, this one included.
    package var missing: [(name: String, rounds: UInt32)]
    package var rules: ClosingRules

    package init(
        round: UInt32, arrived: Int, able: Int, after: Interval,
        reason: ClosingDecision.Reason, grace: Grace,
        missing: [(name: String, rounds: UInt32)], rules: ClosingRules
    ) {
        self.round = round
        self.arrived = arrived
        self.able = able
        self.after = after
        self.reason = reason
        self.grace = grace
        self.missing = missing
        self.rules = rules
    }

    package static func == (a: Self, b: Self) -> Bool {
        a.text == b.text && a.after == b.after && a.grace == b.grace
    }

    /// `closed round 12 with 3 of 4 after 410 ms: grace was median 300 ms + 3 x MAD 40 ms; missing:
    /// jinan, merged next round at weight x 0.5`.
    package var text: String {
        let head =
            "closed round \(round) with \(arrived) of \(able) after "
            + "\(Figures.duration(after.seconds)): "
        switch reason {
        case .everybody: return head + (able == 1 ? "nobody else is left" : "everybody is there")
        case .graceOver:
            let late = missing.map { name, rounds in
                let kept = ContributionWeight.discounted(
                    1_000_000, missed: rounds, late: rules.lateWeight)
                return "\(name), merged next round at weight x "
                    + Figures.significant(Double(kept) / 1e6)
            }
            return head + grace.text(rules) + "; missing: " + late.joined(separator: "; ")
        }
    }
}
