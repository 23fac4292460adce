package import ClusterModel
import WireProtocol

// MARK: - Leaving and being applied

extension WorkerRound {
    /// After a step, and after each application: lets the turn go that is due, then blocks on the flight
    /// that is due; otherwise the next step may begin.
    mutating func settle() {
        stage = .idle
        guard let plan, !schedule.sharesGradients else { return }
        if schedule.closesSets { return settleClosed(plan) }
        let next = departedTurn + 1
        if isDue(at: step), canDepart(next) {
            let key = order.key(of: next)
            let tokens = fragments[key.fragment.index].tokens
            stage = .readyToExchange(key, weight: schedule.weight(tokens: tokens))
        } else if let first = flights.first,
            first.appliesAt <= step || step >= plan.pace.lastStep
        {
            stage = .sharing(first.key)
        }
    }

    /// The values of `key` as they are now go out.
    mutating func depart(_ key: CollectiveKey, weight: UInt64, _ now: Instant) {
        guard let plan else { return }
        departedTurn = order.turn(of: key)
        leftAt = step
        mayDepart = false
        hasRest = false
        var trained = TrainedTokens(all: weight)
        leftWhole = isWhole(key)
        if !schedule.sharesGradients {
            fragments[key.fragment.index].tokens = 0
            trained.experts = expertTokens
            if !expertTokens.isEmpty {
                let absent = leftWhole ? [] : plan.expertRounds.absent(round: key.round)
                for expert in plan.experts(of: key.fragment)
                where absent.isEmpty || !absent[expert] {
                    expertTokens[expert] = 0
                }
            }
        }
        let isFinal = step >= plan.pace.lastStep
        share(
            key, trained, left: step,
            appliesAt: step + (isFinal ? 0 : plan.pace.overlap), now)
        if schedule.sharesGradients { stage = .sharing(key) } else { settle() }
    }

    /// Whether the schedule wants the next turn to leave after `step`.
    func isDue(at step: UInt32) -> Bool {
        guard let plan, !schedule.sharesGradients else { return false }
        return schedule.leaves(
            SchedulePosition(
                step: step, left: leftAt, turn: departedTurn + 1, pace: plan.pace))
    }

    /// Before the last step the replica has agreed on it in its gradient exchange. After it there is
    /// nothing to disagree about: each member lets a turn go as soon as it knows the commit.
    private func canDepart(_ turn: UInt32) -> Bool {
        guard let plan, !flights.contains(where: { $0.key.fragment == order.fragment(of: turn) })
        else { return false }
        return mayDepart || step >= plan.pace.lastStep && mayLeave
    }

    /// What this worker says about the next turn in its replica's gradient exchange.
    var mayLeave: Bool {
        if schedule.closesSets { return flights.first?.isComplete == true }
        let next = departedTurn + 1
        return knowsCommit(before: next) && next <= boundary ?? next
    }

    /// The fragment's previous round is known to be committed.
    func knowsCommit(before turn: UInt32) -> Bool {
        fragments[order.fragment(of: turn).index].committedRound + 1 >= order.round(of: turn)
    }

    /// The commit of a fragment's last round must be known before the step at which it leaves next, so
    /// that the whole replica decides alike; without a coordinator it trains on instead. A late turn can be
    /// due while its fragment is still under way: steps must go on then, or it would never be applied.
    func waitsForCommit(beforeSharing next: UInt32) -> Bool {
        let turn = departedTurn + 1
        guard !schedule.closesSets, let plan, isDue(at: next), turn <= boundary ?? turn,
            !knowsCommit(before: turn),
            !flights.contains(where: { $0.key.fragment == order.fragment(of: turn) })
        else { return false }
        return next == plan.pace.lastStep || !coordinatorIsLost || !schedule.trainsPastBoundary
    }

    // MARK: Applied

    mutating func endRound(_ key: CollectiveKey, _ digest: UInt64, tokens: UInt64) {
        fragments[key.fragment.index].appliedRound = key.round
        appliedTurn = order.turn(of: key)
        appliedAt = step
        if schedule.sharesGradients { fragments[0].tokens = 0 }
        effects.append(
            .report(
                Report(
                    key: key, digest: digest, step: UInt64(step), tokens: tokens,
                    experts: takeExpertLoads())))
        evaluateIfDue()
        let every = configuration.training.checkpointEvery * order.count
        if every > 0, appliedTurn % every == 0, step < configuration.steps {
            effects.append(.train(.checkpoint(step: step, round: appliedTurn)))
        }
    }

    /// Evaluation follows an outer round (under a blocking schedule: parameters that all replicas share)
    /// at or after each multiple of `evaluateEvery`, and the end. One member of each replica does it.
    private mutating func evaluateIfDue() {
        guard let plan, plan.leadsReplica else { return }
        let every = configuration.training.evaluateEvery
        let due = every > 0 && step / every > lastEvaluated / every
        let isEnd =
            step >= plan.pace.lastStep && flights.isEmpty && !isDue(at: step) && offer == nil
        guard due || isEnd else { return }
        lastEvaluated = step
        effects.append(.train(.evaluate(step: step)))
    }

    mutating func committed(_ key: CollectiveKey, _ allExperts: Bool) {
        guard key.scope == .pool, fragments.indices.contains(key.fragment.index) else { return }
        if allExperts { wholeRound = max(wholeRound, key.round + 1) }
        let index = key.fragment.index
        fragments[index].committedRound = max(fragments[index].committedRound, key.round)
    }

    /// Others are at a round that this replica, having finished, would not begin by itself.
    mutating func call(_ key: CollectiveKey) {
        let round = plan?.reducesParts == true ? key.roundOfParts ?? key : key
        guard round.scope == .pool, accepts(round) else { return }
        calledTurn = max(calledTurn, order.turn(of: round))
    }

    /// Whether a contribution to `key` can belong to what this worker does now or next.
    package func accepts(_ key: CollectiveKey) -> Bool {
        switch key.scope {
        case .region:
            if plan?.reducesParts == true, let round = key.roundOfParts {
                return key.region == region && accepts(round)
            }
            return key.region == region && key.fragment == FragmentID(0) && key.round > step
                && key.round <= step + CoordinationLimits.roundsAhead
        case .pool:
            guard key.region == .none, fragments.indices.contains(key.fragment.index) else {
                return false
            }
            let applied = fragments[key.fragment.index].appliedRound
            return key.round > applied && key.round <= applied + CoordinationLimits.roundsAhead
        }
    }

    mutating func install(step: UInt32, turn: UInt32, hasRest: Bool = false) {
        self.step = step
        self.hasRest = hasRest
        isInstalled = true
        appliedTurn = turn
        departedTurn = turn
        leftAt = step
        appliedAt = step
        offer = nil
        closedSet = nil
        mayDepart = false
        expertTokens = []
        fragments = fragments.indices.map {
            let round = order.rounds(of: FragmentID($0), through: turn)
            return FragmentState(appliedRound: round, committedRound: round, tokens: 0)
        }
        for flight in flights { effects += flight.handles.map(Effect.release) }
        flights = []
        lastEvaluated = step
        stage = .idle
        if schedule.closesSets { dropOffer() }
    }
}
