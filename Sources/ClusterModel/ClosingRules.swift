/// How the coordinator of a `decoupled` run closes a round, from the cluster file. Integers, so that a
/// machine that decides by them decides alike everywhere.
package struct ClosingRules: Codable, Equatable, Sendable {
    /// K: a round is not closed with fewer replicas, as long as as many can still arrive.
    package var quorum: Int
    /// k of median + k MAD, in thousandths.
    package var graceFactor: UInt32
    /// No round stays open for longer once the quorum is there.
    package var graceMost: Interval
    /// What a contribution keeps of its weight for each round closed without it, in thousandths.
    package var lateWeight: UInt32

    package init(quorum: Int, graceFactor: UInt32, graceMost: Interval, lateWeight: UInt32) {
        self.quorum = quorum
        self.graceFactor = graceFactor
        self.graceMost = graceMost
        self.lateWeight = lateWeight
    }

    /// `3`, `2.5`: thousandths as people write them.
    package static func decimal(_ thousandths: UInt32) -> String {
        var digits = String(thousandths % 1_000)
        digits = String(repeating: "0", count: 3 - digits.count) + digits
        while digits.hasSuffix("0") { digits.removeLast() }
        return "\(thousandths / 1_000)" + (digits.isEmpty ? "" : ".\(digits)")
    }
}
