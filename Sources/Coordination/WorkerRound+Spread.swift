package import ClusterModel
import WireProtocol

// MARK: - Experts that one member of the region computes

/// Which member of the region contributes each expert, by the plan's numbers, as the trainer has placed them.
struct PlacedExperts: Equatable, Sendable {
    /// Of the plan they are placed under.
    var epoch: Epoch
    var holders: [Int]
}

extension WorkerRound {
    /// What the region reduces, and who puts in what: what this worker's trainer has computed last.
    func regionGeometry(of key: CollectiveKey, _ plan: ActivePlan) -> CollectiveGeometry {
        let geometry = plan.geometry(of: key)
        guard key.scope == .region, plan.spreadsExperts, !plan.keepsExperts else { return geometry }
        let isPlaced = placedExperts?.epoch == plan.epoch
        return geometry.contributing(
            (isPlaced ? placedExperts?.holders : nil) ?? plan.firstHolders)
    }

    /// Experts are with other members from the step on that is computed now. What was placed under a plan
    /// that is over is nowhere any more.
    mutating func place(_ holders: [UInt16], _ epoch: Epoch) {
        guard let plan, plan.epoch == epoch, plan.spreadsExperts else { return }
        guard holders.count == plan.expertCount,
            holders.allSatisfy({ Int($0) < plan.replica.count })
        else {
            effects.append(
                .violation(
                    "\(holders.count) experts placed at \(plan.replica.count) members; the plan has "
                        + "\(plan.expertCount)"))
            return
        }
        placedExperts = PlacedExperts(epoch: epoch, holders: holders.map { Int($0) })
        guard plan.keepsExperts else { return }
        let members = plan.replica.map { plan.plan.members[$0.index].workerID }
        keepers = holders.map { members[Int($0)] }
    }

    /// By expert, the member of this worker's region that has what it has learnt since the last round, and so
    /// contributes it; nil: nobody has more than the others. Empty: of no expert.
    ///
    /// Where no step was taken since a member may know nothing of those before: all go by the plan, under
    /// which experts are as after a resume where nothing has placed them anew.
    func keepers(of key: CollectiveKey, _ plan: ActivePlan) -> [Rank?] {
        guard key.scope == .pool, plan.keepsExperts, plan.replica.count > 1 else { return [] }
        guard step > appliedAt else { return plan.firstHolders.map { plan.replica[$0] } }
        return keepers.map { worker in
            plan.member(worker).flatMap { $0.region == region ? $0.rank : nil }
        }
    }
}

extension ActivePlan {
    /// Whether a group's part of a chunk may come from a member: who sends what all of them hold, or, of an
    /// expert that one of them keeps, any.
    package func mayContribute(
        _ sender: Rank, group: Int, slice: Int, position: Int, to key: CollectiveKey,
        _ geometry: CollectiveGeometry
    ) -> Bool {
        if sender == geometry.sender(group: group, slice: slice) { return true }
        return keepsExperts && key.scope == .pool && geometry.groups[group].contains(sender)
            && geometry.expert(ofSlice: slice, position: position) != nil
    }

    /// Where experts are spread, those that a member holds first are in the slice it owns.
    func order(ofRegion region: RegionID) -> [ElementRange] {
        guard spreadsExperts, !schedule.isOneCollective else { return wholeVector }
        return ExpertHolders.order(
            elements: plan.fragments.reduce(UInt64(0)) { $0 + $1.elements }, blocks: plan.experts,
            members: plan.members.count { $0.region == region }
        ).map { ElementRange(start: $0.lowerBound, count: UInt64($0.count)) }
    }

    /// Before anything has placed them: of each block the members have equal parts, in rank order.
    package var firstHolders: [Int] {
        let members = replica.count
        return plan.experts.flatMap { block in
            (0..<Int(block.count)).map {
                ExpertHolders.holder(of: $0, experts: Int(block.count), members: members)
            }
        }
    }

    /// Tokens of the whole region in a step in which this worker has so many: each member trains on its
    /// micro-batch, of equal sequences.
    func tokensOfRegion(own tokens: UInt64) -> UInt64 {
        let batches = plan.members.reduce(UInt64(0)) {
            $0 + ($1.region == me.region ? UInt64($1.microBatch) : 0)
        }
        let own = UInt64(max(1, me.microBatch))
        return own.dividingFullWidth(tokens.multipliedFullWidth(by: batches)).quotient
    }
}
