package import ClusterModel

/// The rounds of all fragments in the one order in which they leave and are applied: *turns*, counted
/// from 1 (Protocols/longhaul-1.md, section 7.8). Fragment p leaves int(p H / P) steps after the start and
/// every H steps after that, so the order is 1, 2, ... P - 1, 0, 1, 2, ...
///
/// ```
/// P = 3    turn      1  2  3  4  5  6  7
///          fragment  1  2  0  1  2  0  1
///          round     1  1  1  2  2  2  3
/// ```
///
/// All members go through the same turns, at whatever step of their own; so one number says which state
/// the parts they share are in, and with one fragment it is the round.
package struct FragmentOrder: Equatable, Sendable {
    /// P.
    package let count: UInt32

    package init(count: Int) {
        precondition(count > 0, "no fragments")
        self.count = UInt32(count)
    }

    package func fragment(of turn: UInt32) -> FragmentID {
        FragmentID(rawValue: UInt16(turn % count))
    }

    package func round(of turn: UInt32) -> UInt32 { (turn + count - 1) / count }

    package func key(of turn: UInt32) -> CollectiveKey {
        .outer(fragment: fragment(of: turn), round: round(of: turn))
    }

    /// - Precondition: `round` is at least 1.
    package func turn(fragment: FragmentID, round: UInt32) -> UInt32 {
        (round - 1) * count + (fragment.rawValue == 0 ? count : UInt32(fragment.rawValue))
    }

    package func turn(of key: CollectiveKey) -> UInt32 {
        turn(fragment: key.fragment, round: key.round)
    }

    /// The last round of `fragment` among turns 1 ... `turn`; 0: none.
    package func rounds(of fragment: FragmentID, through turn: UInt32) -> UInt32 {
        let first = fragment.rawValue == 0 ? count : UInt32(fragment.rawValue)
        return turn < first ? 0 : (turn - first) / count + 1
    }
}
