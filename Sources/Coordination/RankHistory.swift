import ClusterModel
import WireProtocol

/// Who had which rank under the plans that a member may still be under: a rank says nothing without its plan.
struct RankHistory: Sendable {
    private var plans: [(epoch: Epoch, members: [PlanMember])] = []

    /// Plans that nobody has said READY for may follow each other; after so many the oldest is forgotten.
    private static let most = 16

    mutating func note(_ plan: Plan, _ epoch: Epoch) {
        plans.append((epoch, plan.members))
        if plans.count > Self.most { plans.removeFirst() }
    }

    /// All members are under the newest plan, and whatever they said under another has come before.
    mutating func forgetOlder() { plans.removeFirst(max(0, plans.count - 1)) }

    /// Nil: no such rank, or a plan nobody can be under any more.
    ///
    /// - Parameter epoch: nil: of the newest plan.
    func member(_ rank: Rank, under epoch: Epoch?) -> PlanMember? {
        let plan = epoch == nil ? plans.last : plans.last { $0.epoch == epoch }
        guard let plan, plan.members.indices.contains(rank.index) else { return nil }
        return plan.members[rank.index]
    }
}
