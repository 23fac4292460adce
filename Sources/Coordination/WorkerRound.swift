package import ClusterModel
package import WireProtocol

/// The order of a worker's work: compute, share the gradient inside the region, step, let a fragment
/// go, take the outer step, report. Blocks where the schedule says so and nowhere else.
///
/// ```
/// idle -> computing -> readyToShare -> sharing(inner) -> absorbing -> idle
///                                                            |
///   (a fragment leaves)   idle <- absorbing <- sharing(outer) <- readyToExchange
/// ```
///
/// A new plan freezes it: what is under way stays, nothing new starts until GO says for each collective
/// whether it is completed from a holder or started again (docs/architecture.md, "Epoch change").
package struct WorkerRound: Sendable {
    package enum Event: Codable, Equatable, Sendable {
        /// A plan that is in force from now on. Legal in every stage.
        case plan(Plan, epoch: Epoch)
        /// The coordinator's verdicts; ends the freeze of the plan with this version.
        case go(planVersion: UInt32, verdicts: [Verdict])
        /// The gradient of `step` is in the trainer. Only in `computing`.
        case computed(step: UInt32, loss: Double, tokens: UInt64)
        /// One chunk of this worker's contribution. Late ones of an abandoned attempt are dropped.
        case encoded(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, payload: EncodedPayload)
        /// A position of a mean, from its owner, a forwarder, a holder, or this worker's own shard.
        case mean(Mean)
        /// The trainer has stepped. Only in `absorbing`.
        case absorbed(key: CollectiveKey, target: TrainerOrder.Target, digest: UInt64)
        case committed(key: CollectiveKey)
        /// Something of somebody else's contribution to `key` arrived at this worker's shard.
        case arrival(key: CollectiveKey)
        /// An owner lacks this worker's contribution.
        case called(key: CollectiveKey)
        case coordinatorLost
        case coordinatorReturned
        /// State taken over from a peer: everything starts from here.
        case stateInstalled(step: UInt32, round: UInt32)
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
        /// Nothing under way: between two steps, frozen, or without a plan.
        case idle
        case computing(step: UInt32)
        /// The gradient is there; the exchange has not started (frozen, or the commit of the previous
        /// round is not known yet).
        case readyToShare(step: UInt32, tokens: UInt64)
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
        /// Inner step after which the fragment last left.
        var leftAt: UInt32 = 0
        /// Tokens the replica has trained on since.
        var tokens: UInt64 = 0
    }

    let worker: WorkerID
    package let region: RegionID
    let configuration: RunConfiguration
    let schedule: any OuterSchedule
    /// Elements of a slice that travel together.
    let chunkElements: Int

    package internal(set) var plan: ActivePlan?
    package internal(set) var isFrozen = true
    package internal(set) var stage: Stage = .idle
    /// Inner steps applied.
    package internal(set) var step: UInt32 = 0
    var fragment = FragmentState()
    var current: Exchange?
    /// The last finished exchange of each scope: others may still need its mean.
    var finishedInner: Exchange?
    var finishedOuter: Exchange?
    /// Means of collectives this worker has not come to yet: an owner that needs nothing from here can
    /// be done first. At most one per position of the few collectives `accepts` lets in.
    var earlyMeans: [Mean] = []
    var coordinatorIsLost = false
    /// A plan is announced that holds from the boundary after this round: no step begins there before
    /// it is in force, since it says who draws what.
    var pausesAfter: UInt32?
    /// Highest outer round somebody has contributed to here.
    var calledRound: UInt32 = 0
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
        schedule = configuration.schedule.outerSchedule
    }

    /// Last outer round applied here.
    package var round: UInt32 { fragment.appliedRound }

    package mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
        switch event {
        case .plan(let plan, let epoch): adopt(plan, epoch)
        case .go(let version, let verdicts): go(version, verdicts, now)
        case .computed(let step, let loss, let tokens): computed(step, loss, tokens)
        case .encoded(let key, let epoch, let slice, let position, let payload):
            encoded(key, epoch, slice, position, payload)
        case .mean(let mean): hold(mean, now)
        case .absorbed(let key, let target, let digest): absorbed(key, target, digest)
        case .committed(let key): committed(key)
        case .arrival(let key):
            if current?.key == key, current?.firstArrival == nil { current?.firstArrival = now }
            call(key)
        case .called(let key): call(key)
        case .coordinatorLost: coordinatorIsLost = true
        case .coordinatorReturned: coordinatorIsLost = false
        case .stateInstalled(let step, let round): install(step: step, round: round)
        }
        advance(now)
        checkInvariants()
        defer { effects = [] }
        return effects
    }

    /// Others are at a round that this replica, having finished, would not begin by itself.
    mutating func call(_ key: CollectiveKey) {
        guard key.scope == .pool, accepts(key) else { return }
        calledRound = max(calledRound, key.round)
    }

    private func checkInvariants() {
        switch stage {
        case .sharing(let key), .awaitingCommit(let key):
            precondition(current?.key == key, "shares without an exchange")
        case .absorbing, .idle, .computing, .readyToShare, .readyToExchange, .trained:
            break
        }
        precondition(
            fragment.appliedRound <= fragment.committedRound + 1,
            "more than one uncommitted round of a fragment")
        precondition(step <= configuration.steps, "trained past the last step")
    }
}

