import ClusterModel
import DequeModule
package import WireProtocol

/// What leaves first when several messages wait for credit to one peer; less is sooner.
package struct LanePriority: Comparable, Sendable {
    /// A question somebody waits for; means, which are all that their receiver lacks for a step; tokens;
    /// contributions; state of a joiner. ``LaneQueue`` lets contributions to a collective of the pool go
    /// before its means.
    private enum Rank: UInt8 { case question, mean, tokens, contribution, state }

    private let rank: Rank
    /// Of chunks: rounds leave in their order, and the fragments of a round in theirs.
    private let key: CollectiveKey?

    private init(_ rank: Rank, _ key: CollectiveKey? = nil) {
        self.rank = rank
        self.key = key
    }

    package static func priority(of message: Message) -> LanePriority {
        switch message {
        case .chunk(let chunk):
            LanePriority(chunk.kind == .mean ? .mean : .contribution, chunk.key)
        case .relay:
            // Costs no credit on this lane and must not wait behind what does: the credit that its own
            // chunks lack may come back only when this one has arrived.
            LanePriority(.question)
        case .tokens:
            // A layer of somebody's step waits for them; gradients wait for whole steps. But never before
            // means: a receiver that lacks one reads no tokens of the next step, and these may take all
            // credit there is.
            LanePriority(.tokens)
        case .stateChunk:
            LanePriority(.state)
        case .pull, .stateRequest, .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat,
            .heartbeatAck, .report, .commit, .close, .event, .suspect, .leave, .bye, .stop,
            .evicted, .error, .enrol, .enrolled, .offer, .laneHello, .laneWelcome, .acknowledge,
            .laneBye:
            LanePriority(.question)
        }
    }

    /// Pool scope after region scope: the region's all-reduce blocks the step at hand. Of a round fragments
    /// 1, 2, ... leave, and 0 as the last one (``FragmentOrder``).
    private var order: (UInt8, UInt8, UInt32, UInt16) {
        (
            rank.rawValue, key?.scope.rawValue ?? 0, key?.round ?? 0,
            (key?.fragment.rawValue ?? 0) &- 1
        )
    }

    package static func < (a: LanePriority, b: LanePriority) -> Bool { a.order < b.order }

    /// For people.
    fileprivate var summary: String {
        guard let key else { return "\(rank)" }
        return "\(rank) \(key.scope) \(key.round).\(key.fragment.rawValue)"
    }

    fileprivate var isPoolMean: Bool { rank == .mean && key?.scope == .pool }
    /// Whether something waits that means must not be kept waiting by: tokens come after means, and the
    /// region's contributions before the pool's.
    fileprivate var goesBetween: Bool {
        rank == .tokens || rank == .contribution && key?.scope == .region
    }
    /// Whether it is a contribution to the collective that `mean` comes from. To a later one it must not go
    /// first: its receiver may lack this mean, and so not have what it is to be reduced with, while the
    /// contributions take all credit there is.
    fileprivate func feeds(_ mean: LanePriority) -> Bool {
        rank == .contribution && key == mean.key
    }
}

/// Messages to one peer that have not left: by priority, in order of arrival where it is equal.
///
/// But contributions to a collective of the pool leave before its means, unless tokens or contributions to
/// the region's wait as well. Both sides of a link send contributions and, as those of the other side arrive,
/// means. Means first would let the side that is a little ahead hold back what the other makes its means
/// of: that direction runs dry, and later the other one. Means pass contributions that have no credit.
struct LaneQueue: Sendable {
    /// Ascending, none empty: a handful, one for each kind and round under way.
    private var classes: [(priority: LanePriority, messages: Deque<LaneSession.Outgoing>)] = []
    private(set) var count = 0

    /// What leaves next, and over which lane: the first message of the class that is served, or, where no
    /// lane takes that, of the means that contributions without credit would keep waiting.
    func next<Lane>(_ lane: (LaneSession.Outgoing) -> Lane?) -> (place: Int, lane: Lane)? {
        guard !classes.isEmpty else { return nil }
        let served = served
        if let lane = classes[served].messages.first.flatMap(lane) { return (served, lane) }
        guard served > 0, let lane = classes[0].messages.first.flatMap(lane) else { return nil }
        return (0, lane)
    }

    /// There is one.
    private var served: Int {
        guard classes[0].priority.isPoolMean else { return 0 }
        for (place, entry) in classes.enumerated() {
            if entry.priority.goesBetween { return 0 }
            if entry.priority.feeds(classes[0].priority) { return place }
        }
        return 0
    }

    mutating func append(_ outgoing: LaneSession.Outgoing, _ priority: LanePriority) {
        precondition(
            count < CoordinationLimits.laneQueueMessages, "queue to a peer over its limit")
        count += 1
        // From behind: what comes is mostly the latest round's.
        var place = classes.count
        while place > 0, classes[place - 1].priority > priority { place -= 1 }
        if place > 0, classes[place - 1].priority == priority {
            classes[place - 1].messages.append(outgoing)
        } else {
            classes.insert((priority, [outgoing]), at: place)
        }
    }

    /// - Parameter place: of ``next(_:)``.
    mutating func removeFirst(of place: Int) -> LaneSession.Outgoing {
        count -= 1
        let outgoing = classes[place].messages.removeFirst()
        if classes[place].messages.isEmpty { classes.remove(at: place) }
        return outgoing
    }

    /// For people.
    var summary: String {
        classes.map { " \($0.messages.count)x\($0.priority.summary)" }.joined()
    }

    mutating func removeNext() -> LaneSession.Outgoing? {
        count > 0 ? removeFirst(of: served) : nil
    }

    /// All but RELAYs: those are numbered between two others already, so one less would be a gap there.
    mutating func removeUnsent() -> [LaneSession.Outgoing] {
        let all = classes.flatMap { entry in entry.messages.map { (entry.priority, $0) } }
        classes = []
        count = 0
        var removed: [LaneSession.Outgoing] = []
        for (priority, outgoing) in all {
            if case .relay = outgoing.message {
                append(outgoing, priority)
            } else {
                removed.append(outgoing)
            }
        }
        return removed
    }

    var payloads: [PayloadHandle] { classes.flatMap { $0.messages.compactMap(\.payload) } }
}
