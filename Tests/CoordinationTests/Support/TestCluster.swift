import ClusterModel
import Coordination
import Testing
import WireProtocol

/// A coordinator and its workers with the effects of each carried to the others by hand. Nothing moves
/// until `settle()` is called and no time passes until `advance(to:)`; `holds` keeps back what a
/// scenario wants to arrive later. Delivery is in order per channel, as TCP gives it.
struct TestCluster {
    /// One process.
    struct Node {
        var machine: Worker
        var trainer: TrainerModel
        var incarnation: Incarnation
        var name: String
        /// The driver's pool: what the machine has been given or has made and not released.
        var pool: [PayloadHandle: (contents: UInt64, bytes: Int)] = [:]
        var nextHandle: UInt64 = 1
        var events: [RunEvent] = []
        var finished: ExitCode?
    }

    enum Channel: Hashable {
        case toCoordinator(WorkerID)
        case toWorker(WorkerID)
        /// `role` is the receiver's end of the lane.
        case lane(from: WorkerID, to: WorkerID, role: LaneSession.Role, index: UInt16)
        case trainer(WorkerID)
        case reducer(WorkerID)
    }

    enum Content {
        case control(Message, Epoch)
        case transportUp
        case frame(Worker.LaneFrame, contents: UInt64?)
        case order(TrainerOrder)
        case reduction(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, transform: TransformID,
            elements: Int, mean: UInt64)
    }

    struct Delivery {
        var channel: Channel
        var content: Content
    }

    let configuration: RunConfiguration
    let sizes: [Int]
    let parameterCount: UInt64
    /// Seats that nobody can dial.
    var hidden: Set<Int> = []
    var now = Instant.at(1)
    var coordinator: Coordinator
    /// By seat; a killed worker is gone.
    var nodes: [WorkerID: Node] = [:]
    var queue: [Delivery] = []
    /// True for what must wait. A held delivery holds everything behind it on its channel.
    var holds: (Delivery) -> Bool = { _ in false }
    var coordinatorIsDown = false
    /// SIGSTOP: no timers, and what is sent to it waits.
    var stopped: Set<WorkerID> = []
    var events: [RunEvent] = []
    var sent: [(to: WorkerID, message: Message)] = []
    var coordinatorResult: ExitCode?
    /// Tokens that reached a driver, which has not consumed them.
    var tokensTaken: [(by: WorkerID, from: WorkerID, Tokens, payload: PayloadHandle?)] = []
    /// Highest number of a frame on each dialled lane: dialler, acceptor.
    var sequences: [[WorkerID]: UInt64] = [:]

    init(
        _ configuration: RunConfiguration = Fixtures.configuration(), sizes: [Int] = [2, 2],
        parameterCount: UInt64 = Fixtures.parameterCount
    ) {
        self.configuration = configuration
        self.sizes = sizes
        self.parameterCount = parameterCount
        coordinator = Fixtures.coordinator(
            configuration, sizes: sizes, parameterCount: parameterCount)
        apply(coordinator.handle(.started, at: now))
    }

    /// All seats taken, first GO given and followed as far as it goes without time passing.
    static func started(
        _ configuration: RunConfiguration = Fixtures.configuration(), sizes: [Int] = [2, 2],
        hidden: Set<Int> = [], holds: @escaping (Delivery) -> Bool = { _ in false }
    ) -> TestCluster {
        var cluster = TestCluster(configuration, sizes: sizes)
        cluster.hidden = hidden
        cluster.holds = holds
        for seat in Fixtures.topology(sizes).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        return cluster
    }

    /// Starts a process for `seat`. `saved` is what it resumes from.
    mutating func launch(_ seat: Int, incarnation: UInt64 = 1, saved: TrainerModel? = nil) {
        let place = Fixtures.topology(sizes).seats[seat]
        var trainer = TrainerModel(seat: place.id)
        saved.map { trainer.restore(from: $0) }
        var hello = Fixtures.hello(
            place, round: trainer.round, step: UInt64(trainer.step),
            stateDigest: saved == nil ? 0 : 1, parameterCount: parameterCount)
        if hidden.contains(seat) { hello.endpoint = "" }
        nodes[place.id] = Node(
            machine: Worker(
                worker: place.id, region: place.region, hello: hello,
                configuration: configuration, topology: Fixtures.topology(sizes),
                hasRest: saved.map { $0.live != $0.outer } ?? false),
            trainer: trainer, incarnation: Incarnation(rawValue: incarnation),
            name: place.worker.name)
        give(.started, to: place.id)
    }

