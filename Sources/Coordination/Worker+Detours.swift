import ClusterModel
import WireProtocol

/// A lane to a peer that no connection leads to: a third member passes its frames on. It belongs to one
/// life of the peer, over any number of plans and relays.
struct DetourLane: Sendable {
    /// Of the peer.
    let incarnation: Incarnation
    /// The first plan here that names this life: what is older comes from an earlier one.
    let since: Epoch
    /// Who passes on under the plan in force, and which life of it; nil: nobody, the plan has no detour.
    var relay: (worker: WorkerID, incarnation: Incarnation)?
    var session: LaneSession
    /// Waits for credit.
    var queue = LaneQueue()
    /// Came before its turn: the relay may use several lanes. In order of their numbers.
    var early: [(relay: Relay, frame: Worker.LaneFrame)] = []

    init(_ incarnation: Incarnation, since: Epoch, session: LaneSession) {
        self.incarnation = incarnation
        self.since = since
        self.session = session
    }

    /// Of what waits, what may leave next; nil: nothing.
    var nextPlace: Int? {
        queue.next { session.takes($0, onFirst: true) ? true : nil }?.place
    }

    var heldPayloads: [PayloadHandle] {
        session.heldPayloads() + queue.payloads + early.compactMap(\.frame.payload)
    }

    /// Keeps what is not due yet; false if it is held already, or more than the peer may have under way.
    mutating func keep(_ relay: Relay, _ frame: Worker.LaneFrame, window: UInt64) -> Bool {
        let bytes = early.reduce(frame.payloadBytes) { $0 + $1.frame.payloadBytes }
        let isHeld = relay.sequence > 0 && early.contains { $0.relay.sequence == relay.sequence }
        guard !isHeld, UInt64(bytes) <= window, early.count < CoordinationLimits.laneQueueMessages
        else { return false }
        let place = early.firstIndex { $0.relay.sequence > relay.sequence } ?? early.count
        early.insert((relay, frame), at: place)
        return true
    }

    /// What is due now; frames outside the sequence always are.
    mutating func next() -> (relay: Relay, frame: Worker.LaneFrame)? {
        guard let first = early.first, first.relay.sequence <= session.received + 1 else {
            return nil
        }
        return early.removeFirst()
    }
}

// MARK: - Detours

extension Worker {
    /// Whether what is sent to `peer` can leave.
    func isLinked(to peer: WorkerID) -> Bool {
        if let detour = activeDetour(peer) { return detour.session.phase == .open }
        return isLinked(peer, answered[peer] == nil ? .dialler : .acceptor)
    }

    /// The lane over a detour to `peer`, if the plan in force has one.
    @inline(__always) func activeDetour(_ peer: WorkerID) -> DetourLane? {
        detours[peer].flatMap { $0.relay == nil ? nil : $0 }
    }

    /// Peers of `plan` that a detour leads to.
    func detouredPeers(_ plan: Plan) -> [WorkerID] {
        guard let me = round.plan?.rank else { return [] }
        return plan.detours.compactMap { detour in
            detour.a == me ? peer(detour.b) : detour.b == me ? peer(detour.a) : nil
        }
    }

    /// Whom to answer on their own lanes: who cannot be dialled, and who could not be so far. What waited
    /// for lanes that are not used any more comes back, to leave another way: at a boundary the others
    /// may still need it, and RELAYs are numbered between their two ends.
    mutating func replaceAnswered(_ plan: Plan) -> [(LaneSession.Outgoing, to: WorkerID)] {
        var kept: [WorkerID: LaneQueue] = [:]
        for member in plan.members {
            let peer = member.workerID
            // Accepted lanes of an earlier life are gone by now.
            let couldNot = answered[peer] != nil && isLinked(peer, .acceptor)
            guard member.endpoint.isEmpty || couldNot else { continue }
            kept[peer] = answered.removeValue(forKey: peer) ?? LaneQueue()
        }
        var unsent: [(LaneSession.Outgoing, to: WorkerID)] = []
        for peer in answered.keys.sorted() {
            while let outgoing = answered[peer]?.removeNext() {
                let isRelay = outgoing.message.type == .relay
                if plan.members.contains(where: { $0.workerID == peer }),
                    isRelay || plan.activateAtRound > 0
                {
                    unsent.append((outgoing, to: peer))
                } else {
                    outgoing.payload.map { release($0) }
                }
            }
        }
        answered = kept
        return unsent
    }