// MARK: - Deciding what is next

extension WorkerRound {
    /// Goes as far as the present knowledge allows.
    private mutating func advance(_ now: Instant) {
        var moved = true
        while moved { moved = advanceOnce(now) }
    }

    private mutating func advanceOnce(_ now: Instant) -> Bool {
        guard let plan else { return false }
        switch stage {
        case .idle:
            guard !isFrozen else { return false }
            if step == configuration.steps {
                stage = .trained
                effects.append(.trained)
            } else if let pausesAfter, round >= pausesAfter {
                return false
            } else {
                stage = .computing(step: step + 1)
                effects.append(
                    .train(.compute(step: step + 1, samples: plan.samples(ofStep: step + 1))))
            }
            return true
        case .readyToShare(let next, let tokens):
            guard !isFrozen, !waitsForCommit(beforeSharing: next) else { return false }
            if plan.replica.count > 1 {
                share(.inner(region: region, step: next), weight: tokens, now)
            } else {
                gradientIsWhole(next, tokens)
            }
            return true
        case .readyToExchange(let key, let weight):
            guard !isFrozen else { return false }
            share(key, weight: weight, now)
            return true
        case .sharing(let key):
            guard current?.isComplete == true else { return false }
            stage = .awaitingCommit(key)
            return true
        case .awaitingCommit(let key):
            guard key.scope == .region || fragment.committedRound + 1 >= key.round else {
                return false
            }
            absorbCurrent(key)
            return true
        case .trained:
            // Replicas that trained on through an outage, or resumed at unlike steps, need unlike
            // numbers of rounds: who has finished takes part in the others' with no tokens.
            guard !isFrozen, calledRound > fragment.appliedRound else { return false }
            stage = .readyToExchange(nextRound, weight: fragment.tokens)
            return true
        case .computing, .absorbing:
            return false
        }
    }

    /// The commit of the last applied round must be known before the step at which the fragment leaves
    /// next, so that the whole replica decides alike; without a coordinator it trains on instead.
    func waitsForCommit(beforeSharing next: UInt32) -> Bool {
        guard !schedule.sharesGradients, leavesAfter(next) else { return false }
        if fragment.committedRound >= fragment.appliedRound { return false }
        return next == configuration.steps || !coordinatorIsLost || !schedule.trainsPastBoundary
    }

    private func leavesAfter(_ step: UInt32) -> Bool {
        schedule.leaves(
            afterStep: step, left: fragment.leftAt, final: step == configuration.steps)
    }

    private var nextRound: CollectiveKey {
        .outer(fragment: FragmentID(0), round: fragment.appliedRound + 1)
    }

