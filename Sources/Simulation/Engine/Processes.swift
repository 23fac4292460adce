import ClusterModel
import Coordination
import DequeModule
import WireProtocol

/// A worker's process: the machine that ships, and the driver's side of it. A class, because asking a
/// computed property of an element of an array would copy the machine.
final class WorkerProcess {
    enum State: Equatable {
        case notStarted
        case running
        /// Left in order.
        case ended(ExitCode)
        case crashed
    }

    /// A chunk position of the own shard.
    struct Position {
        var key: CollectiveKey
        var epoch: Epoch
        var slice: Int
        var position: Int
    }

    /// A pass over one position.
    struct Reduction {
        var place: Position
        var mean: EncodedPayload
    }

    let seat: Int
    let name: String
    let region: RegionID
    /// Its seat in the topology.
    let profile: Topology.Worker
    var nominalStep: Interval { profile.nominalStep }
    var state: State = .notStarted
    /// Incarnation; 0 before the first start.
    var life: UInt64 = 0
    var machine: Worker?
    /// Events that arose while effects of another were carried out.
    var inbox: Deque<Worker.Event> = []
    var isTold = false
    var pool = PayloadPool()
    var trainer: ToyTrainer?
    /// In the place of `trainer`, in a run with real arithmetic.
    var hosted: (any HostedTrainer)?
    /// Chunks of the hosted `encode` under way that are not due yet.
    var hostedChunks: Deque<HostedAnswer> = []
    var orders: Deque<TrainerOrder> = []
    var isBusy = false
    /// When the order at the head was begun.
    var orderBegan: Int64 = 0
    /// Of that time, what went by waiting for tokens.
    var orderWaited: Int64 = 0
    /// Of the step under way, its exchange of tokens with others, and the plan it was ordered under.
    var tokenStep: TokenStep?
    var computePlan: ActivePlan?
    /// Rows that have come, and under which plan they may.
    var tokenArrivals: [TokenArrival] = []
    var tokenEpoch: Epoch?
    var tokenWatch = TokenWatch()
    /// What became of this life's tokens.
    var crossed = ModelledCrossing()
    /// Chunks of the `encode` under way that are done.
    var encodedChunks = 0
    var jobs: [UInt64: Reduction] = [:]
    /// When the last reduction that was asked for ends.
    var reducesUntil: Int64 = 0
    var nextJob: UInt64 = 0
    /// Local clock minus virtual time.
    var clockOffset: Int64 = 0
    var tickVersion: UInt64 = 0
    var tickAt: Int64?
    var control: Int?
    /// Connections to each peer, by lane; the newest.
    var dialled: [LaneID: Int] = [:]
    var accepted: [LaneID: Int] = [:]
    var allowed: [Int] = []
    var controlSequence: UInt64 = 0
    /// What outlives the process.
    var disk: TrainerState?
    var isPaused = false
    var pausedAt: Int64 = 0
    var deferred: [(occurrence: Occurrence, due: Int64)] = []
    /// Factors in force; the largest counts.
    var slowings: [Double] = []
    var generator = SeededGenerator(seed: 0)
    var budget = TrainerClock()

    init(seat: Int, name: String, region: RegionID, profile: Topology.Worker) {
        self.seat = seat
        self.name = name
        self.region = region
        self.profile = profile
    }

    func local(_ now: Int64) -> Instant { Instant(nanoseconds: now + clockOffset) }
}

/// The coordinator's process.
struct CoordinatorProcess {
    var machine: Coordinator
    var state: WorkerProcess.State = .notStarted
    var clockOffset: Int64 = 0
    var tickVersion: UInt64 = 0
    var tickAt: Int64?
    var isPaused = false
    var pausedAt: Int64 = 0
    var deferred: [(occurrence: Occurrence, due: Int64)] = []
    /// Index of the control connection behind an accepted one; an old one stays to be found dead.
    var connections: [ConnectionID: Int] = [:]
    var sequence: UInt64 = 0

    func local(_ now: Int64) -> Instant { Instant(nanoseconds: now + clockOffset) }
}

/// Where a trainer's virtual time went.
struct TrainerClock {
    private(set) var budget = RunEvent.TimeBudget()
    private var since: Int64?

    mutating func start(_ now: Int64) {
        if since == nil { since = now }
    }

    /// Time that is not booked yet.
    func pending(_ now: Int64) -> Int64 { since.map { now - $0 } ?? 0 }

    /// Books the time since the last call on `part`.
    mutating func book(
        _ part: WritableKeyPath<RunEvent.TimeBudget, Interval>, until now: Int64
    ) {
        guard let since else { return }
        let span = Interval(nanoseconds: now - since)
        budget[keyPath: part] = budget[keyPath: part] + span
        budget.wall = budget.wall + span
        self.since = now
    }
}
