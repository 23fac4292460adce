import ClusterModel
import ExpertRouting

/// Where experts are, or now are.
package struct ExpertSpreadReport: Equatable, Sendable {
    /// By block: which member of the region computes each expert.
    package var holders: [[Int]]
    /// After a placement by loads: what it went by, and what it came to.
    package var placement: Placement?
    /// Under `keep: holder`: what moved.
    package var moves: Moves?

    /// Weights and moments on their way to who computes their experts now.
    package struct Moves: Equatable, Sendable {
        /// Values that an expert takes along.
        package var valuesOfExpert: Int
        /// Until this worker had what comes to it.
        package var nanoseconds: Int64
        /// Experts this worker holds now that nobody has brought: they begin from the last round.
        package var lost: Int

        package init(valuesOfExpert: Int, nanoseconds: Int64, lost: Int) {
            self.valuesOfExpert = valuesOfExpert
            self.nanoseconds = nanoseconds
            self.lost = lost
        }
    }

    package struct Placement: Equatable, Sendable {
        /// Steps whose loads were counted.
        package var steps: Int
        /// Load of the busiest member / mean load, mean over blocks: with the holders before and those after.
        package var before: Double
        package var after: Double

        package init(steps: Int, before: Double, after: Double) {
            self.steps = steps
            self.before = before
            self.after = after
        }
    }

    package init(holders: [[Int]], placement: Placement? = nil, moves: Moves? = nil) {
        self.holders = holders
        self.placement = placement
        self.moves = moves
    }
}

/// Where the experts of all blocks are under one plan. All members of a region decide alike: from the plan's
/// members at first, so that who joins knows as much as who was there, then from loads that came with the
/// exchanged gradient, of the steps since.
package final class SpreadState {
    /// Epoch it holds for.
    package let plan: UInt32
    package let members: Int
    /// By block: the member that computes each expert.
    package private(set) var holders: [[Int]]
    /// Steps since the plan or the last placement.
    package private(set) var steps = 0
    /// By block and expert: choices over mean choices, summed over those steps.
    private var loads: [[Double]]
    /// Made when it is needed.
    var memory: SpreadMemory?
    /// Under `keep: holder`: what the holders need has been brought to them.
    var isBrought = false

    /// What a placement must gain in a block, as a share of the mean load; less is noise.
    private static let gain = 0.01

    /// - Parameter holders: by block; nil: each member holds its part of the experts.
    package init(
        _ experts: ExpertShape, layers: Int, plan: UInt32, members: Int, holders: [[Int]]? = nil
    ) {
        self.plan = plan
        self.members = members
        self.holders =
            holders
            ?? Array(
                repeating: Self.holders(experts: experts.count, members: members), count: layers)
        loads = Array(
            repeating: Array(repeating: 0, count: experts.count), count: layers)
    }

    package static func holders(experts: Int, members: Int) -> [Int] {
        (0..<experts).map { ExpertHolders.holder(of: $0, experts: experts, members: members) }
    }

    /// The loads of one step; the same bits at every member.
    package func add(_ use: [ExpertUse]) {
        guard use.count == loads.count else { return }
        steps += 1
        for (block, use) in use.enumerated() {
            for (expert, share) in use.shares.enumerated() { loads[block][expert] += Double(share) }
        }
    }

    /// Deals the experts of each block anew: as many to each member as before, so that the busiest has as
    /// little to do as can be. Begins to count afresh.
    package func place() -> ExpertSpreadReport {
        var (before, after) = (0.0, 0.0)
        for block in holders.indices {
            let old = imbalance(holders[block], loads[block])
            let placed = dealt(block)
            let new = imbalance(placed, loads[block])
            let isBetter = old - new >= Self.gain
            if isBetter { holders[block] = placed }
            before += old
            after += isBetter ? new : old
        }
        let count = Double(holders.count)
        let report = ExpertSpreadReport(
            holders: holders,
            placement: ExpertSpreadReport.Placement(
                steps: steps, before: before / count, after: after / count))
        steps = 0
        isBrought = false
        for block in loads.indices { loads[block] = loads[block].map { _ in 0 } }
        memory?.place(holders)
        return report
    }

    private func dealt(_ block: Int) -> [Int] {
        let experts = holders[block].count
        let slots = (0..<members).map { member in
            Self.holders(experts: experts, members: members).count { $0 == member }
        }
        let placement = UnequalPlacement(
            loads: loads[block],
            pool: PoolOfDevices(
                speed: slots.map { _ in 1 }, slots: slots, node: slots.map { _ in 0 },
                link: [[1]], moveCost: 0, present: []))
        var placed = holders[block]
        for (member, held) in placement.devices.enumerated() {
            for expert in held { placed[expert] = member }
        }
        return placed
    }

    private func imbalance(_ holders: [Int], _ loads: [Double]) -> Double {
        var byMember = [Double](repeating: 0, count: members)
        for (expert, load) in loads.enumerated() { byMember[holders[expert]] += load }
        let mean = byMember.reduce(0, +) / Double(members)
        return mean > 0 ? (byMember.max() ?? 0) / mean : 1
    }
}
