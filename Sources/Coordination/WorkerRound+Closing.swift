import ClusterModel
import WireProtocol

// MARK: - Rounds that the coordinator closes

/// A replica offers what it has, trains on, sends when the coordinator says that it is counted, and takes
/// in means between two steps, whether it is in them or not. Nothing here waits, except after the last step.
extension WorkerRound {
    /// After a step and after each application: offers what is due, then takes in a mean that all
    /// members of the replica hold. In this order everywhere, so that members offer the same bytes.
    mutating func settleClosed(_ plan: ActivePlan) {
        if offer == nil, isDue(at: step) { keepAndOffer(plan) }
        guard let flight = flights.first, flight.isComplete,
            mayDepart || step >= plan.pace.lastStep
        else { return }
        stage = .sharing(flight.key)
    }

    private mutating func keepAndOffer(_ plan: ActivePlan) {
        let fragment = FragmentID(0)
        let made = Offer(
            fragment: fragment, step: UInt64(step), tokens: fragments[0].tokens,
            steps: UInt64(step - leftAt))
        offer = made
        hasRest = false
        fragments[0].tokens = 0
        leftAt = step
        let key = order.key(of: appliedTurn + 1)
        effects.append(
            .train(
                .encode(
                    TrainerOrder.Encoding(
                        key: key, epoch: plan.epoch, source: .offeredOuterGradient, keeps: true,
                        transform: plan.plan.poolTransform, chunks: [],
                        fragment: elementRanges(of: key)))))
        effects.append(.offer(made))
    }

    // MARK: A set is closed

    mutating func closed(_ close: Close, _ epoch: Epoch, _ now: Instant) {
        // Ranks are those of one epoch; and said again, it may come when all is done.
        guard schedule.closesSets, let plan, plan.epoch == epoch, close.key.scope == .pool,
            close.key.fragment == FragmentID(0), close.key.round > fragments[0].appliedRound
        else { return }
        guard close.key.round == fragments[0].appliedRound + 1 else {
            effects.append(
                .violation("\(close.key) is closed while \(fragments[0].appliedRound) is applied"))
            return
        }
        // The coordinator closes no round before the one before is committed.
        committed(
            .outer(fragment: close.key.fragment, round: close.key.round - 1), false)
        closedSet = close
        if !isFrozen { begin(close, plan, now) }
    }

    /// After GO: what was closed and is not under way here starts, or starts again, or is fetched.
    mutating func beginClosedAgain(_ verdicts: [Verdict], _ now: Instant) {
        if let offer { effects.append(.offer(offer)) }
        // CLOSE comes before GO, unless it was lost with a connection: then it is said again later.
        completed = verdicts.first { $0.key.scope == .pool && $0.verdict == .complete }
        guard let plan, let closedSet, closedSet.key.round > fragments[0].appliedRound else {
            return
        }
        begin(closedSet, plan, now)
    }

    private mutating func begin(_ close: Close, _ plan: ActivePlan, _ now: Instant) {
        guard flights.isEmpty else { return }
        let key = close.key
        let geometry = plan.geometry(of: key)
        let own = geometry.group(of: plan.rank)
        let counted = close.contributions.compactMap { contribution in
            geometry.group(of: contribution.rank).map {
                ShardReduction.Counted(group: $0, weight: contribution.weight)
            }
        }
        let mine = counted.first { $0.group == own }
        var exchange = Exchange(
            key: key, geometry: geometry, weight: TrainedTokens(all: mine?.weight ?? 0),
            mayLeave: false, began: now)
        exchange.left = UInt32(clamping: offer?.step ?? 0)
        exchange.merges = mine != nil
        flights.append(exchange)
        if mine != nil, offer == nil {
            effects.append(.violation("\(key) counts on this worker, which has offered nothing"))
        }
        if let holder = completed?.key == key ? completed?.holder : nil {
            for missing in exchange.missingPositions {
                effects.append(
                    .pull(
                        from: holder, key: key, slice: missing.slice, position: missing.position))
            }
        } else {
            effects.append(.openShard(key))
            effects.append(.closeShard(key, counted))
            if mine != nil { send(key, geometry, plan) }
        }
        takeEarlyMeans(of: key, now)
    }

    private mutating func send(
        _ key: CollectiveKey, _ geometry: CollectiveGeometry, _ plan: ActivePlan
    ) {
        for (transform, chunks) in byTransform(chunks(geometry, by: plan.rank), key, plan) {
            effects.append(
                .train(
                    .encode(
                        TrainerOrder.Encoding(
                            key: key, epoch: plan.epoch, source: .offeredOuterGradient,
                            transform: transform, chunks: chunks,
                            fragment: elementRanges(of: key)))))
        }
    }

    // MARK: Taken in

    /// What the live parameters keep when this mean is applied now; nil: nothing, they become the outer
    /// copy bit by bit.
    func carried(_ exchange: Exchange?) -> TrainerOrder.Carried? {
        guard schedule.closesSets, let exchange else { return nil }
        guard exchange.merges else { return .everything }
        return exchange.left == step ? nil : .sinceOffer
    }

    mutating func merged(_ exchange: Exchange?) {
        mayDepart = false
        closedSet = nil
        if exchange?.merges == true { offer = nil }
    }

    /// The first GO or a boundary, where sets are closed: what was offered has not left the live parameters;
    /// after the last step it is due at once.
    mutating func dropOffer() {
        offer = nil
        for index in fragments.indices { fragments[index].tokens = owesRest ? restTokens : 0 }
        let isPastEnd = plan.map { step > 0 && step >= $0.pace.lastStep } ?? false
        let since = owesRest ? min(step, plan?.pace.syncEvery ?? 1) : 1
        leftAt = isPastEnd ? step - since : step
        if stage == .trained { stage = .idle }
    }
}
