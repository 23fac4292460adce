import ClusterModel
import Coordination
import DequeModule
import WireProtocol

// MARK: - Connections as the transport makes and breaks them

extension Simulator {
    /// Pause of the transport before it dials again, and between attempts nobody answers.
    static let redial: Int64 = 100_000_000
    static let retry: Int64 = 500_000_000

    /// TCP's and ZMTP's greetings: three crossings.
    func handshakeTime(_ index: Int) -> Int64 {
        let (from, to) = ends(index, 0)
        return 3 * fabric.oneWay(region(of: from), region(of: to))
    }

    func dial(_ seat: Int, _ member: PlanMember, _ number: UInt16) {
        let lane = LaneID(peer: member.workerID, role: .dialler, index: number)
        if let old = workers[seat].dialled[lane] { close(old) }
        let index = connections.count
        workers[seat].dialled[lane] = index
        connections.append(
            Connection(
                purpose: .lane, dialler: seat, diallerLife: workers[seat].life,
                acceptor: .worker(Int(member.workerID.rawValue)),
                acceptorLife: member.incarnation.rawValue, lane: number))
        queue.schedule(
            .connect(connection: index, generation: 0), at: now + handshakeTime(index))
    }

    func connect(_ index: Int, _ generation: UInt64) {
        guard connections[index].generation == generation, !connections[index].isClosed,
            !connections[index].isUp, isAlive(.worker(connections[index].dialler), on: index)
        else { return }
        guard isReachable(index) else {
            queue.schedule(
                .connect(connection: index, generation: generation), at: now + Self.retry)
            return
        }
        connections[index].isUp = true
        let handshake = WireSize.handshake(encrypts: options.encrypts)
        let (dialler, acceptor) = ends(index, 0)
        fabric.count(bytes: handshake.dialler, from: region(of: dialler), to: region(of: acceptor))
        fabric.count(bytes: handshake.acceptor, from: region(of: acceptor), to: region(of: dialler))
        acceptedCount += 1
        connections[index].acceptedAs = ConnectionID(rawValue: acceptedCount)
        let seat = connections[index].dialler
        switch connections[index].acceptor {
        case .coordinator:
            coordinator.connections[connections[index].acceptedAs] = index
            countBriefing(seat)
            flushOutbox(index)
        case .worker(let peer):
            flushOutbox(index)
            tell(
                seat,
                .laneConnected(
                    LaneID(
                        peer: WorkerID(peer), role: .dialler, index: connections[index].lane)))
        }
    }

    /// A driver asks for the configuration before its machine exists: a HELLO and a WELCOME more.
    private func countBriefing(_ seat: Int) {
        guard eventBytes != nil else { return }
        let header = FrameHeader(
            run: Self.run, incarnation: Incarnation(rawValue: 1), epoch: .none, rank: .none,
            sequence: 0)
        let welcome = Welcome(
            workerID: WorkerID(seat), version: ProtocolLimits.version,
            configurationDigest: Self.configurationDigest, configuration: configurationText,
            echoSentAt: .zero, coordinatorTime: .zero)
        let region = workers[seat].region
        let home = topology.coordinatorRegion
        fabric.count(
            bytes: frame(header, .hello(hello(seat, nil)), nil).bytes, from: region, to: home)
        fabric.count(bytes: frame(header, .welcome(welcome), nil).bytes, from: home, to: region)
    }

    private func flushOutbox(_ index: Int) {
        while let frame = connections[index].outbox.popFirst() {
            put(frame, on: index, direction: 0)
        }
    }

    private func isReachable(_ index: Int) -> Bool {
        let (from, to) = ends(index, 0)
        guard isAlive(to, on: index),
            !fabric.isCut(from: region(of: from), from, to: region(of: to), to),
            !fabric.isCut(from: region(of: to), to, to: region(of: from), from)
        else { return false }
        guard case .worker(let peer) = to else { return true }
        guard !fabric.isBlocked(connections[index].dialler, peer) else { return false }
        guard options.allowList else { return true }
        return workers[peer].allowed.contains(connections[index].dialler)
    }

