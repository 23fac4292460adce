import ClusterModel
package import WireProtocol

// MARK: - Reconfiguration

extension WorkerRound {
    /// A plan comes into force: what is under way stops where it is until GO.
    mutating func adopt(_ plan: Plan, _ epoch: Epoch) {
        guard
            let active = ActivePlan(
                epoch: epoch, plan: plan, schedule: configuration.schedule, worker: worker,
                chunkElements: chunkElements, spreadsExperts: spreadsExperts,
                keepsExperts: configuration.keepsExpertsAtHolders)
        else {
            effects.append(.violation("a plan that does not contain this worker"))
            return
        }
        if spreadsExperts, (self.plan?.replica.count ?? 0) > 1 { giveUpStep() }
        self.plan = active
        isFrozen = true
        boundary = nil
        if plan.activateAtRound == 0 { forgetCommits(beyond: plan) }
        closedSet = nil
        completed = nil
        effects.append(.abandonShards)
        effects += earlyMeans.map { .release($0.payload.handle) }
        earlyMeans = []
    }

    /// A run may begin again from an earlier round: what the attempt before committed beyond it is not.
    private mutating func forgetCommits(beyond plan: Plan) {
        for fragment in plan.fragments where fragments.indices.contains(fragment.id.index) {
            let index = fragment.id.index
            let known = max(1, fragment.round, fragments[index].appliedRound) - 1
            fragments[index].committedRound = min(fragments[index].committedRound, known)
        }
        if let first = plan.fragments.first { wholeRound = min(wholeRound, first.round) }
    }

    /// A joiner cannot know what its replica has trained on since each fragment left, nor what it has
    /// offered: where one has come in, all count from there. With GO and not with the plan: one that is
    /// taken back before GO has changed nothing, whichever members of a replica had it in force already.
    private mutating func countAnew() {
        for index in fragments.indices { fragments[index].tokens = 0 }
        hasRest = false
        expertTokens = []
        if schedule.closesSets { dropOffer() }
    }

    /// The gradients of experts that were elsewhere are with members of the plan before, some of whom may be
    /// gone. What has been shared already is not touched: its verdict comes with GO.
    private mutating func giveUpStep() {
        switch stage {
        case .computing: repeatsStep = true
        case .readyToShare: stage = .idle
        case .idle, .sharing, .readyToExchange, .awaitingCommit, .absorbing, .trained: break
        }
    }

    /// What READY says about the collectives this worker knows of.
    package var holdings: [Holding] {
        underWay.map { Holding(key: $0.key, state: $0.isComplete ? .holdsMean : .inFlight) }
            + finished.map { Holding(key: $0.key, state: .applied) } + restHolding
    }

    mutating func go(_ version: UInt32, _ verdicts: [Verdict], _ now: Instant) {
        guard let plan, plan.plan.planVersion == version else {
            effects.append(.violation("GO for plan \(version), which is not in force here"))
            return
        }
        guard isFrozen else { return }
        isFrozen = false
        if plan.plan.activateAtRound > 0 { countAnew() } else { countRest() }
        isInstalled = false
        for exchange in underWay where !exchange.isComplete {
            resume(exchange, verdicts.first { $0.key == exchange.key }, now)
        }
        if schedule.closesSets { beginClosedAgain(verdicts, now) }
    }

    private mutating func resume(_ exchange: Exchange, _ verdict: Verdict?, _ now: Instant) {
        if let verdict, verdict.verdict == .complete {
            for missing in exchange.missingPositions {
                effects.append(
                    .pull(
                        from: verdict.holder, key: exchange.key, slice: missing.slice,
                        position: missing.position))
            }
            return
        }
        effects += exchange.handles.map(Effect.release)
        if exchange.key.scope == .region || exchange.parts != nil, spreadsExperts {
            // Parts of it may have been with a member that is gone.
            return computeAgain(exchange)
        }
        if schedule.closesSets, exchange.key.scope == .pool {
            // What was offered stands; the coordinator has said who takes part in the next attempt.
            return flights.removeAll { $0.key == exchange.key }
        }
        share(
            exchange.key, exchange.weight, left: exchange.left,
            appliesAt: exchange.appliesAt, isFirst: false, now)
    }

    private mutating func computeAgain(_ exchange: Exchange) {
        if exchange.key.scope == .region {
            inner = nil
        } else {
            flights.removeAll { $0.key == exchange.key }
            departedTurn = appliedTurn
        }
        stage = .idle
    }
}

// MARK: - Resuming

extension WorkerRound {
    /// Starts from a saved state instead of from zero; before the first plan only. `round`: turns applied.
    package mutating func resume(step: UInt32, round: UInt32, hasRest: Bool = false) {
        precondition(plan == nil, "resumes under a plan")
        install(step: step, turn: round, hasRest: hasRest)
    }
}
