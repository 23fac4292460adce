package import ClusterModel
import WireProtocol

// MARK: - Where a plan lets tokens go

extension ActivePlan {
    /// Tokens may leave for other regions: all members take part in every exchange of a step.
    package var crossesTokens: Bool { !plan.tokenBudgets.isEmpty }

    /// By number: whether another region computes it alone; empty: none.
    package var expertsElsewhere: [Bool] {
        plan.expertOwners.map { $0.region != .none && $0.region != me.region }
    }

    /// Tokens of this member that may go to a region in a step: its part of its region's, by samples.
    package func tokenBudget(to region: RegionID) -> Int {
        let budget = plan.tokenBudgets.first { $0.from == me.region && $0.to == region }
        let samples = plan.members.reduce(UInt64(0)) {
            $1.region == me.region ? $0 + UInt64($1.microBatch) : $0
        }
        guard let budget, samples > 0 else { return 0 }
        return Int(UInt64(budget.tokens) * UInt64(me.microBatch) / samples)
    }

    /// The member of another region that computes its experts for this one: those of a region serve in turn.
    package func tokenServer(in region: RegionID) -> Rank? {
        let servers = plan.members.filter { $0.region == region }.map(\.rank)
        let own = plan.members.filter { $0.region == me.region }.map(\.rank)
        guard !servers.isEmpty, let place = own.firstIndex(of: rank) else { return nil }
        return servers[place % servers.count]
    }
}
