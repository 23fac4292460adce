import ClusterModel

/// Workers with a connection, at most one per seat, gone through in seat order. Looking one up by seat
/// or by connection, changing and removing it cost the same however many there are.
///
/// ```
/// slots   | seat 0 | seat 1 |  nil   | seat 3 | ...     one per seat of the topology
/// seatOf  connection -> seat                            asked, never iterated
/// ```
struct Roster: Sendable {
    private var slots: [Coordinator.Member?]
    private var seatOf: [ConnectionID: WorkerID] = [:]
    private(set) var count = 0
    /// Members that have been through a GO: those whose reports a commit needs.
    private(set) var establishedCount = 0
    /// Members that have not said READY for the plan that is out.
    private(set) var awaitedCount = 0

    init(seats: Int) {
        slots = Array(repeating: nil, count: seats)
    }

    var isEmpty: Bool { count == 0 }

    subscript(seat: WorkerID) -> Coordinator.Member? { slots[Int(seat.rawValue)] }

    subscript(connection: ConnectionID) -> Coordinator.Member? {
        seatOf[connection].flatMap { self[$0] }
    }

    /// By seat. Looks at the members in place: a copy of each would cost more than looking.
    var connections: [ConnectionID] { slots.compactMap { $0?.connection } }

    /// Seats of those that have said nothing after `limit`, in order.
    func seats(silentSince limit: Instant) -> [WorkerID] {
        var found: [WorkerID] = []
        for index in slots.indices {
            guard let heard = slots[index]?.lastHeard, heard <= limit else { continue }
            found.append(WorkerID(index))
        }
        return found
    }

    /// The seat behind a connection.
    func seat(of connection: ConnectionID) -> WorkerID? { seatOf[connection] }

    /// The seat behind a connection, if this life of it speaks there.
    func seat(of connection: ConnectionID, _ incarnation: Incarnation) -> WorkerID? {
        guard let seat = seatOf[connection],
            slots[Int(seat.rawValue)]?.incarnation == incarnation
        else { return nil }
        return seat
    }

    /// Seats of the members of which `holds` is true, in order.
    func seats(where holds: (Coordinator.Member) -> Bool) -> [WorkerID] {
        var found: [WorkerID] = []
        for index in slots.indices where slots[index].map(holds) == true {
            found.append(WorkerID(index))
        }
        return found
    }

    /// Takes a worker in; whoever held its seat is gone.
    mutating func put(_ member: Coordinator.Member) {
        remove(member.seat)
        slots[Int(member.seat.rawValue)] = member
        seatOf[member.connection] = member.seat
        count(member, by: 1)
    }

    @discardableResult
    mutating func remove(_ seat: WorkerID) -> Coordinator.Member? {
        guard let member = self[seat] else { return nil }
        slots[Int(seat.rawValue)] = nil
        forget(member.connection, of: seat)
        count(member, by: -1)
        return member
    }

    /// Changes the worker of a seat, if there is one; not its connection.
    mutating func update(_ seat: WorkerID, _ change: (inout Coordinator.Member) -> Void) {
        let index = Int(seat.rawValue)
        guard let before = tally(index) else { return }
        change(&slots[index]!)
        guard let after = tally(index), after != before else { return }
        establishedCount += (after.established ? 1 : 0) - (before.established ? 1 : 0)
        awaitedCount += (after.awaited ? 1 : 0) - (before.awaited ? 1 : 0)
    }

    mutating func updateAll(_ change: (inout Coordinator.Member) -> Void) {
        for index in slots.indices where slots[index] != nil {
            update(WorkerID(index), change)
        }
    }

    /// The same life on another connection.
    mutating func reconnect(_ seat: WorkerID, to connection: ConnectionID) {
        let index = Int(seat.rawValue)
        guard let old = slots[index]?.connection else { return }
        forget(old, of: seat)
        slots[index]?.connection = connection
        seatOf[connection] = seat
    }

    /// Everybody of `other` moves here.
    mutating func take(_ other: inout Roster) {
        for member in other {
            precondition(self[member.seat] == nil, "one seat twice")
            put(member)
        }
        other = Roster(seats: slots.count)
    }

    // MARK: Counts

    private func tally(_ index: Int) -> (established: Bool, awaited: Bool)? {
        guard let established = slots[index]?.isEstablished else { return nil }
        return (established, slots[index]?.isAwaited == true)
    }

    private mutating func count(_ member: Coordinator.Member, by change: Int) {
        count += change
        establishedCount += member.isEstablished ? change : 0
        awaitedCount += member.isAwaited ? change : 0
    }

    private mutating func forget(_ connection: ConnectionID, of seat: WorkerID) {
        if seatOf[connection] == seat { seatOf[connection] = nil }
    }
}

extension Roster: Sequence {
    struct Iterator: IteratorProtocol {
        fileprivate let slots: [Coordinator.Member?]
        fileprivate var seat = 0

        mutating func next() -> Coordinator.Member? {
            while seat < slots.count {
                defer { seat += 1 }
                if let member = slots[seat] { return member }
            }
            return nil
        }
    }

    func makeIterator() -> Iterator { Iterator(slots: slots, seat: 0) }
}
