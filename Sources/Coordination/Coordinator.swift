package import ClusterModel
package import WireProtocol

/// Decides membership, plans, rounds and the end of a run; sees headers only.
///
/// ```
/// gathering -> reconfiguring(plan) -> running -> stopping -> ended
///                    ^                   |
///                    +--- a member joins, dies, is evicted
/// ```
package struct Coordinator: Sendable {
    package enum Event: Codable, Equatable, Sendable {
        /// Once, first.
        case started
        /// A frame from a worker. `name` is the allow-list entry its CURVE key belongs to, `epoch` that of
        /// its header: the plan whose ranks it speaks of. Nil (older recordings): the newest plan's.
        case message(
            from: ConnectionID, name: String, incarnation: Incarnation, Message, epoch: Epoch? = nil
        )
        /// Sending to it failed: the transport knows no such peer any more.
        case unreachable(ConnectionID)
        /// The operator ends the run.
        case stop(code: ExitCode, reason: String)
        case tick
    }

    package enum Effect: Codable, Equatable, Sendable {
        case send(to: ConnectionID, Message, epoch: Epoch)
        case event(RunEvent)
        /// The run is over; every worker has left or been given up.
        case finished(ExitCode, reason: String)
    }

    package enum Phase: Codable, Equatable, Sendable {
        case gathering
        /// A plan is out; these seats have not said READY.
        case reconfiguring(waitingFor: [WorkerID], since: Instant)
        case running
        case stopping(ExitCode, reason: String, until: Instant)
        case ended
    }

    /// A worker with a connection.
    struct Member: Equatable, Sendable {
        let seat: WorkerID
        let name: String
        let region: RegionID
        var connection: ConnectionID
        var incarnation: Incarnation
        var hello: Hello
        var lastHeard: Instant
        var lastStep: UInt64
        var phase: WorkerPhase = .connecting
        var holdings: [Holding] = []
        /// Has gone through a GO: it takes part in rounds and can be a source of state.
        var isEstablished = false
        /// Has not said READY for the plan that is out.
        var isAwaited = false
        /// In the last plan that contains it.
        var rank = Rank.none
    }

    /// ``Phase`` without the list of those waited for: that is in ``members``.
    enum Stage: Equatable, Sendable {
        case gathering
        case reconfiguring(since: Instant)
        case running
        case stopping(ExitCode, reason: String, until: Instant)
        case ended
    }

    let configuration: RunConfiguration
    let topology: Topology
    /// What WELCOME carries.
    let configurationText: String
    let configurationDigest: UInt64
    let parameterCount: UInt64
    let seats: [(id: WorkerID, region: RegionID, worker: Topology.Worker)]

    /// By name; asked, never iterated.
    private let seatNamed: [String: Int]

    var stage: Stage = .gathering
    /// In the plan.
    var members: Roster
    /// Connected, not in the plan yet.
    var joiners: Roster
    package internal(set) var epoch = Epoch.none
    package internal(set) var plan: Plan?
    /// Of the last plans: members are still under one of them when the next is out.
    var spoken = RankHistory()
    /// Of the last GO.
    var planInForce: Plan?
    var planVersion: UInt32 = 0
    /// The last GO and STOP, for a member whose connection broke before it came.
    var lastGo: Go?
    var lastStop: Stop?
    /// Last life of each seat that was put out: what is left of it must leave.
    var evicted: [WorkerID: Incarnation] = [:]
    let schedule: any OuterSchedule
    let order: FragmentOrder
    /// The model's fragments.
    let layout: [[ElementRange]]
    /// Pairs of members between whom no lane opens, for as long as both live.
    var unreachable: [UnreachablePair] = []
    /// Reported and not answered yet, and since when.
    var suspected: [UnreachablePair] = []
    var suspectedAt: Instant?
    var lastCommitAt = Instant.zero
    /// Last committed round of each fragment.
    var committed: [UInt32]
    /// How fast each seat's replica goes round, under the plan in force.
    var paces: [ReplicaPace]
    /// The same of a boundary plan that is out, or of the next one.
    var nextPaces: [ReplicaPace]
    /// What links carry; the plan's are in force until a boundary plan starts.
    var links: LinkCodecs
    var codecsInForce: [PlanCodec]
    /// Which experts are left out of rounds, and why.
    var experts: ExpertLoads
    /// Which experts one region computes alone, and the tokens that may go there.
    var crossing: ExpertCrossing
    /// Of the last round: it is said again, and has said whether the next one leaves experts out.
    var lastCommit: Commit?
    /// Reports of rounds that are not committed, by seat.
    var reports: [CollectiveKey: [WorkerID: Report]] = [:]
    /// Offers and closed rounds, where the schedule has them.
    var closing: ClosingState
    /// Who draws what in a step, and how fast everybody has been.
    var balance: Balance
    var startedAt = Instant.zero
    /// When it was looked whether enough workers are there to start without the others.
    var gatheringLookedAt: Instant?
    /// Of the stage: workers that have not come, or not said READY.
    var notice = WaitNotice()
    /// Of members that have been silent for the patience, by seat.
    var silences: [(seat: WorkerID, notice: WaitNotice)] = []
    /// Under the plan that is out.
    var firstReadyAt: Instant?
    var probeDue: Instant?
    var lastTick: Instant?
    var effects: [Effect] = []

    /// - Parameters:
    ///   - configurationText: the JSON handed to workers.
    ///   - parameterCount: elements of the model; a worker with another number is refused.
    package init(
        configuration: RunConfiguration, topology: Topology, configurationText: String,
        configurationDigest: UInt64, parameterCount: UInt64
    ) {
        self.configuration = configuration
        self.topology = topology
        self.configurationText = configurationText
        self.configurationDigest = configurationDigest
        self.parameterCount = parameterCount
        seats = topology.seats
        schedule = configuration.outerSchedule
        let fragments = configuration.schedule.fragments
        order = FragmentOrder(count: fragments)
        committed = Array(repeating: 0, count: fragments)
        layout = FragmentLayout.ranges(
            of: configuration.model, elements: parameterCount, fragments: fragments
        ).map {
            $0.map { ElementRange(start: $0.lowerBound, count: $0.upperBound - $0.lowerBound) }
        }
        paces = configuration.paces(topology, values: parameterCount)
        nextPaces = paces
        links = LinkCodecs(configuration, topology, values: parameterCount)
        codecsInForce = links.planned
        experts = ExpertLoads(configuration, elements: parameterCount)
        crossing = ExpertCrossing(configuration, topology, elements: parameterCount)
        seatNamed = Dictionary(
            seats.enumerated().map { ($0.element.worker.name, $0.offset) },
            uniquingKeysWith: { first, _ in first })
        balance = Balance(topology)
        closing = ClosingState(seats: topology.seats.count)
        members = Roster(seats: seats.count)
        joiners = members
    }

    package var phase: Phase {
        switch stage {
        case .gathering: .gathering
        case .reconfiguring(let since): .reconfiguring(waitingFor: awaited, since: since)
        case .running: .running
        case .stopping(let code, let reason, let until):
            .stopping(code, reason: reason, until: until)
        case .ended: .ended
        }
    }

    /// Members that have not said READY, by seat.
    var awaited: [WorkerID] { members.seats(where: \.isAwaited) }

    package var nextDeadline: Instant? {
        if case .ended = stage { return nil }
        return [probeDue, closing.due].compactMap(\.self).min()
    }

    package mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
        if case .ended = stage { return [] }
        forgiveOwnStall(now)
        switch event {
        case .started:
            startedAt = now
            probeDue = now + CoordinationLimits.probeInterval
        case .message(let connection, let name, let incarnation, let message, let epoch):
            receive(connection, name, incarnation, message, epoch, now)
        case .unreachable(let connection): lose(connection, now)
        case .stop(let code, let reason):
            stop(code, reason, now)
        case .tick: break
        }
        if let due = closing.due, now >= due { considerClosing(now) }
        runTimers(now)
        checkInvariants()
        defer { effects = [] }
        return effects
    }

    /// Called after every message: nothing here may depend on the number of workers.
    private func checkInvariants() {
        precondition(members.awaitedCount <= members.count, "waits for a worker outside the plan")
        if case .running = stage {
            precondition(members.awaitedCount == 0, "runs while it waits for somebody")
        }
        precondition(
            reports.count <= 2 * (committed.count + 1), "reports of too many rounds")
    }

    // MARK: Small helpers

    /// All turns up to this one are committed.
    var committedTurn: UInt32 {
        let next = committed.indices.map {
            order.turn(fragment: FragmentID($0), round: committed[$0] + 1)
        }
        return (next.min() ?? 1) - 1
    }

    /// No turn after this one is committed.
    var newestTurn: UInt32 {
        committed.indices.filter { committed[$0] > 0 }.map {
            order.turn(fragment: FragmentID($0), round: committed[$0])
        }.max() ?? 0
    }

    mutating func broadcast(_ message: Message) {
        // Growing a list of thousands as it goes costs as much as filling it.
        effects.reserveCapacity(effects.count + members.count + 1)
        for connection in members.connections {
            effects.append(.send(to: connection, message, epoch: epoch))
        }
    }

    mutating func refuse(
        _ connection: ConnectionID, _ code: RefusalCode, _ reason: String, hint: String
    ) {
        effects.append(
            .send(
                to: connection,
                .refuse(
                    Refuse(
                        code: code, reason: reason, hint: hint,
                        minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version)),
                epoch: epoch))
    }

    func seat(named name: String) -> (id: WorkerID, region: RegionID, worker: Topology.Worker)? {
        seatNamed[name].map { seats[$0] }
    }
}
