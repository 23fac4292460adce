import ClusterModel
import WireProtocol

// MARK: - What a run that was left in an outage had not merged

/// A worker whose last steps were taken while its round could not be finished saves live parameters that
/// differ from the outer copy. The next run's first rounds take them in, although no step is left.
extension WorkerRound {
    /// All steps are taken, and what the last of them have learnt is in no round.
    var owesRest: Bool {
        guard let plan, hasRest, !schedule.sharesGradients else { return false }
        return step > 0 && step >= plan.pace.lastStep
    }

    /// READY says so in the words of a round under way: it is begun (again) after GO.
    var restHolding: [Holding] {
        guard owesRest, flights.isEmpty else { return [] }
        return [Holding(key: order.key(of: appliedTurn + 1), state: .inFlight)]
    }

    /// What it counts for. How many tokens are behind it the saved state does not say; members of a replica,
    /// some of which may have taken it over, must say the same: as much as one round of the plan.
    var restTokens: UInt64 {
        guard let plan else { return 0 }
        let batch = plan.plan.members.filter { plan.replica.contains($0.rank) }
            .reduce(UInt64(0)) { $0 + UInt64($1.microBatch) }
        return batch * UInt64(plan.pace.syncEvery) * UInt64(configuration.model.context)
    }

    /// At GO and not with the plan: members of a replica may have had other plans before, and some of them
    /// no state yet. Where sets are closed it is offered (`dropOffer`).
    mutating func countRest() {
        if schedule.closesSets {
            if isInstalled { dropOffer() }
        } else if owesRest {
            for index in fragments.indices { fragments[index].tokens = restTokens }
        }
    }
}