    func transmit(
        _ seat: Int, _ lane: LaneID, _ sequence: UInt64, _ epoch: Epoch, _ message: Message,
        _ payload: PayloadHandle?
    ) {
        let peer = Int(lane.peer.rawValue)
        let content = payload.flatMap { workers[seat].pool.content($0) }
        if payload != nil, content == nil {
            checker.find("payloads", now, "\(workers[seat].name) sends a released payload")
        }
        let header = FrameHeader(
            run: Self.run, incarnation: Incarnation(rawValue: workers[seat].life), epoch: epoch,
            rank: workers[seat].machine?.round.plan?.rank ?? .none, lane: lane.index,
            sequence: sequence)
        let frame = frame(header, message, content)
        count(frame, message, content, from: seat, to: peer)
        switch lane.role {
        case .dialler:
            guard let index = workers[seat].dialled[lane] else { return }
            if connections[index].isUp {
                put(frame, on: index, direction: 0)
            } else if options.keepsUnsentFrames,
                connections[index].outbox.count < Connection.outboxLimit
            {
                connections[index].outbox.append(frame)
            }
        case .acceptor:
            // A connection is known by what came in on it: before LANE-HELLO there is no way back.
            guard let index = workers[seat].accepted[lane], connections[index].isUp,
                connections[index].isIntroduced
            else { return }
            put(frame, on: index, direction: 1)
        }
    }

    private func count(
        _ frame: WireFrame, _ message: Message, _ content: PayloadPool.Content?, from seat: Int,
        to peer: Int
    ) {
        let region = workers[peer].region.index
        traffic[seat][region].frames += 1
        traffic[seat][region].bytes += UInt64(frame.frameBytes)
        if case .tokens = message {
            let before = traffic[seat][region].tokenBytes ?? 0
            traffic[seat][region].tokenBytes = before + UInt64(frame.frameBytes)
        }
        guard case .chunk(let chunk) = message else { return }
        traffic[seat][region].values += UInt64(chunk.elements)
        traffic[seat][region].encodedBytes += UInt64(content?.bytes ?? 0)
    }

    func hangUp(_ seat: Int, _ lane: LaneID) {
        switch lane.role {
        case .dialler:
            if let index = workers[seat].dialled.removeValue(forKey: lane) { close(index) }
        case .acceptor: workers[seat].accepted[lane] = nil
        }
    }

    /// In order: what was sent arrives, then the other side sees the end.
    private func close(_ index: Int) {
        connections[index].isClosed = true
        breakLater(index, from: .worker(connections[index].dialler))
    }

    func breakLater(_ index: Int, from node: Node) {
        let direction = node == .worker(connections[index].dialler) ? 0 : 1
        let (from, to) = ends(index, direction)
        let last = connections[index].flows[direction].lastDue
        let due = max(now + fabric.oneWay(region(of: from), region(of: to)), last)
        queue.schedule(
            .breaks(connection: index, generation: connections[index].generation), at: due)
    }

    /// The process of `seat` is gone: its kernel ends its connections.
    func abandonConnections(of seat: Int) {
        let life = workers[seat].life
        for index in connections.indices where connections[index].isUp {
            let connection = connections[index]
            if connection.dialler == seat, connection.diallerLife == life {
                close(index)
            } else if connection.acceptor == .worker(seat), connection.acceptorLife == life {
                breakLater(index, from: .worker(seat))
            }
        }
    }

    /// Everything under way is lost; the dialler's transport dials again.
    func reset(_ index: Int) {
        guard connections[index].isUp else { return }
        connections[index].isUp = false
        connections[index].isIntroduced = false
        connections[index].generation += 1
        connections[index].flows = [Connection.Flow(), Connection.Flow()]
        let connection = connections[index]
        let seat = connection.dialler
        if !connection.isClosed, isAlive(.worker(seat), on: index) {
            queue.schedule(
                .connect(connection: index, generation: connection.generation),
                at: now + Self.redial + handshakeTime(index))
        }
        queue.schedule(.notice(connection: index, direction: 0), at: now)
        if connection.purpose == .lane, options.acceptorNoticesReset {
            queue.schedule(.notice(connection: index, direction: 1), at: now)
        }
    }

    func noticeReset(_ index: Int, _ direction: Int) {
        let connection = connections[index]
        let seat = connection.dialler
        switch (connection.acceptor, direction) {
        case (.coordinator, _):
            if isAlive(.worker(seat), on: index) { tell(seat, .controlDown) }
        case (.worker, 0):
            guard isAlive(.worker(seat), on: index), let lane = connection.dialledLane,
                workers[seat].dialled[lane] == index
            else { return }
            tell(seat, .laneDisconnected(lane))
        case (.worker(let peer), _):
            let lane = connection.acceptedLane
            guard isAlive(.worker(peer), on: index), workers[peer].accepted[lane] == index,
                !connection.isIntroduced
            else { return }
            tell(peer, .laneDisconnected(lane))
        }
    }
}
