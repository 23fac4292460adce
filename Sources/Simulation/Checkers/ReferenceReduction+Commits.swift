import ClusterModel
import Coordination
import WireProtocol

extension ReferenceReduction {
    // MARK: Closed sets

    var closesSets: Bool { configuration.schedule.outer == .decoupled }

    /// tokens x tokens / steps, and the discount once for each round missed; rounded down each time.
    func closedWeight(_ seat: Int) -> UInt64 {
        let (tokens, steps) = offered[seat]
        let late = UInt64(configuration.schedule.closing?.lateWeight ?? 1_000)
        var weight = max(1, tokens * tokens / max(1, steps))
        for _ in 0..<missed[seat] { weight = max(1, weight * late / 1_000) }
        return weight
    }

    /// The newest attempt is the one that was taken.
    private mutating func closedRoundCommitted(
        _ key: CollectiveKey, _ tokens: UInt64
    ) -> String? {
        guard let epoch = candidates[key]?.keys.max(), let plan = plans[epoch],
            let candidate = candidates[key]?[epoch]
        else { return "nobody has put anything into \(key)" }
        var sum: UInt64 = 0
        for group in groups(plan, key) {
            let isIn = group.contains { candidate.parts[$0] != nil }
            sum += group.compactMap { candidate.tokens[$0] }.first ?? 0
            for seat in group { missed[seat] = isIn ? 0 : missed[seat] + 1 }
        }
        return sum == tokens ? nil : "\(key) counts \(tokens) tokens, \(sum) were offered"
    }

    // MARK: Commits

    /// A stopped worker may still take a mean the others have long committed.
    private mutating func forget(before last: CollectiveKey) {
        for key in candidates.keys.sorted()
        where key.scope == .pool && key.fragment == last.fragment && key.round + 8 < last.round {
            candidates[key] = nil
        }
    }

    mutating func committed(_ key: CollectiveKey, _ digest: UInt64, _ tokens: UInt64) -> String? {
        guard elements > 0 else { return nil }
        defer {
            outcomes[key] = nil
            forget(before: key)
        }
        guard let outcome = outcomes[key]?.first(where: { $0.digest == digest }) else {
            return "the committed digest of \(key) is not that of any mean taken"
        }
        committed[key.fragment.index] = (key.round, [outcome.state])
        if closesSets { return closedRoundCommitted(key, tokens) }
        guard outcome.tokens == tokens else {
            return "\(key) counts \(tokens) tokens, \(outcome.tokens) were trained on"
        }
        return nil
    }
}
