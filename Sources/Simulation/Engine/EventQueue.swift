import HeapModule

/// A participant of the simulated cluster.
enum Node: Hashable, Comparable, Sendable {
    case coordinator
    /// By seat.
    case worker(Int)

    /// For the trace: the coordinator is 0.
    var code: UInt64 {
        switch self {
        case .coordinator: 0
        case .worker(let seat): UInt64(seat) + 1
        }
    }
}

/// Something that is due at an instant of virtual time.
enum Occurrence: Sendable {
    case startCoordinator
    case startWorker(seat: Int)
    /// `version` tells a timer that was replaced from the one in force.
    case tick(Node, version: UInt64)
    /// The order the trainer is at has ended.
    case trainer(seat: Int, life: UInt64)
    /// A fused pass has ended.
    case reduced(seat: Int, life: UInt64, job: UInt64)
    /// The oldest frame of a connection's direction is there.
    case arrival(connection: Int, direction: Int, generation: UInt64)
    /// The dialler tries to connect.
    case connect(connection: Int, generation: UInt64)
    /// The other side's end is noticed.
    case breaks(connection: Int, generation: UInt64)
    case fault(index: Int)
    case faultEnds(index: Int)
    /// The checkers' regular look.
    case inspection
    /// A process is told that a connection broke; direction 0: the dialler, 1: the acceptor.
    case notice(connection: Int, direction: Int)
    /// A worker's driver tells its cumulative figures.
    case figures(seat: Int, life: UInt64)
    /// A worker's driver looks for how long its trainer has waited for tokens.
    case tokenWatch(seat: Int, life: UInt64)

    /// For the trace hash: a number per case, and who is concerned.
    var trace: (kind: UInt64, subject: UInt64) {
        switch self {
        case .startCoordinator: (1, 0)
        case .startWorker(let seat): (2, UInt64(seat))
        case .tick(let node, _): (3, node.code)
        case .trainer(let seat, _): (4, UInt64(seat))
        case .reduced(let seat, _, _): (5, UInt64(seat))
        case .arrival(let connection, let direction, _):
            (6, UInt64(2 * connection + direction))
        case .connect(let connection, _): (7, UInt64(connection))
        case .breaks(let connection, _): (8, UInt64(connection))
        case .fault(let index): (9, UInt64(index))
        case .faultEnds(let index): (10, UInt64(index))
        case .inspection: (11, 0)
        case .notice(let connection, let direction): (12, UInt64(2 * connection + direction))
        case .figures(let seat, _): (13, UInt64(seat))
        case .tokenWatch(let seat, _): (14, UInt64(seat))
        }
    }
}

/// Occurrences ordered by (time, order of scheduling), so that a run depends on nothing but its seed.
struct EventQueue<Item: Sendable> {
    struct Entry: Comparable {
        /// Virtual nanoseconds since the start of the run.
        let time: Int64
        let sequence: UInt64
        let occurrence: Item

        static func < (a: Entry, b: Entry) -> Bool {
            (a.time, a.sequence) < (b.time, b.sequence)
        }
        static func == (a: Entry, b: Entry) -> Bool {
            (a.time, a.sequence) == (b.time, b.sequence)
        }
    }

    private var heap = Heap<Entry>()
    private var scheduled: UInt64 = 0

    var count: Int { heap.count }

    mutating func schedule(_ occurrence: Item, at time: Int64) {
        scheduled += 1
        heap.insert(Entry(time: time, sequence: scheduled, occurrence: occurrence))
    }

    mutating func next() -> Entry? { heap.popMin() }
}