    /// The accepted lane with the least under way takes what is next.
    mutating func flushAnswers(to peer: WorkerID) {
        while let (place, lane) = answered[peer]?.next({ freestAccepted(peer, for: $0) }),
            let outgoing = answered[peer]?.removeFirst(of: place)
        {
            apply(accepted[lane]?.handle(.send(outgoing)) ?? [], of: lane)
        }
    }

    private func freestAccepted(_ peer: WorkerID, for outgoing: LaneSession.Outgoing) -> LaneID? {
        var best: (lane: LaneID, bytes: UInt64)?
        for index in 0..<ProtocolLimits.lanes {
            let lane = LaneID(peer: peer, role: .acceptor, index: index)
            guard let session = accepted[lane], session.takes(outgoing, onFirst: index == 0)
            else { continue }
            if let best, best.bytes <= session.bytesInFlight { continue }
            best = (lane, session.bytesInFlight)
        }
        return best?.lane
    }

    /// Lanes over the plan's detours. One that keeps its relay goes on as if nothing had happened: at a round
    /// boundary the peer may still need what is under way.
    mutating func replaceDetours(_ plan: Plan) {
        let peers = detouredPeers(plan)
        for peer in detours.keys.sorted() {
            let member = plan.members.first { $0.workerID == peer }
            if let member, member.incarnation != detours[peer]?.incarnation {
                // Out first: credit of bytes that never had their turn goes back to nobody.
                let old = detours.removeValue(forKey: peer)
                for handle in old?.heldPayloads ?? [] { release(handle) }
            } else if !peers.contains(peer) {
                detours[peer]?.relay = nil
                applyDetour(detours[peer]?.session.handle(.disconnected) ?? [], to: peer)
            }
        }
        guard let me = round.plan?.rank else { return }
        for detour in plan.detours where detour.a == me || detour.b == me {
            let other = detour.a == me ? detour.b : detour.a
            guard plan.members.indices.contains(other.index),
                plan.members.indices.contains(detour.relay.index)
            else { continue }
            direct(
                plan.members[other.index], over: plan.members[detour.relay.index],
                isFirst: detour.a == me)
        }
        greetDetours()
    }

    private mutating func direct(_ member: PlanMember, over relay: PlanMember, isFirst: Bool) {
        let peer = member.workerID
        guard peer != worker, relay.workerID != worker, relay.workerID != peer else { return }
        if detours[peer] == nil {
            detours[peer] = DetourLane(
                member.incarnation, since: round.plan?.epoch ?? .none,
                session: LaneSession(
                    role: isFirst ? .dialler : .acceptor,
                    hello: LaneHello(peerIncarnation: member.incarnation, workerID: worker),
                    window: laneWindow(member)))
        }
        if let old = detours[peer]?.relay, old == (relay.workerID, relay.incarnation),
            detours[peer]?.session.phase == .open
        {
            return
        }
        detours[peer]?.relay = (relay.workerID, relay.incarnation)
        applyDetour(detours[peer]?.session.handle(.disconnected) ?? [], to: peer)
    }

    /// Says LANE-HELLO over every detour whose relay can be reached now.
    mutating func greetDetours() {
        for peer in detours.keys.sorted() {
            guard let detour = detours[peer], detour.session.role == .dialler,
                detour.session.phase == .down, let relay = detour.relay?.worker,
                isLinked(to: relay)
            else { continue }
            applyDetour(detours[peer]?.session.handle(.connected) ?? [], to: peer)
        }
    }

