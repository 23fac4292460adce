import ClusterModel
import WireProtocol

// MARK: - Lanes

extension Worker {
    /// Dialled lanes to every other member; lanes of earlier lives are dropped. A peer that a plan
    /// leaves out can come back in the same life (a joiner that must wait for the next boundary), and it
    /// goes on numbering where it was: its lanes are parked, not dropped.
    mutating func replaceLanes(_ plan: Plan) {
        for peer in bundles.keys.sorted() {
            let member = plan.members.first { $0.workerID == peer }
            if member == nil {
                park(peer)
            } else if member?.incarnation != bundles[peer]?.member.incarnation {
                drop(peer)
            }
        }
        for lane in accepted.keys.sorted() {
            let member = plan.members.first { $0.workerID == lane.peer }
            guard let member, member.incarnation != acceptedIncarnations[lane] else { continue }
            // Dropped for a later life, whose connection may be here already: no hanging up.
            let session = accepted.removeValue(forKey: lane)
            acceptedIncarnations[lane] = nil
            for handle in session?.heldPayloads() ?? [] { release(handle) }
        }
        let detoured = detouredPeers(plan)
        for member in plan.members where member.workerID != worker {
            if !member.endpoint.isEmpty, !detoured.contains(member.workerID) {
                dial(member)
            } else if bundles[member.workerID] != nil {
                park(member.workerID)
            }
        }
        for lane in earlyHellos.keys.sorted() {
            guard let member = plan.members.first(where: { $0.workerID == lane.peer }),
                let frame = earlyHellos[lane], frame.incarnation <= member.incarnation
            else { continue }
            earlyHellos[lane] = nil
            // An earlier life's is of no use any more.
            if frame.incarnation == member.incarnation { accept(lane, frame) }
        }
    }

    private mutating func dial(_ member: PlanMember) {
        let peer = member.workerID
        if parkedPeers.remove(peer) != nil {
            for lane in 0..<(bundles[peer]?.laneCount ?? 0) {
                effects.append(.dial(member, lane: lane))
            }
            return
        }
        guard bundles[peer] == nil else { return }
        bundles[peer] = LaneBundle(
            to: member, over: LaneRoute(over: topology, from: round.region, to: member.region),
            hello: LaneHello(peerIncarnation: member.incarnation, workerID: worker),
            window: laneWindow(member), conditions: laneConditions)
        effects.append(.dial(member, lane: 0))
    }

    private func lanes(to peer: WorkerID) -> [LaneID] {
        (0..<(bundles[peer]?.laneCount ?? 0)).map {
            LaneID(peer: peer, role: .dialler, index: $0)
        }
    }

    private mutating func park(_ peer: WorkerID) {
        guard parkedPeers.insert(peer).inserted else { return }
        for lane in lanes(to: peer) {
            tell(peer, .disconnected(lane: lane.index))
            effects.append(.hangUp(lane))
        }
    }

    private mutating func drop(_ peer: WorkerID) {
        if parkedPeers.remove(peer) == nil { hangUp(peer) }
        guard let bundle = bundles.removeValue(forKey: peer) else { return }
        for handle in bundle.heldPayloads() { release(handle) }
    }

    private mutating func hangUp(_ peer: WorkerID) {
        for lane in lanes(to: peer) { effects.append(.hangUp(lane)) }
    }

    /// The end: nothing is dialled or accepted any more.
    mutating func hangUpAll() {
        for peer in bundles.keys.sorted() where !parkedPeers.contains(peer) { hangUp(peer) }
        for lane in accepted.keys.sorted() { effects.append(.hangUp(lane)) }
    }

    mutating func connectLane(_ lane: LaneID) {
        guard lane.role == .dialler else { return }
        tell(lane.peer, .connected(lane: lane.index))
    }

