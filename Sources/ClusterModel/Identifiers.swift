/// Seat of a worker for the whole run: an index into the run's roster, never reused for another name.
package struct WorkerID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package init(_ value: Int) { rawValue = UInt32(value) }
    package static func < (a: WorkerID, b: WorkerID) -> Bool { a.rawValue < b.rawValue }
}

/// Index of a region in ``Topology/regions``.
package struct RegionID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package init(_ value: Int) { rawValue = UInt16(value) }
    package static func < (a: RegionID, b: RegionID) -> Bool { a.rawValue < b.rawValue }
    /// `Topology.regions` index.
    package var index: Int { Int(rawValue) }
    /// On the wire: no region, the collective spans the pool.
    package static let none = RegionID(rawValue: .max)
}

/// Position of a member in one epoch's plan: 0 ..< members, ordered by (region, worker).
package struct Rank: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package init(_ value: Int) { rawValue = UInt16(value) }
    package static func < (a: Rank, b: Rank) -> Bool { a.rawValue < b.rawValue }
    package var index: Int { Int(rawValue) }
    /// On the wire: the sender has no rank (yet).
    package static let none = Rank(rawValue: .max)
}

/// Number of a membership: grows by one with every change of the set of members.
package struct Epoch: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static func < (a: Epoch, b: Epoch) -> Bool { a.rawValue < b.rawValue }
    package var next: Epoch { Epoch(rawValue: rawValue + 1) }
    /// Before the first plan.
    package static let none = Epoch(rawValue: 0)
}

/// One life of a process: larger for each restart under the same name, chosen by the driver.
package struct Incarnation: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (a: Incarnation, b: Incarnation) -> Bool { a.rawValue < b.rawValue }
}

/// Identity of one run; frames of another run are refused.
package struct RunID: RawRepresentable, Hashable, Codable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A contiguous set of layers that is synchronised between replicas as one unit.
package struct FragmentID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package init(_ value: Int) { rawValue = UInt16(value) }
    package static func < (a: FragmentID, b: FragmentID) -> Bool { a.rawValue < b.rawValue }
    package var index: Int { Int(rawValue) }
}

/// Bytes in a pool owned by the driver; machines pass the handle on and never look inside.
package struct PayloadHandle: RawRepresentable, Hashable, Codable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A connection as the driver counts them; never reused within one process life.
package struct ConnectionID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (a: ConnectionID, b: ConnectionID) -> Bool { a.rawValue < b.rawValue }
}

/// Names one collective operation: an inner all-reduce of a region's step, or an outer round of a
/// fragment between replicas.
package struct CollectiveKey: Hashable, Comparable, Codable, Sendable {
    /// The set of workers that takes part.
    package enum Scope: UInt8, Codable, Sendable {
        case region = 0
        case pool = 1
    }
    package var scope: Scope
    /// The region, or ``RegionID/none`` in pool scope.
    package var region: RegionID
    package var fragment: FragmentID
    /// Inner step in region scope; outer round of the fragment in pool scope. Both count from 1.
    package var round: UInt32

    package init(scope: Scope, region: RegionID, fragment: FragmentID, round: UInt32) {
        self.scope = scope
        self.region = region
        self.fragment = fragment
        self.round = round
    }

    /// The gradient all-reduce of one inner step inside `region`.
    package static func inner(region: RegionID, step: UInt32) -> CollectiveKey {
        CollectiveKey(scope: .region, region: region, fragment: FragmentID(0), round: step)
    }

    /// One outer round of `fragment` between the replicas.
    package static func outer(fragment: FragmentID, round: UInt32) -> CollectiveKey {
        CollectiveKey(scope: .pool, region: .none, fragment: fragment, round: round)
    }

    /// The parts that members of `region` have of what it contributes to an outer round.
    package static func parts(of round: CollectiveKey, region: RegionID) -> CollectiveKey {
        CollectiveKey(
            scope: .region, region: region, fragment: round.fragment, round: round.round)
    }

    /// The outer round, of a key of parts; nil in pool scope.
    package var roundOfParts: CollectiveKey? {
        scope == .region ? .outer(fragment: fragment, round: round) : nil
    }

    package static func < (a: CollectiveKey, b: CollectiveKey) -> Bool {
        (a.scope.rawValue, a.region, a.fragment, a.round)
            < (b.scope.rawValue, b.region, b.fragment, b.round)
    }
}