    /// A RELAY on the lane of `hop`: for this worker, or to be passed on; whatever its epoch, unless that
    /// is to come.
    mutating func pass(_ relay: Relay, _ frame: LaneFrame, from hop: LaneID, _ now: Instant) {
        // Whatever the plan: what is to be passed on comes from its origin.
        guard relay.destination == worker || relay.origin == hop.peer else {
            frame.payload.map { release($0) }
            return blame(hop.peer, "sends a RELAY of seat \(relay.origin.rawValue) to be passed on")
        }
        guard let plan = round.plan else { return postpone(hop, frame) }
        if relay.destination == worker { return takeRelayed(relay, frame, from: hop, now) }
        let ends = [relay.origin, relay.destination]
        let isOnItsWay = plan.plan.detours.contains { detour in
            detour.relay == plan.rank
                && [peer(detour.a), peer(detour.b)].allSatisfy { $0.map(ends.contains) ?? false }
        }
        guard isOnItsWay, relay.origin != relay.destination else {
            return refuse(relay, frame, from: hop)
        }
        send(
            to: relay.destination, .relay(relay), payload: frame.payload, bytes: 0,
            relayedBytes: frame.payloadBytes)
    }

    /// Of a plan that is to come, or of one that is over: both are nobody's fault.
    private mutating func refuse(_ relay: Relay, _ frame: LaneFrame, from hop: LaneID) {
        let epoch = round.plan?.epoch ?? .none
        guard frame.epoch <= epoch else { return postpone(hop, frame) }
        frame.payload.map { release($0) }
        guard frame.epoch == epoch else { return }
        blame(
            hop.peer,
            "sends a RELAY from seat \(relay.origin.rawValue) to \(relay.destination.rawValue), "
                + "and no detour of the plan leads over this worker")
    }

    private mutating func takeRelayed(
        _ relay: Relay, _ frame: LaneFrame, from hop: LaneID, _ now: Instant
    ) {
        let sender = relay.origin
        guard let detour = activeDetour(sender), detour.relay?.worker == hop.peer,
            let plan = round.plan, let member = plan.member(sender)
        else { return refuse(relay, frame, from: hop) }
        guard relay.epoch <= plan.epoch else { return postpone(hop, frame) }
        guard relay.epoch >= detour.since else {
            frame.payload.map { release($0) }
            return
        }
        let lane = LaneID(peer: sender, role: detour.session.role)
        let window = laneWindow(member)
        guard detours[sender]?.keep(relay, frame, window: window) == true else {
            frame.payload.map { release($0) }
            return
        }
        if let payload = frame.payload {
            ledger.assign(
                payload,
                to: PayloadLedger.Origin(
                    lane: lane, incarnation: detour.incarnation, bytes: frame.payloadBytes,
                    isDetoured: true))
        }
        while let (relay, frame) = detours[sender]?.next() {
            takeNext(relay, frame, on: lane, of: member, now)
        }
        flushDetour(to: sender)
    }

    private mutating func takeNext(
        _ relay: Relay, _ frame: LaneFrame, on lane: LaneID, of member: PlanMember, _ now: Instant
    ) {
        let sender = lane.peer
        guard let plan = round.plan, let detour = detours[sender] else { return }
        if case .laneHello(let hello) = relay.inner {
            guard detour.session.role == .acceptor, hello.peerIncarnation == plan.me.incarnation
            else { return blame(sender, "LANE-HELLO over a detour for another life or rank") }
            applyDetour(detours[sender]?.session.handle(.connected) ?? [], to: sender)
        }
        // The answer to a greeting that a new relay has overtaken.
        if case .laneWelcome = relay.inner, detour.session.phase != .greeting { return }
        let answers =
            detours[sender]?.session.handle(
                .received(
                    sequence: relay.sequence, message: relay.inner, payload: frame.payload,
                    payloadBytes: frame.payloadBytes)) ?? []
        for answer in answers {
            guard case .deliver = answer else {
                applyDetour([answer], to: sender)
                continue
            }
            sort(
                lane,
                LaneFrame(
                    incarnation: member.incarnation, epoch: relay.epoch, sequence: relay.sequence,
                    message: relay.inner, payload: frame.payload, payloadBytes: frame.payloadBytes),
                now)
        }
    }

    mutating func sendOverDetour(_ outgoing: LaneSession.Outgoing, to peer: WorkerID) {
        detours[peer]?.queue.append(outgoing, .priority(of: outgoing.message))
        flushDetour(to: peer)
    }