    /// Everything moves again.
    mutating func release() {
        holds = { _ in false }
        settle()
    }

    /// The process is gone with everything on its way to it; its connections are reset.
    mutating func kill(_ seat: Int) {
        let worker = WorkerID(seat)
        guard let node = nodes.removeValue(forKey: worker) else { return }
        queue.removeAll { $0.channel.involves(worker) }
        if !coordinatorIsDown {
            let connection = connection(of: worker, node.incarnation)
            apply(coordinator.handle(.unreachable(connection), at: now))
        }
        for other in nodes.keys.sorted() {
            for role in [LaneSession.Role.acceptor, .dialler] {
                give(.laneDisconnected(LaneID(peer: worker, role: role)), to: other)
            }
        }
    }

    /// A lane `dialler` opened to `acceptor` breaks with what is on its way, and is dialled again if it
    /// `returns`.
    mutating func breakLane(
        dialler: Int, acceptor: Int, index: UInt16 = 0, returns: Bool = true
    ) {
        let (a, b) = (WorkerID(dialler), WorkerID(acceptor))
        queue.removeAll {
            $0.channel == .lane(from: a, to: b, role: .acceptor, index: index)
                || $0.channel == .lane(from: b, to: a, role: .dialler, index: index)
        }
        give(.laneDisconnected(LaneID(peer: b, role: .dialler, index: index)), to: a)
        give(.laneDisconnected(LaneID(peer: a, role: .acceptor, index: index)), to: b)
        guard returns else { return }
        queue.append(
            Delivery(
                channel: .lane(from: b, to: a, role: .dialler, index: index), content: .transportUp)
        )
    }

    mutating func killCoordinator() {
        coordinatorIsDown = true
        queue.removeAll {
            switch $0.channel {
            case .toCoordinator, .toWorker: true
            case .lane, .trainer, .reducer: false
            }
        }
    }

    // MARK: What tests look at

    func node(_ seat: Int) -> Node { nodes[WorkerID(seat)]! }
    func round(_ seat: Int) -> WorkerRound { node(seat).machine.round }

    /// Last committed round, by the coordinator's own events.
    var committedRound: UInt32 {
        var last: UInt32 = 0
        for case .roundCommitted(let key, _, _, _) in events { last = max(last, key.round) }
        return last
    }

    var violations: [String] {
        (events + nodes.keys.sorted().flatMap { nodes[$0]!.events }).compactMap {
            if case .violation(let culprit, let what) = $0 { "\(culprit): \(what)" } else { nil }
        }
    }

    func lastSequence(from dialler: Int, to acceptor: Int) -> UInt64 {
        sequences[[WorkerID(dialler), WorkerID(acceptor)]] ?? 0
    }

    /// Verdicts of the last GO.
    var verdicts: [Verdict] {
        for case (_, .go(let go)) in sent.reversed() { return go.verdicts }
        return []
    }

    /// Names somebody says it waits for, with what it waits for.
    func waits(of seat: Int) -> [(activity: String, names: [String])] {
        node(seat).events.compactMap {
            if case .waiting(_, let activity, let names, _, _, _) = $0 {
                (activity, names)
            } else {
                nil
            }
        }
    }

    func connection(of worker: WorkerID, _ incarnation: Incarnation) -> ConnectionID {
        ConnectionID(rawValue: UInt64(worker.rawValue) * 1_000 + incarnation.rawValue)
    }
}

extension TestCluster.Channel {
    var receiver: WorkerID? {
        switch self {
        case .toCoordinator: nil
        case .toWorker(let worker), .trainer(let worker), .reducer(let worker),
            .lane(_, let worker, _, _):
            worker
        }
    }

    func involves(_ worker: WorkerID) -> Bool {
        switch self {
        case .toCoordinator(let other), .toWorker(let other), .trainer(let other),
            .reducer(let other):
            other == worker
        case .lane(let from, let to, _, _): from == worker || to == worker
        }
    }
}
