internal import ClusterModel

/// Committed rounds and whether each has one digest.
struct RoundTally {
    private struct Record {
        var digest: UInt64
        var seconds: Double
    }

    private var outer: [CollectiveKey: Record] = [:]
    private var inner: Set<CollectiveKey> = []
    private var latest: [RunSummary.Rounds.Committed] = []
    private var conflicts: [String] = []
    private var closing: RunSummary.Rounds.Closing?
    private(set) var lastSeconds: Double?
    private var firstSeconds: Double?

    mutating func add(
        key: CollectiveKey, digest: UInt64, members: Int, tokens: UInt64, at seconds: Double
    ) {
        lastSeconds = max(lastSeconds ?? seconds, seconds)
        guard key.scope == .pool else {
            inner.insert(key)
            return
        }
        if let known = outer[key] {
            guard known.digest != digest, conflicts.count < RunSummary.Rounds.limit else { return }
            conflicts.append(
                "fragment \(key.fragment.rawValue), round \(key.round): "
                    + "\(hexadecimal(known.digest)) and \(hexadecimal(digest))")
            return
        }
        outer[key] = Record(digest: digest, seconds: seconds)
        firstSeconds = min(firstSeconds ?? seconds, seconds)
        latest.append(
            .init(
                fragment: key.fragment.rawValue, round: key.round, seconds: seconds,
                digest: hexadecimal(digest), members: members, tokens: tokens))
        if latest.count > RunSummary.Rounds.limit { latest.removeFirst() }
    }

    mutating func add(_ closed: RunEvent.RoundClosed, at seconds: Double) {
        var tally = closing ?? RunSummary.Rounds.Closing()
        let before = tally.secondsOpen * Double(tally.closed)
        tally.closed += 1
        tally.secondsOpen = (before + closed.after.seconds) / Double(tally.closed)
        if closed.late.isEmpty { tally.withEverybody += 1 }
        tally.mergedLate += closed.taken.count { $0.missed > 0 }
        tally.roundsMissed += closed.taken.reduce(0) { $0 + Int($1.missed) }
        tally.latest.append(
            .init(round: closed.key.round, seconds: seconds, because: closed.because))
        if tally.latest.count > RunSummary.Rounds.Closing.limit { tally.latest.removeFirst() }
        closing = tally
    }

    var outerCount: Int { outer.count }

    func finish(bytesPerRoundBusiest: Double?) -> RunSummary.Rounds {
        // Rounds of several fragments interleave; the time between rounds is that of one fragment.
        let fragments = Set(outer.keys.map(\.fragment)).count
        let last = outer.values.map(\.seconds).max()
        var between: Double?
        if let firstSeconds, let last, outer.count > max(1, fragments) {
            let perFragment = Double(outer.count) / Double(fragments)
            between = (last - firstSeconds) / (perFragment - 1)
        }
        return RunSummary.Rounds(
            committed: outer.count, committedInside: inner.count, secondsBetween: between,
            bytesPerRoundBusiest: bytesPerRoundBusiest, conflicts: conflicts, latest: latest,
            closing: closing)
    }
}

/// Sixteen digits, as digests are written everywhere.
func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
