package import ClusterModel
package import WireProtocol

// MARK: - Means

extension WorkerRound {
    /// Takes a position of the mean, and passes it on where this worker is its region's receiver.
    mutating func hold(_ mean: Mean, _ now: Instant) {
        // Before GO an exchange of the old plan takes nothing: a mean of the new plan belongs to an
        // attempt that has not begun here.
        guard let plan, !isFrozen, current?.key == mean.key else { return keepForLater(mean) }
        let isOwn =
            current.map { $0.geometry.owner(ofSlice: mean.slice) == plan.rank } ?? false
        let taken =
            current?.hold(
                mean.payload, slice: mean.slice, position: mean.position, weight: mean.weight,
                mayLeave: mean.mayLeave) ?? false
        guard taken, let exchange = current else {
            effects.append(.release(mean.payload.handle))
            return
        }
        if !isOwn, exchange.firstArrival == nil { current?.firstArrival = now }
        guard exchange.geometry.epoch == plan.epoch else { return }
        let onward =
            isOwn
            ? exchange.geometry.meanReceivers(slice: mean.slice)
            : exchange.geometry.forwards(slice: mean.slice, from: plan.rank)
        effects += onward.map { .forward(to: $0, mean) }
    }

    private mutating func keepForLater(_ mean: Mean) {
        guard let plan, accepts(mean.key), isPosition(mean, of: plan.geometry(of: mean.key)),
            !earlyMeans.contains(where: {
                $0.key == mean.key && $0.slice == mean.slice && $0.position == mean.position
            })
        else {
            effects.append(.release(mean.payload.handle))
            if !isFinished(mean.key) {
                effects.append(.violation("a mean of \(mean.key), which is not under way here"))
            }
            return
        }
        earlyMeans.append(mean)
        call(mean.key)
    }

    private func isPosition(_ mean: Mean, of geometry: CollectiveGeometry) -> Bool {
        mean.slice < geometry.sliceCount
            && mean.position < geometry.positionCount(ofSlice: mean.slice)
    }

    mutating func takeEarlyMeans(of key: CollectiveKey, _ now: Instant) {
        let early = earlyMeans
        earlyMeans = []
        for mean in early {
            if mean.key == key {
                hold(mean, now)
            } else if accepts(mean.key) {
                earlyMeans.append(mean)
            } else {
                effects.append(.release(mean.payload.handle))
            }
        }
    }

    private func isFinished(_ key: CollectiveKey) -> Bool {
        switch key.scope {
        case .region: key.round <= step
        case .pool: key.round <= fragment.appliedRound
        }
    }

    /// A position held here, for a peer that pulls it.
    package func heldMean(key: CollectiveKey, slice: Int, position: Int) -> Mean? {
        for exchange in [current, finishedInner, finishedOuter] {
            guard let exchange, exchange.key == key,
                let payload = exchange.mean(slice: slice, position: position)
            else { continue }
            return Mean(
                key: key, slice: slice, position: position, payload: payload,
                weight: exchange.totalWeight, mayLeave: exchange.allMayLeave)
        }
        return nil
    }

    /// Whether a contribution to `key` can belong to what this worker does now or next.
    package func accepts(_ key: CollectiveKey) -> Bool {
        switch key.scope {
        case .region:
            key.region == region && key.fragment == FragmentID(0) && key.round > step
                && key.round <= step + CoordinationLimits.roundsAhead
        case .pool:
            key.region == .none && key.fragment == FragmentID(0)
                && key.round > fragment.appliedRound
                && key.round <= fragment.appliedRound + CoordinationLimits.roundsAhead
        }
    }
}

// MARK: - Reconfiguration

extension WorkerRound {
    /// A plan comes into force: what is under way stops where it is until GO.
    mutating func adopt(_ plan: Plan, _ epoch: Epoch) {
        guard
            let active = ActivePlan(
                epoch: epoch, plan: plan, schedule: configuration.schedule, worker: worker,
                chunkElements: chunkElements)
        else {
            effects.append(.violation("a plan that does not contain this worker"))
            return
        }
        self.plan = active
        isFrozen = true
        effects.append(.abandonShards)
        effects += earlyMeans.map { .release($0.payload.handle) }
        earlyMeans = []
    }

    /// What READY says about the collectives this worker knows of.
    package var holdings: [Holding] {
        var holdings: [Holding] = []
        if let current {
            holdings.append(
                Holding(key: current.key, state: current.isComplete ? .holdsMean : .inFlight))
        }
        for finished in [finishedInner, finishedOuter] {
            if let finished { holdings.append(Holding(key: finished.key, state: .applied)) }
        }
        return holdings
    }

    mutating func go(_ version: UInt32, _ verdicts: [Verdict], _ now: Instant) {
        guard let plan, plan.plan.planVersion == version else {
            effects.append(.violation("GO for plan \(version), which is not in force here"))
            return
        }
        guard isFrozen else { return }
        isFrozen = false
        guard case .sharing(let key) = stage, let exchange = current, !exchange.isComplete else {
            return
        }
        if let verdict = verdicts.first(where: { $0.key == key }), verdict.verdict == .complete {
            for missing in exchange.missingPositions {
                effects.append(
                    .pull(
                        from: verdict.holder, key: key, slice: missing.slice,
                        position: missing.position))
            }
            return
        }
        effects += exchange.handles.map(Effect.release)
        share(key, weight: exchange.weight, now)
    }
}

// MARK: - Resuming

extension WorkerRound {
    /// Starts from a saved state instead of from zero; before the first plan only.
    package mutating func resume(step: UInt32, round: UInt32) {
        precondition(plan == nil, "resumes under a plan")
        install(step: step, round: round)
    }
}

// MARK: - Waiting

/// Why a trainer has nothing to do.
package enum IdleKind: String, Codable, CaseIterable, Sendable {
    /// A peer or the coordinator has not got there yet.
    case wait
    /// Bytes of the collective are on their way.
    case transfer
    /// A reconfiguration or a state transfer.
    case recover
}

extension WorkerRound {
    package var idleKind: IdleKind {
        if isFrozen { return .recover }
        switch stage {
        case .sharing: return current?.firstArrival == nil ? .wait : .transfer
        case .idle, .computing, .readyToShare, .readyToExchange, .awaitingCommit, .absorbing,
            .trained:
            return .wait
        }
    }

    /// What the worker waits for, in words, and for which members; nil while it works.
    package func waiting(shards: ShardReduction) -> (activity: String, ranks: [Rank])? {
        if isFrozen { return (plan == nil ? "the first plan" : "the new plan to start", []) }
        switch stage {
        case .sharing(let key):
            guard let exchange = current else { return nil }
            let contributors = shards.missingGroups(key).map {
                exchange.geometry.sender(
                    group: $0,
                    slice: plan.flatMap { exchange.geometry.slice(ownedBy: $0.rank) } ?? 0)
            }
            let ranks = contributors.isEmpty ? exchange.missingOwners : contributors
            return (Self.describe(key), ranks.filter { $0 != plan?.rank })
        case .awaitingCommit(let key):
            return ("the commit of round \(key.round - 1)", [])
        case .readyToShare(let next, _) where waitsForCommit(beforeSharing: next):
            return ("the commit of round \(fragment.appliedRound)", [])
        case .idle, .computing, .readyToShare, .readyToExchange, .absorbing:
            return nil
        case .trained:
            return ("the commit of the last round", [])
        }
    }

    static func describe(_ key: CollectiveKey) -> String {
        switch key.scope {
        case .region: "gradients of step \(key.round)"
        case .pool: "outer round \(key.round)"
        }
    }
}
