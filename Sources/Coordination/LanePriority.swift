import ClusterModel
import DequeModule
package import WireProtocol

/// What leaves first when several messages wait for credit to one peer; less is sooner.
package struct LanePriority: Comparable, Sendable {
    /// 0: a question somebody waits for. 1: means, which are all that their receiver lacks for a step.
    /// 2: tokens. 3: contributions. 4: state of a joiner.
    private let rank: UInt8
    /// Pool scope after region scope: the region's all-reduce blocks the step at hand.
    private let isPool: Bool
    private let due: UInt32

    /// - Parameter due: the inner step at which the fragment is needed, where a schedule knows it;
    ///   otherwise rounds leave in their order.
    package static func priority(of message: Message, due: UInt32? = nil) -> LanePriority {
        switch message {
        case .chunk(let chunk):
            LanePriority(
                rank: chunk.kind == .mean ? 1 : 3, isPool: chunk.key.scope == .pool,
                due: due ?? chunk.key.round)
        case .relay:
            // Costs no credit on this lane and must not wait behind what does: the credit that its own
            // chunks lack may come back only when this one has arrived.
            LanePriority(rank: 0, isPool: false, due: 0)
        case .tokens:
            // A layer of somebody's step waits for them; gradients wait for whole steps. But never before
            // means: a receiver that lacks one reads no tokens of the next step, and these may take all
            // credit there is.
            LanePriority(rank: 2, isPool: false, due: 0)
        case .stateChunk:
            LanePriority(rank: 4, isPool: false, due: 0)
        case .pull, .stateRequest, .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat,
            .heartbeatAck, .report, .commit, .close, .event, .suspect, .leave, .bye, .stop,
            .evicted, .error, .enrol, .enrolled, .offer, .laneHello, .laneWelcome, .acknowledge,
            .laneBye:
            LanePriority(rank: 0, isPool: false, due: 0)
        }
    }

    package static func < (a: LanePriority, b: LanePriority) -> Bool {
        (a.rank, a.isPool ? 1 : 0, a.due) < (b.rank, b.isPool ? 1 : 0, b.due)
    }
}

/// Messages to one peer that have not left: by priority, in order of arrival where it is equal.
struct LaneQueue: Sendable {
    /// Ascending, none empty: a handful, one for each kind and round under way.
    private var classes: [(priority: LanePriority, messages: Deque<LaneSession.Outgoing>)] = []
    private(set) var count = 0

    var first: LaneSession.Outgoing? { classes.first?.messages.first }

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
        let outgoing = classes[0].messages.removeFirst()
        if classes[0].messages.isEmpty { classes.removeFirst() }
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
