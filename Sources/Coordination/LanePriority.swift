import ClusterModel
import DequeModule
package import WireProtocol

/// What leaves first when several messages wait for credit to one peer; less is sooner.
package struct LanePriority: Comparable, Sendable {
    /// A question somebody waits for; means, which are all that their receiver lacks for a step; tokens;
    /// contributions; state of a joiner. ``LaneQueue`` lets contributions of a pool's round go before its
    /// means.
    private let rank: Rank
    /// Pool scope after region scope: the region's all-reduce blocks the step at hand.
    private let isPool: Bool
    private let due: UInt32

    private enum Rank: UInt8 { case question, mean, tokens, contribution, state }

    /// - Parameter due: the inner step at which the fragment is needed, where a schedule knows it;
    ///   otherwise rounds leave in their order.
    package static func priority(of message: Message, due: UInt32? = nil) -> LanePriority {
        switch message {
        case .chunk(let chunk):
            LanePriority(
                rank: chunk.kind == .mean ? .mean : .contribution, isPool: chunk.key.scope == .pool,
                due: due ?? chunk.key.round)
        case .relay:
            // Costs no credit on this lane and must not wait behind what does: the credit that its own
            // chunks lack may come back only when this one has arrived.
            LanePriority(rank: .question, isPool: false, due: 0)
        case .tokens:
            // A layer of somebody's step waits for them; gradients wait for whole steps. But never before
            // means: a receiver that lacks one reads no tokens of the next step, and these may take all
            // credit there is.
            LanePriority(rank: .tokens, isPool: false, due: 0)
        case .stateChunk:
            LanePriority(rank: .state, isPool: false, due: 0)
        case .pull, .stateRequest, .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat,
            .heartbeatAck, .report, .commit, .close, .event, .suspect, .leave, .bye, .stop,
            .evicted, .error, .enrol, .enrolled, .offer, .laneHello, .laneWelcome, .acknowledge,
            .laneBye:
            LanePriority(rank: .question, isPool: false, due: 0)
        }
    }

    package static func < (a: LanePriority, b: LanePriority) -> Bool {
        (a.rank.rawValue, a.isPool ? 1 : 0, a.due) < (b.rank.rawValue, b.isPool ? 1 : 0, b.due)
    }

    fileprivate var isTokens: Bool { rank == .tokens }
    fileprivate var isPoolMean: Bool { rank == .mean && isPool }
    /// Whether it is a contribution to a pool's round that is needed as soon as `mean`.
    fileprivate func feeds(_ mean: LanePriority) -> Bool {
        rank == .contribution && isPool && due <= mean.due
    }
}

/// Messages to one peer that have not left: by priority, in order of arrival where it is equal.
///
/// But contributions to a pool's round leave before its means, unless tokens wait (which go before
/// contributions and never before means). Both sides of a link send contributions and, as those of the
/// other side arrive, means. Means first would let the side that is a little ahead hold back what the
/// other makes its means of: that direction runs dry, and later the other one.
struct LaneQueue: Sendable {
    /// Ascending, none empty: a handful, one for each kind and round under way.
    private var classes: [(priority: LanePriority, messages: Deque<LaneSession.Outgoing>)] = []
    private(set) var count = 0

    var first: LaneSession.Outgoing? { classes.isEmpty ? nil : classes[next].messages.first }

    /// The class that is served; there is one.
    private var next: Int {
        guard classes[0].priority.isPoolMean else { return 0 }
        for (place, entry) in classes.enumerated() {
            if entry.priority.isTokens { return 0 }
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

    mutating func removeFirst() -> LaneSession.Outgoing {
        count -= 1
        let next = next
        let outgoing = classes[next].messages.removeFirst()
        if classes[next].messages.isEmpty { classes.remove(at: next) }
        return outgoing
    }

    mutating func removeNext() -> LaneSession.Outgoing? { count > 0 ? removeFirst() : nil }

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
