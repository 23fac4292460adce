import ClusterModel
import Coordination
import WireProtocol

// MARK: - The control protocol between the coordinator and the stand-ins

extension RoundSimulator {
    // MARK: From the coordinator

    func send(_ message: Message, to seat: Int) {
        let due = control.deliver(
            bytes: sizes.bytes(message), from: topology.coordinatorRegion,
            to: standIns[seat].region, sender: .coordinator, now: now,
            after: standIns[seat].lastDown)
        standIns[seat].lastDown = due
        let notice: RoundOccurrence.Notice
        switch message {
        case .welcome: notice = .welcome
        case .plan(let plan):
            if exchange == nil {
                adopt(plan)
            } else if plan.planVersion != adoptedVersion {
                return giveUp("the coordinator made plan \(plan.planVersion)")
            }
            notice = .plan(version: plan.planVersion)
        case .go: notice = .go
        case .commit(let commit): notice = .commit(round: commit.key.round)
        case .stop: notice = .stop
        case .bye: notice = .bye
        case .heartbeatAck:
            // It takes its place on the link, and a stand-in has no use for it.
            return
        default:
            return giveUp("the coordinator said \(message.type) to '\(standIns[seat].name)'")
        }
        queue.schedule(.toWorker(seat: seat, notice), at: due)
    }

    /// Members that are put out or join are beyond this fidelity. It happens on links so slow that
    /// heartbeats wait behind plans for longer than the silence that evicts.
    private func giveUp(_ what: String) {
        guard outcome == nil else { return }
        outcome = (
            .unavailable,
            "\(what): the links are too slow for the control plane of so many workers, or a deadline too "
                + "short; fidelity round knows one membership only"
        )
    }

    func notify(_ seat: Int, _ notice: RoundOccurrence.Notice) {
        switch notice {
        case .welcome:
            standIns[seat].isWelcome = true
            startBeats(of: seat)
        case .plan(let version): link(seat, version)
        case .go: begin(seat)
        case .commit(let round): learnCommit(seat, round)
        case .stop: leave(seat)
        case .bye: standIns[seat].hasLeft = true
        }
    }

    /// The first plan fixes who does what.
    private func adopt(_ plan: Plan) {
        adoptedVersion = plan.planVersion
        let members = plan.members.map {
            (seat: Int($0.workerID.rawValue), region: $0.region, weight: $0.ownerWeight)
        }
        let isOfOneRegion = members.allSatisfy { $0.region == members[0].region }
        let shape = ExchangeShape(
            members: members, schedule: configuration.schedule, elements: parameters,
            transform: isOfOneRegion && configuration.schedule.isOneCollective
                ? plan.regionTransform : plan.poolTransform,
            chunkElements: CollectiveGeometry.chunkElements, encrypts: options.encrypts)
        exchange = PoolExchange(
            shape: shape, cost: cost,
            acknowledgement: sizes.bytes(.acknowledge(Acknowledge(received: 0, grantedTo: 0))))
        let isLockstep = configuration.schedule.inner == .everyStep
        for region in shape.regions {
            let groups = isLockstep || isByRegion ? [region.seats] : region.seats.map { [$0] }
            for seats in groups {
                for seat in seats { standIns[seat].unit = units.count }
                units.append(
                    StepUnit(region: region.id, seats: seats, awaitsGo: seats.count))
            }
            if isLockstep || exchange?.shape.forwards == true, region.seats.count > 1 {
                let keptApart = configuration.keepsExpertsAtHolders ? plan.experts.elements : 0
                regionExchanges[region.id.index] = RegionExchange(
                    workers: region.seats.count, elements: parameters - keptApart,
                    transform: plan.regionTransform, options: options,
                    chunk: configuration.schedule.reducesParts
                        ? CollectiveGeometry.chunkElements
                        : CollectiveGeometry.chunkElements(of: plan.regionTransform),
                    hasMeans: !configuration.schedule.reducesParts,
                    spread: configuration.spreadsExperts && keptApart == 0 ? plan.experts : [])
            }
        }
        openLanes(shape)
    }

    /// Every member dials every other, with as many lanes as the machine would: the transport's
    /// handshake, LANE-HELLO there, LANE-WELCOME back.
    private func openLanes(_ shape: ExchangeShape) {
        let hello = LaneHello(
            peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(0))
        let welcome = LaneWelcome(resumeFrom: 0, grantedTo: 0)
        let handshake = WireSize.handshake(encrypts: options.encrypts)
        let bytes =
            sizes.bytes(.laneHello(hello)) + sizes.bytes(.laneWelcome(welcome))
            + handshake.dialler + handshake.acceptor
        for from in shape.regions {
            for to in shape.regions where to.id != from.id {
                let roundTrip = fabric.oneWay(from.id, to.id) + fabric.oneWay(to.id, from.id)
                let lanes = LaneDecision.choose(
                    LaneRoute(over: topology, from: from.id, to: to.id),
                    roundTrip: Interval(nanoseconds: roundTrip), conditions: LaneConditions()
                ).lanes
                _ = fabric.deliver(
                    bytes: Int(lanes) * bytes * from.seats.count * to.seats.count, from: from.id,
                    to: to.id,
                    sender: .worker(from.seats[0]), now: now, after: .min)
            }
        }
    }