    /// A peer that has lost its last open lane may be dead; one that keeps another is alive.
    mutating func disconnectLane(_ lane: LaneID) {
        let wasLinked = isLinked(lane.peer, lane.role)
        switch lane.role {
        case .dialler: tell(lane.peer, .disconnected(lane: lane.index))
        case .acceptor: apply(accepted[lane]?.handle(.disconnected) ?? [], of: lane)
        }
        guard wasLinked, !isLinked(lane.peer, lane.role), let incarnation = incarnation(of: lane),
            let member = round.plan?.member(lane.peer)
        else { return }
        suspect(member, .connectionReset, incarnation)
    }

    /// Tells the coordinator that something is wrong with a member of the plan.
    ///
    /// - Parameter incarnation: the life it was noticed of; nil: the one in the plan.
    mutating func suspect(
        _ member: PlanMember, _ reason: SuspectReason, _ incarnation: Incarnation? = nil
    ) {
        let suspect = Suspect(
            rank: member.rank, incarnation: incarnation ?? member.incarnation, reason: reason)
        effects.append(.control(.suspect(suspect)))
    }

    func isLinked(_ peer: WorkerID, _ role: LaneSession.Role) -> Bool {
        switch role {
        case .dialler: return bundles[peer]?.isLinked ?? false
        case .acceptor:
            return (0..<ProtocolLimits.lanes).contains {
                accepted[LaneID(peer: peer, role: .acceptor, index: $0)]?.phase == .open
            }
        }
    }

    /// Of the peer whose lane it is; nil for a lane this worker does not have.
    @inline(__always) func incarnation(of lane: LaneID) -> Incarnation? {
        switch lane.role {
        case .dialler: bundles[lane.peer]?.member.incarnation
        case .acceptor: acceptedIncarnations[lane]
        }
    }

    mutating func receive(_ lane: LaneID, _ frame: LaneFrame, _ now: Instant) {
        if let payload = frame.payload {
            ledger.adopt(
                payload,
                from: frame.message.type == .relay
                    ? nil
                    : PayloadLedger.Origin(
                        lane: lane, incarnation: frame.incarnation, bytes: frame.payloadBytes))
        }
        if case .laneHello = frame.message {
            greet(lane, frame)
            return
        }
        guard incarnation(of: lane) == frame.incarnation else {
            // A frame of a connection that was replaced; what matters in it is sent again.
            frame.payload.map { forget($0) }
            return
        }
        // The credit of what is passed on is that of its two ends.
        let bytes = frame.message.type == .relay ? 0 : frame.payloadBytes
        switch lane.role {
        case .dialler:
            let answers =
                bundles[lane.peer]?.handle(
                    .received(
                        lane: lane.index, sequence: frame.sequence, message: frame.message,
                        payload: frame.payload, payloadBytes: bytes), at: now) ?? []
            apply(answers, to: lane.peer, frame: frame)
        case .acceptor:
            let answers =
                accepted[lane]?.handle(
                    .received(
                        sequence: frame.sequence, message: frame.message, payload: frame.payload,
                        payloadBytes: bytes)) ?? []
            apply(answers, of: lane, frame: frame)
            flushAnswers(to: lane.peer)
            meterAnswers(lane.peer)
        }
    }

    /// Releases a payload that never counted against a lane's credit.
    mutating func forget(_ handle: PayloadHandle) {
        if ledger.release(handle).freed { effects.append(.release(handle)) }
    }

    private mutating func greet(_ lane: LaneID, _ frame: LaneFrame) {
        guard lane.role == .acceptor else { return }
        guard lane.index < ProtocolLimits.lanes else {
            return blame(lane.peer, "LANE-HELLO for lane \(lane.index)")
        }
        let member = round.plan?.member(lane.peer)
        if member?.incarnation == frame.incarnation {
            accept(lane, frame)
        } else {
            earlyHellos[lane] = frame
        }
    }

