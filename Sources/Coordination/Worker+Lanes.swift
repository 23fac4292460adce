import ClusterModel
import WireProtocol

// MARK: - Lanes

extension Worker {
    /// One dialled lane to every other member; lanes of earlier lives are dropped. A peer that a plan
    /// leaves out can come back in the same life (a joiner that must wait for the next boundary), and it
    /// goes on numbering where it was: its lanes are parked, not dropped.
    mutating func replaceLanes(_ plan: Plan) {
        for lane in lanes.keys.sorted() {
            let member = plan.members.first { $0.workerID == lane.peer }
            if member == nil {
                park(lane)
            } else if member?.incarnation != laneIncarnations[lane] {
                drop(lane)
            }
        }
        for member in plan.members where member.workerID != worker {
            let lane = LaneID(peer: member.workerID, role: .dialler)
            if parkedLanes.remove(lane) != nil {
                effects.append(.dial(member))
                continue
            }
            guard lanes[lane] == nil else { continue }
            lanes[lane] = LaneSession(
                role: .dialler,
                hello: LaneHello(
                    peerIncarnation: member.incarnation, workerID: worker, resumeFrom: 0,
                    grantedTo: 0), window: laneWindow(member))
            laneIncarnations[lane] = member.incarnation
            effects.append(.dial(member))
        }
        for member in plan.members {
            let lane = LaneID(peer: member.workerID, role: .acceptor)
            if let frame = earlyHellos.removeValue(forKey: lane) { accept(lane, frame) }
        }
    }

    private mutating func park(_ lane: LaneID) {
        guard lane.role == .dialler, parkedLanes.insert(lane).inserted else { return }
        apply(lanes[lane]?.handle(.disconnected) ?? [], of: lane)
        effects.append(.hangUp(lane))
    }

    private mutating func drop(_ lane: LaneID) {
        guard let session = lanes.removeValue(forKey: lane) else { return }
        let isParked = parkedLanes.remove(lane) != nil
        laneIncarnations[lane] = nil
        for handle in session.heldPayloads() { release(handle) }
        // An accepted lane is dropped for a later life, whose connection may be here already.
        if lane.role == .dialler, !isParked { effects.append(.hangUp(lane)) }
    }

    mutating func connectLane(_ peer: WorkerID) {
        let lane = LaneID(peer: peer, role: .dialler)
        apply(lanes[lane]?.handle(.connected) ?? [], of: lane)
    }

    mutating func disconnectLane(_ lane: LaneID) {
        guard let session = lanes[lane] else { return }
        let wasOpen = session.phase == .open
        apply(lanes[lane]?.handle(.disconnected) ?? [], of: lane)
        guard wasOpen, let incarnation = laneIncarnations[lane],
            let member = round.plan?.member(lane.peer)
        else { return }
        effects.append(
            .control(
                .suspect(
                    Suspect(
                        rank: member.rank, incarnation: incarnation, reason: .connectionReset))))
    }

    mutating func receive(_ lane: LaneID, _ frame: LaneFrame, _ now: Instant) {
        if let payload = frame.payload {
            ledger.adopt(
                payload,
                from: PayloadLedger.Origin(
                    lane: lane, incarnation: frame.incarnation, bytes: frame.payloadBytes))
        }
        if case .laneHello = frame.message {
            greet(lane, frame)
            return
        }
        guard lanes[lane] != nil, laneIncarnations[lane] == frame.incarnation else {
            // A frame of a connection that was replaced; what matters in it is sent again.
            frame.payload.map { forget($0) }
            return
        }
        let answers =
            lanes[lane]?.handle(
                .received(
                    sequence: frame.sequence, message: frame.message, payload: frame.payload,
                    payloadBytes: frame.payloadBytes)) ?? []
        apply(answers, of: lane, frame: frame, now)
    }

    /// Releases a payload that never counted against a lane's credit.
    private mutating func forget(_ handle: PayloadHandle) {
        if ledger.release(handle).freed { effects.append(.release(handle)) }
    }

    private mutating func greet(_ lane: LaneID, _ frame: LaneFrame) {
        guard lane.role == .acceptor else { return }
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
        if lanes[lane] == nil {
            lanes[lane] = LaneSession(
                role: .acceptor, hello: hello,
                window: laneWindow(round.plan?.member(lane.peer)))
            laneIncarnations[lane] = frame.incarnation
        }
        apply(lanes[lane]?.handle(.connected) ?? [], of: lane)
        let resent =
            lanes[lane]?.handle(
                .received(sequence: 0, message: frame.message, payload: nil, payloadBytes: 0)) ?? []
        apply(resent, of: lane)
    }

    /// Effects of a session that cannot deliver anything.
    mutating func apply(_ effects: [LaneSession.Effect], of lane: LaneID) {
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
                sayReadyIfLinked()
                fetchStateIfNeeded()
            case .violation(let what): blame(lane.peer, what)
            case .deliver: preconditionFailure("delivered without a frame")
            }
        }
    }

    private mutating func apply(
        _ effects: [LaneSession.Effect], of lane: LaneID, frame: LaneFrame, _ now: Instant
    ) {
        for effect in effects {
            if case .deliver = effect {
                sort(lane, frame, now)
            } else {
                apply([effect], of: lane)
            }
        }
    }

    /// By epoch: now, later, or never.
    private mutating func sort(_ lane: LaneID, _ frame: LaneFrame, _ now: Instant) {
        guard let epoch = round.plan?.epoch, frame.epoch <= epoch else {
            postponed.append((lane, frame))
            return
        }
        if frame.epoch < epoch {
            frame.payload.map { release($0) }
            return
        }
        deliver(lane, frame, now)
    }

    mutating func replayPostponed(_ now: Instant) {
        let waiting = postponed
        postponed = []
        for (lane, frame) in waiting { sort(lane, frame, now) }
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
        case .laneHello, .laneWelcome, .acknowledge, .laneBye, .hello, .welcome, .refuse, .plan,
            .ready, .go, .heartbeat, .heartbeatAck, .report, .commit, .close, .event, .suspect,
            .leave, .bye, .stop, .evicted, .error, .enrol, .enrolled:
            preconditionFailure("the lane session delivers sequenced messages only")
        }
    }

    /// Sends to a peer over the lane this worker dialled.
    mutating func send(
        to peer: WorkerID, _ message: Message, payload: PayloadHandle?, bytes: Int
    ) {
        let lane = LaneID(peer: peer, role: .dialler)
        guard lanes[lane] != nil, let epoch = round.plan?.epoch else {
            payload.map { release($0) }
            return
        }
        let outgoing = LaneSession.Outgoing(
            epoch: epoch, message: message, payload: payload, payloadBytes: bytes)
        apply(lanes[lane]?.handle(.enqueue(outgoing)) ?? [], of: lane)
    }

    mutating func blame(_ peer: WorkerID, _ what: String) {
        let name = round.plan?.member(peer)?.name ?? "worker \(peer.rawValue)"
        effects.append(.event(.violation(culprit: name, what: what)))
    }
}