    private var knowsCommit: Bool { fragment.committedRound >= fragment.appliedRound }

    /// Starts (or starts again) this worker's part in a collective.
    mutating func share(_ key: CollectiveKey, weight: UInt64, _ now: Instant) {
        guard let plan else { return }
        let geometry = plan.geometry(of: key)
        let exchange = Exchange(
            key: key, geometry: geometry, weight: weight, mayLeave: knowsCommit, began: now)
        current = exchange
        stage = .sharing(key)
        effects.append(.openShard(key))
        defer { takeEarlyMeans(of: key, now) }
        let chunks = chunksToSend(geometry, by: plan.rank)
        effects.append(
            .train(
                .encode(
                    TrainerOrder.Encoding(
                        key: key, epoch: plan.epoch,
                        source: key.scope == .region || schedule.sharesGradients
                            ? .gradient : .outerGradient,
                        transform: plan.transform(of: key), chunks: chunks,
                        fragment: elementRanges(of: key)))))
    }

    /// Position by position through all slices, so that every owner has something to reduce from the
    /// start; beginning with the owner after `rank`, so that not all senders turn to the same one.
    private func chunksToSend(
        _ geometry: CollectiveGeometry, by rank: Rank
    ) -> [TrainerOrder.Chunk] {
        let slices = geometry.slicesSent(by: rank)
        let first = slices.firstIndex { geometry.owner(ofSlice: $0) > rank } ?? 0
        let rotated = slices[first...] + slices[..<first]
        let counts = rotated.map { geometry.positionCount(ofSlice: $0) }
        var chunks: [TrainerOrder.Chunk] = []
        chunks.reserveCapacity(counts.reduce(0, +))
        for position in 0..<(counts.max() ?? 0) {
            for (slice, count) in zip(rotated, counts) where position < count {
                chunks.append(
                    TrainerOrder.Chunk(
                        slice: slice, position: position,
                        range: geometry.range(ofSlice: slice, position: position)))
            }
        }
        return chunks
    }

    /// Ranges of the parameter vector that `key` covers.
    func elementRanges(of key: CollectiveKey) -> [ElementRange] {
        guard let plan else { return [] }
        switch key.scope {
        case .region: return plan.plan.fragments.flatMap(\.ranges)
        case .pool: return plan.plan.fragments.first { $0.id == key.fragment }?.ranges ?? []
        }
    }

    /// The replica's gradient of `next` is in the trainer: step on it, or average it over the pool.
    private mutating func gradientIsWhole(_ next: UInt32, _ tokens: UInt64) {
        if schedule.sharesGradients {
            fragment.tokens = tokens
            stage = .readyToExchange(nextRound, weight: tokens)
        } else {
            fragment.tokens += tokens
            let key = CollectiveKey.inner(region: region, step: next)
            absorb(key, .optimiserStep, means: [])
        }
    }

    private mutating func absorbCurrent(_ key: CollectiveKey) {
        guard let current else { return }
        let target: TrainerOrder.Target
        switch (key.scope, schedule.sharesGradients) {
        case (.region, true): target = .gradient
        case (.region, false): target = .optimiserStep
        case (.pool, true): target = .pooledOptimiserStep
        case (.pool, false): target = .outerStep
        }
        absorb(key, target, means: current.decodable)
    }

    private mutating func absorb(
        _ key: CollectiveKey, _ target: TrainerOrder.Target, means: [TrainerOrder.MeanChunk]
    ) {
        stage = .absorbing(key, target)
        let nextStep = target == .outerStep ? step : step + 1
        effects.append(
            .train(
                .absorb(
                    TrainerOrder.Absorption(
                        key: key, step: nextStep, target: target,
                        fragment: elementRanges(of: key), means: means))))
    }
}

// MARK: - Trainer's answers

