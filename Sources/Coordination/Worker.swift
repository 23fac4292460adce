package import ClusterModel
package import WireProtocol

/// One lane as a worker's machine names it: the peer, and who dialled.
package struct LaneID: Hashable, Comparable, Codable, Sendable {
    package var peer: WorkerID
    package var role: LaneSession.Role
    /// Of the connection among those its dialler has to this acceptor, from 0.
    package var index: UInt16
    package init(peer: WorkerID, role: LaneSession.Role, index: UInt16 = 0) {
        self.peer = peer
        self.role = role
        self.index = index
    }
    package static func < (a: LaneID, b: LaneID) -> Bool {
        (a.peer, a.role.rawValue, a.index) < (b.peer, b.role.rawValue, b.index)
    }
}

/// A worker: its round, the shard it owns, its lanes, and its relation to the coordinator. Both
/// drivers drive this one type.
///
/// The driver's duties: carry out effects in order; give every payload handle once and keep its bytes
/// until `.release`; call `handle(.tick, at:)` when `nextDeadline` has passed; never call from two
/// threads.
package struct Worker: Sendable {
    package enum Event: Codable, Equatable, Sendable {
        /// Once, first: the control connection may be used from here on.
        case started
        /// A frame from the coordinator.
        case control(Message, epoch: Epoch)
        /// The control connection broke (the transport reconnects by itself).
        case controlDown
        /// A dialled lane's transport is up.
        case laneConnected(LaneID)
        case laneDisconnected(LaneID)
        /// What the number of lanes depends on; counts for lanes dialled from here on.
        case conditions(LaneConditions)
        /// A frame on a lane. `incarnation` is the sender's, from the header.
        case lane(LaneID, LaneFrame)
        case trainer(TrainerEvent)
        /// The fused pass of an owned chunk position has ended.
        case reduced(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, mean: EncodedPayload)
        /// Rows for the experts of a peer, or the answer to its rows, of the trainer's epoch.
        case tokens(to: WorkerID, epoch: Epoch, Tokens, EncodedPayload?)
        /// The operator wants this worker to leave in order.
        case leave(code: ExitCode, reason: String)
        case tick
    }

    package struct LaneFrame: Codable, Equatable, Sendable {
        package var incarnation: Incarnation
        package var epoch: Epoch
        package var sequence: UInt64
        package var message: Message
        package var payload: PayloadHandle?
        package var payloadBytes: Int
        package init(
            incarnation: Incarnation, epoch: Epoch, sequence: UInt64, message: Message,
            payload: PayloadHandle?, payloadBytes: Int
        ) {
            self.incarnation = incarnation
            self.epoch = epoch
            self.sequence = sequence
            self.message = message
            self.payload = payload
            self.payloadBytes = payloadBytes
        }
    }

    /// Answers to ``TrainerOrder``.
    package enum TrainerEvent: Codable, Equatable, Sendable {
        /// `samples`: drawn by this seat so far; `elapsed`: what computing took, pacing included.
        case computed(
            step: UInt32, loss: Double, tokens: UInt64, samples: UInt64, elapsed: Interval)
        case encoded(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, payload: EncodedPayload)
        /// `experts`: see ``WorkerRound/Event``.
        case absorbed(
            key: CollectiveKey, target: TrainerOrder.Target, digest: UInt64, experts: [Float] = [])
        case evaluated(step: UInt32, loss: Double, samples: Int)
        case checkpointed(path: String, step: UInt32, bytes: UInt64)
        case checkpointFailed(path: String, reason: String)
        case saved
        /// `model` failed to be written or the state could not be saved: the reason is in the log.
        case saveFailed(reason: String)
        /// The bytes of an `installState` are in place.
        case consumed(PayloadHandle)
        case stateRead(to: WorkerID, chunk: StateChunk, payload: EncodedPayload)
        /// A step that waited for tokens was given up: the plan under which it began is over.
        case interrupted(step: UInt32)
        /// See ``WorkerRound/Event``.
        case placed(holders: [UInt16], epoch: Epoch)
        /// A peer has sent rows under the plan of `epoch` that the trainer cannot take, so it waits for
        /// that peer until the plan is over.
        case tokensRefused(from: WorkerID, epoch: Epoch, what: String)
        /// What the tokens of a step wanted, by expert's number, before a budget changed it.
        case routed(step: UInt32, wanted: [UInt32])
        /// The trainer has waited too long for tokens of these, under the plan of `epoch`.
        case tokensOverdue(from: [WorkerID], epoch: Epoch)
        /// The digests are right, and the trainer stands where the state does.
        case tookOver(TrainerOrder.Handover)
    }

    package enum Effect: Codable, Equatable, Sendable {
        case control(Message)
        /// Who may connect to this worker's data port from now on.
        case allow([PlanMember])
        case dial(PlanMember, lane: UInt16)
        case hangUp(LaneID)
        case transmit(
            LaneID, sequence: UInt64, epoch: Epoch, message: Message, payload: PayloadHandle?)
        case train(TrainerOrder)
        /// One pass over a chunk. `contributes`: the round to which what comes of it is this region's
        /// contribution; nil: it is a mean.
        case reduce(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int,
            sources: [ShardReduction.Source], transform: TransformID, elements: Int,
            contributes: CollectiveKey?)
        case release(PayloadHandle)
        /// Rows that a peer has sent who exchanges tokens with this worker, under the plan in force. Answered
        /// by `.consumed`.
        case tokens(from: WorkerID, epoch: Epoch, Tokens, payload: PayloadHandle?)
        case event(RunEvent)
        case finished(ExitCode, reason: String)
    }

    package enum Phase: Codable, Equatable, Sendable {
        /// HELLO goes out until WELCOME comes.
        case joining
        case member
        /// Waiting for the trainer to save, then for BYE.
        case leaving(ExitCode, reason: String)
        case parting(ExitCode, reason: String, until: Instant)
        case left
    }

    let configuration: RunConfiguration
    let topology: Topology
    package let worker: WorkerID
    let name: String
    let hello: Hello
    /// Payload bytes granted to each peer; nil: by the link it crosses.
    private let fixedWindow: UInt64?

    package internal(set) var phase: Phase = .joining
    package internal(set) var round: WorkerRound
    var shards = ShardReduction()
    /// Dialled lanes; all that this worker sends goes over them.
    var bundles: [WorkerID: LaneBundle] = [:]
    /// Peers that the plan leaves out, whose lanes have no transport. Asked, never iterated.
    var parkedPeers: Set<WorkerID> = []
    var accepted: [LaneID: LaneSession] = [:]
    /// Incarnation of the peer each accepted lane belongs to.
    var acceptedIncarnations: [LaneID: Incarnation] = [:]
    var laneConditions = LaneConditions()
    /// Numbers of lanes that were said already, by the peer's region.
    var saidLanes: [RegionID: UInt16] = [:]
    /// Lanes over a third member, of the plan in force, by peer.
    var detours: [WorkerID: DetourLane] = [:]
    /// What waits for the lanes of peers that this worker answers on the lanes they have dialled.
    var answered: [WorkerID: LaneQueue] = [:]
    /// Members without an open lane, and since when.
    var unlinkedSince: [(peer: WorkerID, at: Instant)] = []
    var ledger = PayloadLedger()

    /// A plan that comes into force at a later round boundary.
    var announced: (plan: Plan, epoch: Epoch)?
    /// Has been through a GO: later plans may have to wait for a round boundary.
    var hasStarted = false
    /// The plan whose READY has been sent.
    var readyVersion: UInt32 = 0
    /// Frames of an epoch this worker has not reached.
    var postponed = PostponedFrames()
    /// LANE-HELLO of peers the plan does not name yet, newest per lane.
    var earlyHellos: [LaneID: LaneFrame] = [:]
    /// Reports nobody has committed yet, at most one of each fragment.
    var pendingReports: [(report: Report, sentAt: Instant)] = []
    var samples: UInt64
    /// What the next report says of this worker's speed and of its links.
    var meter: WorkerMeter
    var saveOrdered = false
    /// Encodings of means between the end of a pass and the shard's answer to it.
    var reducedPayloads: [PayloadHandle: EncodedPayload] = [:]
    var transfer: StateTransfer?
    /// Epochs of the requests for state the trainer has not answered, in order: an answer that a new plan
    /// has overtaken is nobody's.
    var stateReads: [Epoch] = []
    /// Pieces of a peer's state are in the trainer, and not all of them.
    var hasPartialState = false
    /// Plan under which a state was taken over.
    var installedVersion: UInt32?

    /// When lanes with something missing were looked at last.
    var lanesWatchedAt = Instant.zero
    /// When the offer that stands was said last.
    var offerSentAt = Instant.zero

    // Timers.
    var heartbeatDue: Instant?
    /// While nobody has answered HELLO: when it is said again.
    var helloDue: Instant?
    var joiningSince: Instant?
    var joinReportDue: Instant?
    var helloDelay = CoordinationLimits.helloRetryMinimum
    var lastHeard = Instant.zero
    var coordinatorLostAt: Instant?
    /// The wait that stands, and the event after which it was seen first.
    var waitingSince: (wait: WorkerRound.Wait, at: Instant)?
    var notice = WaitNotice()
    var lastTick: Instant?
    /// Of the event being handled.
    private(set) var present = Instant.zero

    /// When the driver must call `handle(.tick)` at the latest. Stored, like `idleKind`: drivers ask after
    /// each event, and a stored property is read without a copy of the machine.
    package private(set) var nextDeadline: Instant?
    /// What the trainer thread waits for when it has no order.
    package private(set) var idleKind = IdleKind.recover

    var effects: [Effect] = []

    /// - Parameters:
    ///   - hello: what this worker says of itself; the state it resumes from is in there.
    ///   - chunkElements: the wire's number, except in a simulator that sends whole slices; its lanes
    ///     then have room for them.
    ///   - hasRest: in that state live parameters are not the outer copy.
    ///   - laneWindow: payload bytes granted on each lane; nil: what the topology's links hold.
    package init(
        worker: WorkerID, region: RegionID, hello: Hello, configuration: RunConfiguration,
        topology: Topology, chunkElements: Int = CollectiveGeometry.chunkElements,
        laneWindow: UInt64? = nil, hasRest: Bool = false
    ) {
        fixedWindow =
            chunkElements > CollectiveGeometry.chunkElements
            ? CoordinationLimits.wholeSliceWindowBytes : laneWindow
        self.worker = worker
        self.name = hello.worker
        self.hello = hello
        self.configuration = configuration
        self.topology = topology
        samples = hello.samples
        meter = WorkerMeter(samples: hello.samples, region: region, topology: topology)
        round = WorkerRound(
            worker: worker, region: region, configuration: configuration,
            chunkElements: chunkElements)
        if hello.stateDigest != 0 {
            round.resume(step: UInt32(hello.step), round: hello.round, hasRest: hasRest)
        }
    }

    package mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
        if case .left = phase { return dropPayloads(of: event) }
        present = now
        meter.now = now
        switch event {
        case .started:
            lastHeard = now
            joiningSince = now
            joinReportDue = now + configuration.deadlines.patience
            sayHello(now)
        case .control(let message, let epoch): control(message, epoch, now)
        case .controlDown:
            loseCoordinator(since: now, now)
            greetAgain(now)
        case .laneConnected(let lane): connectLane(lane)
        case .laneDisconnected(let lane): disconnectLane(lane)
        case .conditions(let conditions): laneConditions = conditions
        case .lane(let lane, let frame): receive(lane, frame, now)
        case .trainer(let event): trainer(event, now)
        case .reduced(let key, let epoch, let slice, let position, let mean):
            reduced(key, epoch, slice, position, mean, now)
        case .tokens(let peer, let epoch, let tokens, let payload):
            sendTokens(tokens, payload, to: peer, epoch)
        case .leave(let code, let reason): beginLeaving(code, reason)
        case .tick: break
        }
        runTimers(now)
        noteEndOfWait(now)
        checkInvariants()
        nextDeadline = deadline
        idleKind = round.idleKind(shards: shards)
        defer { effects = [] }
        return effects
    }

    private func checkInvariants() {
        if case .joining = phase, round.plan != nil {
            preconditionFailure("a plan without a welcome")
        }
    }

    /// After the end only payloads matter: they go back at once.
    private func dropPayloads(of event: Event) -> [Effect] {
        switch event {
        case .lane(_, let frame): return frame.payload.map { [.release($0)] } ?? []
        case .trainer(.encoded(_, _, _, _, let payload)),
            .trainer(.stateRead(_, _, let payload)), .reduced(_, _, _, _, let payload):
            return [.release(payload.handle)]
        case .tokens(_, _, _, let payload): return payload.map { [.release($0.handle)] } ?? []
        case .started, .control, .controlDown, .laneConnected, .laneDisconnected,
            .conditions, .trainer, .leave, .tick:
            return []
        }
    }

    /// Members of the plan by rank, for messages to people.
    func names(_ ranks: [Rank]) -> [String] {
        guard let plan = round.plan else { return [] }
        return ranks.compactMap { rank in
            plan.plan.members.indices.contains(rank.index)
                ? plan.plan.members[rank.index].name : nil
        }
    }

    // Inlined, as other small questions are that come with every frame: else a copy of the whole machine is
    // made to be asked.
    @inline(__always) func peer(_ rank: Rank) -> WorkerID? {
        guard let members = round.plan?.plan.members, members.indices.contains(rank.index) else {
            return nil
        }
        return members[rank.index].workerID
    }

    /// See ``WorkerRound/placement(ofMean:of:slice:position:)``. Mutating, so that the driver asks in place.
    package mutating func placement(
        ofMean payload: PayloadHandle, of key: CollectiveKey, slice: Int, position: Int
    ) -> WorkerRound.MeanPlacement? {
        round.placement(ofMean: payload, of: key, slice: slice, position: position)
    }

    /// Payload bytes granted to `member` on all its lanes together.
    func laneWindow(_ member: PlanMember?) -> UInt64 {
        laneWindow(between: member?.region ?? round.region, and: round.region)
    }

    /// For people: what waits for each peer that was dialled, and what is under way to it.
    package var laneStates: [String] {
        bundles.keys.sorted().map { "to \($0): \(bundles[$0]?.state ?? "")" }
    }

    /// What a worker of one region grants one of another.
    func laneWindow(between a: RegionID, and b: RegionID) -> UInt64 {
        if let fixedWindow { return fixedWindow }
        guard a != b, [a, b].allSatisfy({ topology.regions.indices.contains($0.index) }) else {
            return CoordinationLimits.laneWindowBytes
        }
        let pairs =
            topology.regions[a.index].workers.count * topology.regions[b.index].workers.count
        return CoordinationLimits.laneWindow(over: topology.link(between: a, and: b), pairs: pairs)
    }

    mutating func release(_ handle: PayloadHandle) {
        let (freed, origin) = ledger.release(handle)
        guard freed else { return }
        effects.append(.release(handle))
        if let origin { returnCredit(origin) }
    }
}