    private mutating func flushDetour(to peer: WorkerID) {
        while let place = detours[peer]?.nextPlace,
            let outgoing = detours[peer]?.queue.removeFirst(of: place)
        {
            applyDetour(detours[peer]?.session.handle(.send(outgoing)) ?? [], to: peer)
        }
    }

    mutating func returnDetourCredit(_ origin: PayloadLedger.Origin) {
        let peer = origin.lane.peer
        guard detours[peer]?.incarnation == origin.incarnation else { return }
        applyDetour(
            detours[peer]?.session.handle(.consumed(bytes: origin.bytes)) ?? [], to: peer)
    }

    /// Whether `plan` leads to `peer` as `detour` does. Between a plan's coming and the change of detours
    /// (`replaceDetours`) shards let go return credit of those of the plan before.
    private func isOf(_ plan: Plan, _ detour: DetourLane, _ peer: WorkerID) -> Bool {
        plan.detours.contains { pair in
            guard let a = member(pair.a, of: plan), let b = member(pair.b, of: plan),
                let relay = member(pair.relay, of: plan)
            else { return false }
            let other = a.workerID == worker ? b : a
            return (a.workerID == worker || b.workerID == worker) && other.workerID == peer
                && other.incarnation == detour.incarnation
                && detour.relay.map { $0 == (relay.workerID, relay.incarnation) } ?? false
        }
    }

    private func member(_ rank: Rank, of plan: Plan) -> PlanMember? {
        plan.members.indices.contains(rank.index) ? plan.members[rank.index] : nil
    }

    /// Effects of a session whose transport is the relay's lane.
    private mutating func applyDetour(_ effects: [LaneSession.Effect], to peer: WorkerID) {
        for effect in effects {
            switch effect {
            case .transmit(let sequence, let epoch, let message, let payload):
                // What cannot leave now is sent again over the next relay.
                guard let plan = round.plan, let detour = detours[peer],
                    isOf(plan.plan, detour, peer), let relay = detour.relay?.worker
                else { continue }
                payload.map { ledger.retain($0) }
                let frame = Relay(
                    origin: worker, destination: peer,
                    epoch: epoch == .none ? plan.epoch : epoch, sequence: sequence, inner: message)
                let carried = detour.session.bytes(inFlight: sequence)
                // Credit is that of the two ends: on the relay's lane it could wait for itself.
                send(
                    to: relay, .relay(frame), payload: payload, bytes: 0, relayedBytes: carried)
            case .acknowledged(let handle): release(handle)
            case .discard(let handle): forget(handle)
            case .opened:
                sayReadyIfLinked()
                askSources()
            case .violation(let what): blame(peer, what)
            // Frames of a detour are put into order before its session sees them.
            case .broken: preconditionFailure("a gap among sorted frames")
            case .deliver: preconditionFailure("delivered without a frame")
            }
        }
    }

    // MARK: Lanes that do not open

    /// A lane that does not open holds everybody up: after a while the peer's own is taken, or the
    /// coordinator is told that there is none.
    mutating func watchLinks(_ now: Instant) {
        unlinkedSince = unlinkedPeers.map { member in
            (
                member.workerID,
                unlinkedSince.first { $0.peer == member.workerID }?.at ?? now
            )
        }
        for index in unlinkedSince.indices
        where now - unlinkedSince[index].at >= CoordinationLimits.laneOpening {
            unlinkedSince[index].at = now
            let peer = unlinkedSince[index].peer
            // In mid-round the peer's own lane would leave behind what waits on the broken one: the plan
            // that answers the suspicion sends it again.
            if round.isFrozen, activeDetour(peer) == nil, answered[peer] == nil,
                isLinked(peer, .acceptor)
            {
                answered[peer] = LaneQueue()
                linked()
            } else if let member = round.plan?.member(peer) {
                suspect(member, .unreachable)
            }
        }
    }

    /// A lane has opened.
    mutating func linked() {
        greetDetours()
        sayReadyIfLinked()
        askSources()
    }
}