    private mutating func accept(_ lane: LaneID, _ frame: LaneFrame) {
        guard case .laneHello(let hello) = frame.message,
            round.plan?.member(lane.peer)?.incarnation == frame.incarnation,
            round.plan?.me.incarnation == hello.peerIncarnation
        else {
            effects.append(
                .event(
                    .violation(
                        culprit: "worker \(lane.peer.rawValue)",
                        what: "LANE-HELLO for another life of this worker; waiting for a new plan"))
            )
            return
        }
        let share = CoordinationLimits.laneShare(
            of: laneWindow(round.plan?.member(lane.peer)), lanes: hello.lanes)
        if accepted[lane] == nil {
            accepted[lane] = LaneSession(role: .acceptor, hello: hello, window: share)
            acceptedIncarnations[lane] = frame.incarnation
        }
        for index in 0..<ProtocolLimits.lanes {
            _ = accepted[LaneID(peer: lane.peer, role: .acceptor, index: index)]?.handle(
                .resize(window: share))
        }
        let connected = accepted[lane]?.handle(.connected) ?? []
        let resent =
            accepted[lane]?.handle(
                .received(sequence: 0, message: frame.message, payload: nil, payloadBytes: 0)) ?? []
        // What is sent again first: whoever hears that the lane is open may send more.
        apply(
            connected.filter { $0 != .opened } + resent + connected.filter { $0 == .opened },
            of: lane)
        flushAnswers(to: lane.peer)
    }

    // MARK: Effects of lanes

    private mutating func tell(_ peer: WorkerID, _ event: LaneBundle.Event) {
        let now = present
        apply(bundles[peer]?.handle(event, at: now) ?? [], to: peer)
    }

    private mutating func apply(
        _ effects: [LaneBundle.Effect], to peer: WorkerID, frame: LaneFrame? = nil
    ) {
        meterPeer(peer)
        for effect in effects {
            switch effect {
            case .lane(let index, let effect):
                apply(
                    [effect], of: LaneID(peer: peer, role: .dialler, index: index), frame: frame)
            case .decided(let decision):
                say(decision, of: peer)
            case .dial(let lane):
                guard let member = bundles[peer]?.member else { continue }
                self.effects.append(.dial(member, lane: lane))
            case .dropped(let handle): release(handle)
            }
        }
    }

    /// Pairs of two regions mostly decide alike: said once for each region and number.
    private mutating func say(_ decision: LaneDecision, of peer: WorkerID) {
        guard let member = bundles[peer]?.member, member.region != round.region,
            saidLanes[member.region] != decision.lanes
        else { return }
        saidLanes[member.region] = decision.lanes
        effects.append(
            .event(
                .lanesDecided(
                    RunEvent.LaneCount(
                        from: round.region, to: member.region, worker: name, peer: member.name,
                        lanes: decision.lanes, because: decision.because))))
    }

    mutating func apply(
        _ effects: [LaneSession.Effect], of lane: LaneID, frame: LaneFrame? = nil
    ) {
        for effect in effects {
            switch effect {
            case .transmit(let sequence, let epoch, let message, let payload):
                self.effects.append(
                    .transmit(
                        lane, sequence: sequence, epoch: epoch, message: message,
                        payload: payload))
            case .acknowledged(let handle): release(handle)
            case .discard(let handle): forget(handle)
            case .opened:
                linked()
            case .violation(let what): blame(lane.peer, what)
            case .broken: giveUp(lane.peer)
            case .deliver:
                guard let frame else { preconditionFailure("delivered without a frame") }
                sort(lane, frame, present)
            }
        }
    }

    mutating func returnCredit(_ origin: PayloadLedger.Origin) {
        if origin.isDetoured { return returnDetourCredit(origin) }
        let lane = origin.lane
        guard incarnation(of: lane) == origin.incarnation else { return }
        switch lane.role {
        case .dialler: tell(lane.peer, .consumed(lane: lane.index, bytes: origin.bytes))
        case .acceptor:
            apply(accepted[lane]?.handle(.consumed(bytes: origin.bytes)) ?? [], of: lane)
        }
    }

