package import ClusterModel
package import Training

/// For people: which worker computes which experts, and what became of them when that changed.
package struct SpreadText {
    private let names: [String]
    private var members: [WorkerID] = []
    private var holders: [[Int]] = []

    /// - Parameter names: by seat.
    package init(names: [String]) { self.names = names }

    /// What is new with `report`; nil if nothing is. `members`: of the region, as the report counts them.
    package mutating func update(
        _ report: ExpertSpreadReport, members: [WorkerID], step: UInt32
    ) -> String? {
        defer { (self.members, holders) = (members, report.holders) }
        let total = report.holders.reduce(0) { $0 + $1.count }
        let now = shares(members, report.holders)
        guard !self.members.isEmpty else {
            return
                "experts of \(report.holders.count) blocks, \(total) in all, are computed by \(now)"
        }
        let moved = movedCount(members, report.holders)
        let rest =
            "\(moved) of \(total) are computed elsewhere than before; 0 bytes of weights moved, since every "
            + "worker has them all; now \(now)"
        if let placement = report.placement {
            let (before, after) = (placement.before, placement.after)
            return
                "experts placed anew before step \(step) by the loads of \(placement.steps) steps: the "
                + "busiest worker had \(Figures.fixed(before, 3)) of the mean load, would have had "
                + "\(Figures.fixed(after, 3)); 0 steps lost; \(rest)"
        }
        guard self.members != members else { return nil }
        return "experts placed anew before step \(step)\(departed(members)); \(rest)"
    }

    /// The region has one worker left: it computes everything.
    package mutating func alone(_ members: [WorkerID], step: UInt32) -> String? {
        guard self.members.count > 1 else { return nil }
        defer { (self.members, holders) = ([], []) }
        return
            "experts placed anew before step \(step)\(departed(members)); one worker is left and "
            + "computes all experts"
    }

    /// Experts that were computed by members who are gone; weights are not lost with them.
    private func departed(_ members: [WorkerID]) -> String {
        let gone = self.members.indices.filter { !members.contains(self.members[$0]) }
        guard !gone.isEmpty else { return "" }
        let total = holders.reduce(0) { $0 + $1.count }
        let lost = holders.reduce(0) { sum, block in sum + block.count { gone.contains($0) } }
        let who = gone.map { name(self.members[$0]) }.joined(separator: ", ")
        return
            ": \(who) is gone, which computed \(lost) of \(total); no weights are lost with it, and the "
            + "step under way is computed again"
    }

    private func movedCount(_ members: [WorkerID], _ holders: [[Int]]) -> Int {
        zip(self.holders, holders).reduce(0) { sum, blocks in
            sum + zip(blocks.0, blocks.1).count { self.members[$0] != members[$1] }
        }
    }

    private func shares(_ members: [WorkerID], _ holders: [[Int]]) -> String {
        members.indices.map { member in
            let count = holders.reduce(0) { sum, block in sum + block.count { $0 == member } }
            return "\(name(members[member])) \(count)"
        }.joined(separator: ", ")
    }

    private func name(_ worker: WorkerID) -> String {
        let seat = Int(worker.rawValue)
        return names.indices.contains(seat) ? names[seat] : "worker \(seat)"
    }
}
