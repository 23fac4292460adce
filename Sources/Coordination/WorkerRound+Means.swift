package import ClusterModel
import WireProtocol

// MARK: - Means

extension WorkerRound {
    /// Takes a position of the mean, and passes it on where this worker is its region's receiver.
    mutating func hold(_ mean: Mean, _ now: Instant) {
        // Before GO an exchange of the old plan takes nothing: a mean of the new plan belongs to an
        // attempt that has not begun here.
        guard let plan, !isFrozen, let geometry = geometry(underWay: mean.key) else {
            return keepForLater(mean)
        }
        let isOwn =
            mean.slice < geometry.sliceCount && geometry.owner(ofSlice: mean.slice) == plan.rank
        var taken = false
        change(mean.key) {
            taken = $0.hold(
                mean.payload, slice: mean.slice, position: mean.position, weight: mean.weight,
                mayLeave: mean.mayLeave)
            if taken, !isOwn { $0.firstArrival = $0.firstArrival ?? now }
        }
        guard taken else {
            effects.append(.release(mean.payload.handle))
            return
        }
        guard geometry.epoch == plan.epoch else { return }
        let onward =
            isOwn
            ? geometry.meanReceivers(slice: mean.slice)
            : geometry.forwards(slice: mean.slice, from: plan.rank)
        effects += onward.map { .forward(to: $0, mean) }
    }

    private mutating func keepForLater(_ mean: Mean) {
        guard let plan, hasMeans(mean.key), accepts(mean.key),
            isPosition(mean, of: plan.geometry(of: mean.key)),
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

    /// Where regions reduce parts of a round they have none of their own.
    private func hasMeans(_ key: CollectiveKey) -> Bool {
        key.scope == .pool || !configuration.schedule.reducesParts
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
        case .region: hasMeans(key) && key.round <= step
        case .pool:
            fragments.indices.contains(key.fragment.index)
                && key.round <= fragments[key.fragment.index].appliedRound
        }
    }

    /// A position held here, for a peer that pulls it.
    package func heldMean(key: CollectiveKey, slice: Int, position: Int) -> Mean? {
        for exchange in underWay + finished {
            guard exchange.key == key,
                let payload = exchange.mean(slice: slice, position: position)
            else { continue }
            return Mean(
                key: key, slice: slice, position: position, payload: payload,
                weight: exchange.weight(slice: slice, position: position),
                mayLeave: exchange.allMayLeave)
        }
        return nil
    }

    var underWay: [Exchange] { (inner.map { [$0] } ?? []) + flights }
    var finished: [Exchange] { (finishedInner.map { [$0] } ?? []) + finishedOuter }
}
