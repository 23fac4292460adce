package import ClusterModel
package import WireProtocol

/// All lanes this worker dialled to one life of one peer: one queue of what is to be sent, from which
/// every open lane takes what it has credit for. So a slow or lost lane holds up what it has taken, and
/// nothing else.
///
/// Lane 0 comes first; when it stands, its round trip decides how many there are.
package struct LaneBundle: Sendable {
    package enum Event: Codable, Equatable, Sendable {
        /// A lane's transport is up.
        case connected(lane: UInt16)
        case disconnected(lane: UInt16)
        /// Something to send; leaves by priority when a lane has credit.
        case enqueue(LaneSession.Outgoing)
        case received(
            lane: UInt16, sequence: UInt64, message: Message, payload: PayloadHandle?,
            payloadBytes: Int)
        /// The receiver has let go of payload bytes that came in on this lane.
        case consumed(lane: UInt16, bytes: Int)
        /// A reconfiguration: what has not left yet is of no use to anybody.
        case dropUnsent
        /// Some time has passed: see ``LaneSession/Event``.
        case watch
    }

    package enum Effect: Codable, Equatable, Sendable {
        case lane(UInt16, LaneSession.Effect)
        case decided(LaneDecision)
        case dial(lane: UInt16)
        /// Given back unsent.
        case dropped(PayloadHandle)
    }

    package let member: PlanMember
    package private(set) var sessions: [LaneSession] = []
    package private(set) var decision: LaneDecision?
    /// Of this machine; may change until the decision is made.
    package var conditions: LaneConditions
    private let route: LaneRoute
    private let hello: LaneHello
    /// Payload bytes granted to the peer on all lanes together.
    private let window: UInt64
    private var queue = LaneQueue()
    private var greetedAt: Instant?

    /// - Parameter hello: what all lanes say; number of lanes and grants are filled in here.
    package init(
        to member: PlanMember, over route: LaneRoute, hello: LaneHello, window: UInt64,
        conditions: LaneConditions = LaneConditions()
    ) {
        self.member = member
        self.route = route
        self.window = window
        self.conditions = conditions
        self.hello = hello
        addLanes(1, announcing: route.fixed?.lanes ?? 0)
    }

    /// Whether anything can be sent.
    package var isLinked: Bool { sessions.contains { $0.phase == .open } }
    /// Whether a lane is to be watched.
    var isRepairing: Bool { sessions.contains { $0.isRepairing } }
    package var laneCount: UInt16 { UInt16(sessions.count) }
    /// Messages that are not acknowledged.
    package var queued: Int { queue.count + sessions.reduce(0) { $0 + $1.unacknowledged } }
    /// Payload bytes that were sent, those of RELAYs included, and of these what is not acknowledged.
    var loadSent: UInt64 { sessions.reduce(0) { $0 + $1.loadSent } }
    var bytesInFlight: UInt64 { sessions.reduce(0) { $0 + $1.bytesInFlight } }
    package var framesResent: UInt64 { sessions.reduce(0) { $0 + $1.framesResent } }

    /// For people: what waits, and what each lane has under way and may still send.
    package var state: String {
        let lanes = sessions.map { "\($0.bytesInFlight)/\($0.credit)" }
        return "\(queue.count) wait\(queue.summary), " + lanes.joined(separator: " ")
    }

    package mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
        var effects: [Effect]
        switch event {
        case .connected(let lane):
            guard sessions.indices.contains(Int(lane)) else { return [] }
            if lane == 0 { greetedAt = now }
            effects = told(lane, .connected)
        case .disconnected(let lane):
            guard sessions.indices.contains(Int(lane)) else { return [] }
            effects = told(lane, .disconnected)
        case .enqueue(let outgoing):
            queue.append(outgoing, .priority(of: outgoing.message))
            effects = flush()
        case .received(let lane, let sequence, let message, let payload, let bytes):
            guard sessions.indices.contains(Int(lane)) else { return [] }
            effects = told(
                lane,
                .received(
                    sequence: sequence, message: message, payload: payload, payloadBytes: bytes))
            if case .laneWelcome = message {
                // Last, as in the session: whoever hears of it may send more.
                let opened = effects.last == .lane(lane, .opened) ? effects.popLast() : nil
                effects += decide(now) + flush()
                if let opened { effects.append(opened) }
            } else if case .acknowledge = message {
                effects += flush()
            }
        case .consumed(let lane, let bytes):
            guard sessions.indices.contains(Int(lane)) else { return [] }
            effects = told(lane, .consumed(bytes: bytes))
        case .dropUnsent:
            effects = queue.removeUnsent().compactMap { $0.payload.map(Effect.dropped) }
        case .watch:
            effects = []
            for lane in 0..<laneCount { effects += told(lane, .watch) }
        }
        precondition(queued <= CoordinationLimits.laneQueueMessages, "lane queue over its limit")
        return effects
    }

    /// Everything these lanes still refer to; used when the peer is gone for good.
    package func heldPayloads() -> [PayloadHandle] {
        sessions.flatMap { $0.heldPayloads() } + queue.payloads
    }

    private mutating func told(_ lane: UInt16, _ event: LaneSession.Event) -> [Effect] {
        sessions[Int(lane)].handle(event).map { .lane(lane, $0) }
    }

    /// The lane with the least under way takes what is next: those that acknowledge fast get more.
    private mutating func flush() -> [Effect] {
        var effects: [Effect] = []
        while let (place, lane) = queue.next({ freest(for: $0) }) {
            effects += told(lane, .send(queue.removeFirst(of: place)))
        }
        return effects
    }

    private func freest(for outgoing: LaneSession.Outgoing) -> UInt16? {
        var best: Int?
        for index in sessions.indices where sessions[index].takes(outgoing, onFirst: index == 0) {
            if let known = best, sessions[known].bytesInFlight <= sessions[index].bytesInFlight {
                continue
            }
            best = index
        }
        return best.map { UInt16($0) }
    }

    private mutating func decide(_ now: Instant) -> [Effect] {
        guard decision == nil, let greetedAt, sessions[0].phase == .open else { return [] }
        let decision = LaneDecision.choose(
            route, roundTrip: now - greetedAt, conditions: conditions)
        self.decision = decision
        let old = laneCount
        addLanes(decision.lanes, announcing: decision.lanes)
        for lane in 0..<old {
            _ = told(lane, .decided(lanes: decision.lanes))
            _ = told(lane, .resize(window: share(decision.lanes)))
        }
        return [.decided(decision)] + (old..<laneCount).map { .dial(lane: $0) }
    }

    private mutating func addLanes(_ count: UInt16, announcing lanes: UInt16) {
        var hello = hello
        hello.lanes = lanes
        while laneCount < count {
            sessions.append(LaneSession(role: .dialler, hello: hello, window: share(lanes)))
        }
    }

    private func share(_ lanes: UInt16) -> UInt64 {
        CoordinationLimits.laneShare(of: window, lanes: lanes)
    }
}