    /// Connects to all members; the furthest one decides: a TCP connection, then hello and welcome.
    private func link(_ seat: Int, _ version: UInt32) {
        guard let exchange else { return }
        let furthest = exchange.shape.regions.map {
            fabric.oneWay(standIns[seat].region, $0.id)
        }.max()
        queue.schedule(.linked(seat: seat, version: version), at: now + 5 * (furthest ?? 0))
    }

    // MARK: To the coordinator

    func say(_ word: RoundOccurrence.Word, from seat: Int, at time: Int64) {
        let due = up(message(word, seat), from: seat, at: time)
        // Of workers that are one event some are ahead of it.
        queue.schedule(.toCoordinator(seat: seat, word), at: max(now, due))
    }

    private func up(_ message: Message, from seat: Int, at time: Int64) -> Int64 {
        let due = control.deliver(
            bytes: sizes.bytes(message), from: standIns[seat].region,
            to: topology.coordinatorRegion, sender: .worker(seat), now: time,
            after: standIns[seat].lastUp)
        standIns[seat].lastUp = due
        return due
    }

    func hear(_ word: RoundOccurrence.Word, from seat: Int) {
        hear(message(word, seat), seat)
    }

    private func hear(_ message: Message, _ seat: Int) {
        tell(
            .message(
                from: standIns[seat].connection, name: standIns[seat].name,
                incarnation: Incarnation(rawValue: 1), message))
    }

    private func message(_ word: RoundOccurrence.Word, _ seat: Int) -> Message {
        switch word {
        case .hello: return .hello(hello(seat))
        case .ready(let version):
            return .ready(Ready(planVersion: version, step: 0, holdings: []))
        case .report(let round, let tokens):
            return .report(
                Report(
                    key: .outer(fragment: FragmentID(0), round: round), digest: UInt64(round),
                    step: UInt64(units[standIns[seat].unit].step), tokens: tokens))
        case .leave:
            return .leave(
                Leave(code: UInt16(ExitCode.ok.rawValue), reason: "all steps are trained"))
        }
    }

    private func hello(_ seat: Int) -> Hello {
        let key = PublicKey(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: seat), count: 32))
        guard let key else { preconditionFailure("a key has 32 bytes") }
        return Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: standIns[seat].name,
            region: topology.regions[standIns[seat].region.index].name,
            endpoint: "sim://\(standIns[seat].name)/1", dataKey: key, parameterCount: parameters,
            configurationDigest: Simulator.configurationDigest, round: 0, step: 0, stateDigest: 0,
            samples: 0, sentAt: Instant(nanoseconds: now))
    }

    // MARK: Heartbeats

    private func startBeats(of seat: Int) {
        let group = isByRegion ? standIns[seat].region.index : seat
        guard !beatsStarted[group], beatGroups[group].allSatisfy({ standIns[$0].isWelcome }) else {
            return
        }
        beatsStarted[group] = true
        queue.schedule(.beat(group: group), at: now)
    }

    /// All of a group send; one event stands for their arrivals.
    func beat(_ group: Int) {
        var last = now
        var isAlive = false
        for seat in beatGroups[group] where !standIns[seat].isParting {
            isAlive = true
            last = max(last, up(heartbeat(seat, now), from: seat, at: now))
        }
        guard isAlive else { return }
        queue.schedule(.beats(group: group, sentAt: now), at: last)
        queue.schedule(
            .beat(group: group), at: now + CoordinationLimits.heartbeatInterval.nanoseconds)
    }

    func hearBeats(_ group: Int, _ sentAt: Int64) {
        for seat in beatGroups[group] where !standIns[seat].isParting {
            hear(heartbeat(seat, sentAt), seat)
            if outcome != nil { return }
        }
    }

    private func heartbeat(_ seat: Int, _ sentAt: Int64) -> Message {
        let step = units.isEmpty ? 0 : units[standIns[seat].unit].step
        return .heartbeat(
            Heartbeat(
                sentAt: Instant(nanoseconds: sentAt), step: UInt64(step), phase: .computing,
                waitingForRanks: [], samples: 0))
    }

    // MARK: The end

    /// Saves once the trainer is done with what it is at, then leaves.
    private func leave(_ seat: Int) {
        let start = max(now, standIns[seat].clock)
        let saving = cost.time(20 * Int(parameters), at: cost.stateRate)
        standIns[seat].book(\.wait, start - standIns[seat].clock)
        standIns[seat].book(\.recover, saving)
        standIns[seat].clock = start + saving
        queue.schedule(.saved(seat: seat), at: start + saving)
    }
}