    mutating func dropUnsent() {
        for peer in bundles.keys.sorted() { tell(peer, .dropUnsent) }
        for peer in detours.keys.sorted() {
            let unsent = detours[peer]?.queue.removeUnsent() ?? []
            for handle in unsent.compactMap(\.payload) { release(handle) }
        }
        for peer in answered.keys.sorted() {
            let unsent = answered[peer]?.removeUnsent() ?? []
            for handle in unsent.compactMap(\.payload) { release(handle) }
        }
    }

    /// Lanes on which something is missing: frames that were asked for again can be lost as well.
    mutating func watchRepairs(_ now: Instant) {
        guard now - lanesWatchedAt >= CoordinationLimits.laneWatch else { return }
        lanesWatchedAt = now
        for peer in bundles.keys.sorted() where bundles[peer]?.isRepairing == true {
            tell(peer, .watch)
        }
        for lane in accepted.keys.sorted() where accepted[lane]?.isRepairing == true {
            apply(accepted[lane]?.handle(.watch) ?? [], of: lane)
        }
    }

    /// No lane to the peer is of any use, as if none opened: the coordinator finds another way, or puts one
    /// of the two out. A detour is another way.
    mutating func giveUp(_ peer: WorkerID) {
        guard let member = round.plan?.member(peer), activeDetour(peer) == nil else { return }
        suspect(member, .unreachable)
    }

    /// What is under way to a peer now, for the rate of the link it crosses.
    private mutating func meterPeer(_ peer: WorkerID) {
        guard let bundle = bundles[peer], bundle.member.region != round.region else { return }
        meter.note(
            peer, .dialler, region: bundle.member.region, sent: bundle.loadSent,
            acknowledged: bundle.loadSent - bundle.bytesInFlight)
    }

    /// The same of what goes out on the lanes the peer has dialled.
    mutating func meterAnswers(_ peer: WorkerID) {
        guard answered[peer] != nil, let region = round.plan?.member(peer)?.region,
            region != round.region
        else { return }
        var (sent, inFlight) = (UInt64(0), UInt64(0))
        for index in 0..<ProtocolLimits.lanes {
            guard let session = accepted[LaneID(peer: peer, role: .acceptor, index: index)] else {
                continue
            }
            sent += session.loadSent
            inFlight += session.bytesInFlight
        }
        meter.note(peer, .acceptor, region: region, sent: sent, acknowledged: sent - inFlight)
    }

    // MARK: Messages

    /// By epoch: now, later, or never.
    mutating func sort(_ lane: LaneID, _ frame: LaneFrame, _ now: Instant) {
        if case .relay(let relay) = frame.message { return pass(relay, frame, from: lane, now) }
        guard let epoch = round.plan?.epoch, frame.epoch <= epoch else {
            return postpone(lane, frame)
        }
        if frame.epoch < epoch {
            frame.payload.map { release($0) }
            return
        }
        deliver(lane, frame, now)
    }

    mutating func replayPostponed(_ now: Instant) {
        for (lane, frame) in postponed.removeAll() { sort(lane, frame, now) }
    }

    /// Keeps a frame of an epoch this worker has not reached, unless there is more of them than an honest
    /// peer can have under way.
    mutating func postpone(_ lane: LaneID, _ frame: LaneFrame) {
        let window =
            if case .relay(let relay) = frame.message { relayWindow(relay) } else { UInt64(0) }
        if postponed.keep(lane, frame, window: window) { return }
        frame.payload.map { release($0) }
        blame(lane.peer, "sends more of a plan that is to come than may be under way")
        // Of another's frames that the peer only passes on it is innocent.
        if case .relay(let relay) = frame.message, relay.destination == worker { return }
        // What is dropped was acknowledged, and will not come again.
        if postponed.isFirstOverrun(of: lane.peer) { giveUp(lane.peer) }
    }

    /// Payload bytes that one relayed seat may have under way to the other; 0: no such seats.
    private func relayWindow(_ relay: Relay) -> UInt64 {
        guard let a = regionOfSeat(relay.origin), let b = regionOfSeat(relay.destination) else {
            return 0
        }
        return laneWindow(between: a, and: b)
    }

