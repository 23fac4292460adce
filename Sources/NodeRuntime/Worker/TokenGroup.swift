package import ClusterModel
package import Coordination
package import Training
import WireProtocol

/// Who exchanges tokens under a plan, in the order of ranks: the members of one region, or of all where
/// tokens may leave theirs.
package struct TokenGroup: Equatable, Sendable {
    package var epoch: Epoch
    package var members: [WorkerID]
    /// Index of this worker.
    package var me: Int
    /// Where some experts are computed in one region only.
    package var crossing: TokenCrossing?

    package init(
        epoch: Epoch, members: [WorkerID], me: Int, crossing: TokenCrossing? = nil
    ) {
        self.crossing = crossing
        self.epoch = epoch
        self.members = members
        self.me = me
    }

    /// Under `plan`, for the member whose view it is.
    ///
    /// - Parameters:
    ///   - regions: of the topology.
    ///   - mayCross: the configuration lets experts live in one region.
    package init(_ plan: ActivePlan, regions: Int, mayCross: Bool) {
        let members = plan.plan.members.filter {
            plan.crossesTokens || $0.region == plan.me.region
        }.map(\.workerID)
        epoch = plan.epoch
        guard mayCross else {
            self.members = members
            me = members.firstIndex(of: plan.me.workerID) ?? 0
            return
        }
        // Without budgets nobody computes for another.
        self.members = plan.crossesTokens ? members : [plan.me.workerID]
        me = self.members.firstIndex(of: plan.me.workerID) ?? 0
        // A plan that names no experts has none that belong to one region.
        if !plan.plan.experts.isEmpty { crossing = TokenCrossing(plan, regions: regions) }
    }
}

extension TokenCrossing {
    fileprivate init(_ plan: ActivePlan, regions: Int) {
        var owners: [Int?] = plan.plan.expertOwners.map {
            $0.region.index < regions ? $0.region.index : nil
        }
        if owners.isEmpty { owners = Array(repeating: nil, count: plan.expertCount) }
        var blocks: [[Int?]] = []
        var first = 0
        for block in plan.plan.experts {
            blocks.append(Array(owners[first..<first + Int(block.count)]))
            first += Int(block.count)
        }
        let others = (0..<regions).map { plan.crossesTokens && $0 != plan.me.region.index }
        self.init(
            owners: blocks, region: plan.me.region.index,
            servers: others.indices.map {
                others[$0] ? plan.tokenServer(in: RegionID($0))?.index : nil
            },
            budgets: others.indices.map { others[$0] ? plan.tokenBudget(to: RegionID($0)) : 0 })
    }
}