extension WorkerRound {
    private mutating func computed(_ computedStep: UInt32, _ loss: Double, _ tokens: UInt64) {
        guard stage == .computing(step: computedStep) else {
            effects.append(.violation("gradient of step \(computedStep) in stage \(stage)"))
            return
        }
        stage = .readyToShare(step: computedStep, tokens: tokens)
        effects.append(
            .event(.stepped(worker: worker, step: computedStep, loss: loss, tokens: tokens)))
    }

    private mutating func encoded(
        _ key: CollectiveKey, _ epoch: Epoch, _ slice: Int, _ position: Int,
        _ payload: EncodedPayload
    ) {
        guard let plan, let exchange = current, exchange.key == key,
            exchange.geometry.epoch == epoch, plan.epoch == epoch,
            let group = exchange.geometry.group(of: plan.rank)
        else {
            effects.append(.release(payload.handle))
            return
        }
        effects.append(
            .contribute(
                to: exchange.geometry.owner(ofSlice: slice), key: key, slice: slice,
                position: position, group: group, payload: payload, weight: exchange.weight,
                mayLeave: exchange.mayLeave))
    }

    private mutating func absorbed(
        _ key: CollectiveKey, _ target: TrainerOrder.Target, _ digest: UInt64
    ) {
        guard stage == .absorbing(key, target) else {
            effects.append(.violation("\(target) of \(key) ended in stage \(stage)"))
            return
        }
        let exchange = current?.key == key ? current : nil
        if exchange != nil { retire(exchange) }
        switch target {
        case .gradient:
            let tokens = exchange?.totalWeight ?? 0
            gradientIsWhole(step + 1, tokens)
        case .optimiserStep:
            let mayLeave = exchange?.allMayLeave ?? knowsCommit
            if let exchange { fragment.tokens += exchange.totalWeight }
            step += 1
            stage =
                leavesAfter(step) && mayLeave
                ? .readyToExchange(nextRound, weight: fragment.tokens) : .idle
        case .pooledOptimiserStep, .outerStep:
            if target == .pooledOptimiserStep { step += 1 }
            endRound(key, digest, tokens: exchange?.totalWeight ?? 0)
            stage = .idle
        }
    }

    /// Keeps the finished exchange for peers that lack positions; lets go of the one before.
    private mutating func retire(_ exchange: Exchange?) {
        guard let exchange else { return }
        current = nil
        switch exchange.key.scope {
        case .region:
            finishedInner.map { effects += $0.handles.map(Effect.release) }
            finishedInner = exchange
        case .pool:
            finishedOuter.map { effects += $0.handles.map(Effect.release) }
            finishedOuter = exchange
        }
    }

    private mutating func endRound(_ key: CollectiveKey, _ digest: UInt64, tokens: UInt64) {
        fragment.appliedRound = key.round
        fragment.leftAt = step
        fragment.tokens = 0
        effects.append(
            .report(Report(key: key, digest: digest, step: UInt64(step), tokens: tokens)))
        evaluateIfDue()
        let every = configuration.training.checkpointEvery
        if every > 0, key.round % every == 0, step < configuration.steps {
            effects.append(.train(.checkpoint(step: step, round: key.round)))
        }
    }

    /// Evaluation follows an outer round (the parameters all replicas share) at or after each multiple of
    /// `evaluateEvery`, and the end. One member of each replica does it.
    private mutating func evaluateIfDue() {
        guard let plan, plan.leadsReplica else { return }
        let every = configuration.training.evaluateEvery
        let due = every > 0 && step / every > lastEvaluated / every
        guard due || step == configuration.steps else { return }
        lastEvaluated = step
        effects.append(.train(.evaluate(step: step)))
    }

    private mutating func committed(_ key: CollectiveKey) {
        guard key.scope == .pool else { return }
        fragment.committedRound = max(fragment.committedRound, key.round)
    }

    mutating func install(step: UInt32, round: UInt32) {
        self.step = step
        fragment = FragmentState(
            appliedRound: round, committedRound: round, leftAt: step, tokens: 0)
        lastEvaluated = step
        stage = .idle
    }
}