    private func regionOfSeat(_ seat: WorkerID) -> RegionID? {
        var first = 0
        for (index, region) in topology.regions.enumerated() {
            if Int(seat.rawValue) < first + region.workers.count { return RegionID(index) }
            first += region.workers.count
        }
        return nil
    }

    private mutating func deliver(_ lane: LaneID, _ frame: LaneFrame, _ now: Instant) {
        switch frame.message {
        case .chunk(let chunk):
            guard let handle = frame.payload else { return }
            let payload = EncodedPayload(
                handle: handle, bytes: frame.payloadBytes, elements: chunk.elements,
                transform: chunk.transform, stage: chunk.stage)
            switch chunk.kind {
            case .contribution: contribution(chunk, payload, from: lane.peer, now)
            case .mean:
                // Means are held until the round after; each position once, so the model's size
                // bounds them and not the lane's credit, which a larger model would exhaust.
                ledger.settle(handle).map { returnCredit($0) }
                drive(
                    .mean(
                        WorkerRound.Mean(
                            key: chunk.key, slice: Int(chunk.slice),
                            position: Int(chunk.position), payload: payload,
                            weight: chunk.weight,
                            mayLeave: chunk.flags.contains(.mayLeave))), now)
            }
        case .pull(let pull) where pull.kind == .contribution: drive(.called(key: pull.key), now)
        case .pull(let pull): serve(pull, to: lane.peer)
        case .stateRequest(let request): serveState(request, to: lane.peer)
        case .stateChunk(let chunk): takeState(chunk, frame.payload, from: lane.peer, now)
        case .relay(let relay): pass(relay, frame, from: lane, now)
        case .tokens(let tokens): takeTokens(tokens, frame, from: lane.peer)
        case .laneHello, .laneWelcome, .acknowledge, .laneBye, .hello, .welcome, .refuse, .plan,
            .ready, .go, .heartbeat, .heartbeatAck, .report, .commit, .close, .event, .suspect,
            .leave, .bye, .stop, .evicted, .error, .enrol, .enrolled, .offer:
            preconditionFailure("the lane session delivers sequenced messages only")
        }
    }

    /// Sends to a peer over whichever of the lanes this worker dialled has credit; of the peer's own, if it
    /// cannot be dialled; or over a detour.
    mutating func send(
        to peer: WorkerID, _ message: Message, payload: PayloadHandle?, bytes: Int,
        relayedBytes: Int = 0
    ) {
        guard let epoch = round.plan?.epoch else {
            payload.map { release($0) }
            return
        }
        send(
            LaneSession.Outgoing(
                epoch: epoch, message: message, payload: payload, payloadBytes: bytes,
                relayedBytes: relayedBytes), to: peer)
    }

    mutating func send(_ outgoing: LaneSession.Outgoing, to peer: WorkerID) {
        let isDetour = activeDetour(peer) != nil
        if isDetour, outgoing.message.type == .relay {
            // A RELAY carries no RELAY: over a third member goes what this worker sends itself. The two
            // ends of what waited here have another way by now, and send it again.
            outgoing.payload.map { release($0) }
            return
        }
        let isOwn = !isDetour && answered[peer] == nil
        guard !isOwn || bundles[peer] != nil else {
            outgoing.payload.map { release($0) }
            return
        }
        if isOwn { return tell(peer, .enqueue(outgoing)) }
        if isDetour { return sendOverDetour(outgoing, to: peer) }
        answered[peer]?.append(outgoing, .priority(of: outgoing.message))
        flushAnswers(to: peer)
        meterAnswers(peer)
    }

    mutating func blame(_ peer: WorkerID, _ what: String) {
        let name = round.plan?.member(peer)?.name ?? "worker \(peer.rawValue)"
        effects.append(.event(.violation(culprit: name, what: what)))
    }
}
