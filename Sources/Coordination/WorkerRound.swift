package import ClusterModel
package import WireProtocol

/// The order of a worker's work: compute, share the gradient inside the region, step; let fragments go
/// and apply their means where the schedule says so. Blocks there and nowhere else.
///
/// ```
/// idle -> computing -> readyToShare -> sharing(inner) -> absorbing -+-> idle
///                                                                   |
///   a turn leaves:   readyToExchange -> (flight)  -------------------+
///   a flight is due: sharing(outer) -> awaitingCommit -> absorbing --+
/// ```
///
/// Where every step is one all-reduce of all members, nothing is shared in the region before: the gradient
/// leaves at once, as parts of what the region contributes (``Exchange/Parts``). So does what a member that
/// is a replica by itself has for a round.
///
/// A *flight* is an exchange of a fragment between replicas while inner steps go on; under a blocking
/// schedule it is due at the step it left after. Turns leave and are applied in one order, the same on
/// every member (``FragmentOrder``).
///
/// A new plan freezes it: what is under way stays, nothing new starts until GO says for each collective
/// whether it is completed from a holder or started again (docs/architecture.md, "Epoch change").
package struct WorkerRound: Sendable {
    package enum Event: Codable, Equatable, Sendable {
        /// A plan that is in force from now on. Legal in every stage.
        case plan(Plan, epoch: Epoch)
        /// A plan that comes into force where `turn` has been applied: nothing leaves beyond it.
        case boundary(turn: UInt32)
        /// The coordinator's verdicts; ends the freeze of the plan with this version.
        case go(planVersion: UInt32, verdicts: [Verdict])
        /// The gradient of `step` is in the trainer. Only in `computing`.
        case computed(step: UInt32, loss: Double, tokens: UInt64)
        /// The computation of `step` was given up: it begins again under the plan in force.
        case interrupted(step: UInt32)
        /// Which member of the region computes each expert under the plan of `epoch`, by the plan's
        /// numbers: from the step on whose gradient is said next.
        case placed(holders: [UInt16], epoch: Epoch)
        /// One chunk of this worker's contribution. Late ones of an abandoned attempt are dropped.
        case encoded(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, payload: EncodedPayload)
        /// A position of a mean, from its owner, a forwarder, a holder, or this worker's own shard.
        case mean(Mean)
        /// The trainer has stepped. Only in `absorbing`.
        ///
        /// `experts`: shares of the replica's tokens that used each in the step, by the plan's numbers,
        /// from counts that its members have exchanged; empty where nobody counts.
        case absorbed(
            key: CollectiveKey, target: TrainerOrder.Target, digest: UInt64, experts: [Float] = [])
        /// `allExperts`: the next round leaves none out, whatever the plan says.
        case committed(key: CollectiveKey, allExperts: Bool = false)
        /// The coordinator has closed a set of contributions. Ignored if it is known or over.
        case closed(Close, epoch: Epoch)
        /// Something of somebody else's contribution to `key` arrived at this worker's shard.
        case arrival(key: CollectiveKey)
        /// An owner lacks this worker's contribution.
        case called(key: CollectiveKey)
        case coordinatorLost
        case coordinatorReturned
        /// State taken over from a peer: everything starts from here. `round`: turns applied. `hasRest`:
        /// its live parameters are not the outer copy.
        case stateInstalled(step: UInt32, round: UInt32, hasRest: Bool = false)
    }

    package struct Mean: Codable, Equatable, Sendable {
        package var key: CollectiveKey
        package var slice: Int
        package var position: Int
        package var payload: EncodedPayload
        package var weight: UInt64
        package var mayLeave: Bool
        package init(
            key: CollectiveKey, slice: Int, position: Int, payload: EncodedPayload,
            weight: UInt64, mayLeave: Bool
        ) {
            self.key = key
            self.slice = slice
            self.position = position
            self.payload = payload
            self.weight = weight
            self.mayLeave = mayLeave
        }
    }

    package enum Effect: Codable, Equatable, Sendable {
        case train(TrainerOrder)
        /// To another member's shard, or to this worker's own when `to` is its rank.
        case contribute(
            to: Rank, key: CollectiveKey, slice: Int, position: Int, group: Int,
            payload: EncodedPayload, weight: UInt64, mayLeave: Bool)
        /// Pass a mean on inside the region; the round keeps its own reference.
        case forward(to: Rank, Mean)
        case pull(from: Rank, key: CollectiveKey, slice: Int, position: Int)
        /// Expect contributions to this worker's slice.
        case openShard(CollectiveKey)
        /// These contributions make up the mean of this worker's slice.
        case closeShard(CollectiveKey, [ShardReduction.Counted])
        /// There is something to contribute to whatever round is closed next.
        case offer(Offer)
        /// Its mean is applied here: nothing more is collected for it.
        case abandonShard(CollectiveKey)
        /// A reconfiguration: nothing collected so far counts.
        case abandonShards
        case release(PayloadHandle)
        case report(Report)
        case event(RunEvent)
        /// The last step is taken and applied here.
        case trained
        case violation(String)
    }

    package enum Stage: Codable, Equatable, Sendable {
        /// Nothing under way but flights: between two steps, frozen, or without a plan. After the last
        /// step: a turn is due whose predecessor is not known to be committed.
        case idle
        case computing(step: UInt32)
        /// The gradient is there; the exchange has not started (frozen, or the commit of the previous
        /// round is not known yet).
        case readyToShare(step: UInt32, tokens: UInt64)
        /// Blocked until every mean position of this collective is here.
        case sharing(CollectiveKey)
        /// The values of an outer exchange are there; it has not started (frozen).
        case readyToExchange(CollectiveKey, weight: UInt64)
        /// Every mean position is here; the previous round is not committed yet.
        case awaitingCommit(CollectiveKey)
        case absorbing(CollectiveKey, TrainerOrder.Target)
        /// All steps are taken; rounds that others still need are taken part in.
        case trained
    }

    /// One fragment's place in the outer schedule.
    struct FragmentState: Equatable, Sendable {
        var appliedRound: UInt32 = 0
        var committedRound: UInt32 = 0
        /// Tokens the replica has trained on since it last left.
        var tokens: UInt64 = 0
    }

    let worker: WorkerID
    package let region: RegionID
    let configuration: RunConfiguration
    let schedule: any OuterSchedule
    let order: FragmentOrder
    /// Elements of a slice that travel together.
    let chunkElements: Int

    package internal(set) var plan: ActivePlan?
    package internal(set) var isFrozen = true
    package internal(set) var stage: Stage = .idle
    /// Inner steps applied.
    package internal(set) var step: UInt32 = 0
    /// By fragment.
    var fragments: [FragmentState]
    /// Tokens that used each expert since its fragment left last, by the plan's numbers; empty: none yet.
    var expertTokens: [UInt64] = []
    /// The same since the last report, where the coordinator asks.
    var expertLoads: [UInt64] = []
    /// Step whose choices were counted last.
    var wantedAt: UInt32 = 0
    /// The newest round that COMMIT has said has all experts, and whether the one that left last had.
    var wholeRound: UInt32 = 0
    var leftWhole = true
    /// Tokens of the step under way, of a replica of one.
    var plainTokens: UInt64 = 0
    /// What is kept for a round that is not closed yet, or closed and not applied.
    package internal(set) var offer: Offer?
    /// Of the plan in force, the round under way.
    var closedSet: Close?
    /// Of the GO of the plan in force: who holds the mean of a round whose CLOSE may come later than GO.
    var completed: Verdict?
    /// Turns that have left, and those that are applied.
    var departedTurn: UInt32 = 0
    var appliedTurn: UInt32 = 0
    /// Step after which a turn left last.
    var leftAt: UInt32 = 0
    /// Of the step taken last: every member of the replica was for letting the next turn go; where sets are
    /// closed, held the mean that is to be applied.
    var mayDepart = false
    /// A plan that waits for this turn is out: nothing leaves beyond it, and no step begins where it has
    /// been applied before that plan is in force, since it says who draws what.
    var boundary: UInt32?
    /// The gradient exchange under way.
    var inner: Exchange?
    /// Fragments under way between replicas, in turn order.
    var flights: [Exchange] = []
    /// The last finished exchange inside the region, and of each fragment: others may still need its mean.
    var finishedInner: Exchange?
    var finishedOuter: [Exchange] = []
    /// Means of collectives this worker has not come to yet: an owner that needs nothing from here can
    /// be done first. At most one per position of the few collectives `accepts` lets in.
    var earlyMeans: [Mean] = []
    var coordinatorIsLost = false
    /// The run began from a state whose live parameters are not the outer copy, and nothing has left since.
    var hasRest = false
    /// No GO has come since the state here was made, resumed or taken over.
    var isInstalled = true
    /// The step being computed began under a plan that is over, and its experts were spread over that plan's
    /// members: it is computed again.
    var repeatsStep = false
    /// Where the trainer computes experts; nil: where the plan puts them first.
    var placedExperts: PlacedExperts?
    /// By expert, who had computed it when this worker took its last step; where experts are kept by who
    /// computes them.
    var keepers: [WorkerID] = []
    /// The step after which a round was applied last.
    var appliedAt: UInt32 = 0
    /// Step whose loss was said last.
    var steppedAt: UInt32 = 0
    /// Highest turn somebody has contributed to here.
    var calledTurn: UInt32 = 0
    var lastEvaluated: UInt32 = 0
    var effects: [Effect] = []

    package init(
        worker: WorkerID, region: RegionID, configuration: RunConfiguration,
        chunkElements: Int = CollectiveGeometry.chunkElements
    ) {
        self.chunkElements = chunkElements
        self.worker = worker
        self.region = region
        self.configuration = configuration
        schedule = configuration.outerSchedule
        order = FragmentOrder(count: configuration.schedule.fragments)
        fragments = Array(
            repeating: FragmentState(), count: configuration.schedule.fragments)
    }

    /// Whether a gradient is of use only together with those computed under the same plan.
    var spreadsExperts: Bool { configuration.spreadsExperts }

    /// Outer rounds applied here, of all fragments together (turns).
    package var round: UInt32 { appliedTurn }

    /// Fragments under way between replicas.
    package var flightKeys: [CollectiveKey] { flights.map(\.key) }

    package mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
        switch event {
        case .plan(let plan, let epoch): adopt(plan, epoch)
        case .boundary(let turn): boundary = turn
        case .go(let version, let verdicts): go(version, verdicts, now)
        case .computed(let step, let loss, let tokens): computed(step, loss, tokens)
        case .interrupted(let step): interrupted(step)
        case .placed(let holders, let epoch): place(holders, epoch)
        case .encoded(let key, let epoch, let slice, let position, let payload):
            encoded(key, epoch, slice, position, payload)
        case .mean(let mean): hold(mean, now)
        case .absorbed(let key, let target, let digest, let experts):
            absorbed(key, target, digest, experts)
        case .committed(let key, let allExperts): committed(key, allExperts)
        case .closed(let close, let epoch): closed(close, epoch, now)
        case .arrival(let key):
            change(exchange(contributing: key)?.key ?? key) {
                $0.firstArrival = $0.firstArrival ?? now
            }
            call(key)
        case .called(let key): call(key)
        case .coordinatorLost: coordinatorIsLost = true
        case .coordinatorReturned: coordinatorIsLost = false
        case .stateInstalled(let step, let round, let hasRest):
            install(step: step, turn: round, hasRest: hasRest)
        }
        advance(now)
        checkInvariants()
        defer { effects = [] }
        return effects
    }

    /// The exchange of `key` under way here.
    func exchange(_ key: CollectiveKey) -> Exchange? {
        inner?.key == key ? inner : flights.first { $0.key == key }
    }

    /// Of the exchange of `key` under way here. Who holds the exchange itself while it changes makes the
    /// change copy all its positions.
    func geometry(underWay key: CollectiveKey) -> CollectiveGeometry? {
        if inner?.key == key { return inner?.geometry }
        return flights.firstIndex { $0.key == key }.map { flights[$0].geometry }
    }

    /// Whether the exchange of `key` is under way here and complete.
    func isComplete(_ key: CollectiveKey) -> Bool {
        if inner?.key == key { return inner?.isComplete ?? false }
        return flights.contains { $0.key == key && $0.isComplete }
    }

    /// The exchange under way here to which own chunks leave under `key`.
    func exchange(contributing key: CollectiveKey) -> Exchange? {
        inner?.contributes.key == key ? inner : flights.first { $0.contributes.key == key }
    }

    /// The round that a reduced chunk of `key` belongs to, if this worker takes part in it.
    func roundUnderWay(ofParts key: CollectiveKey) -> Exchange? {
        flights.first { $0.parts?.key == key }
    }

    /// Changes the exchange of `key` if it is under way.
    mutating func change(_ key: CollectiveKey, _ body: (inout Exchange) -> Void) {
        if var found = inner, found.key == key {
            inner = nil
            body(&found)
            inner = found
        } else if let index = flights.firstIndex(where: { $0.key == key }) {
            body(&flights[index])
        }
    }

    private func checkInvariants() {
        switch stage {
        case .sharing(let key), .awaitingCommit(let key):
            precondition(exchange(key) != nil, "shares without an exchange")
        case .absorbing, .idle, .computing, .readyToShare, .readyToExchange, .trained:
            break
        }
        precondition(
            fragments.allSatisfy { $0.appliedRound <= $0.committedRound + 1 },
            "more than one uncommitted round of a fragment")
        precondition(flights.count <= fragments.count, "a fragment leaves twice")
        precondition(step <= configuration.steps, "trained past the last step")
    }
}
