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
            "\(moved) of \(total) are computed elsewhere than before; \(travelled(members, report)); "
            + "now \(now)"
        if let placement = report.placement {
            let (before, after) = (placement.before, placement.after)
            return
                "experts placed anew before step \(step) by the loads of \(placement.steps) steps: the "
                + "busiest worker had \(Figures.fixed(before, 3)) of the mean load, would have had "
                + "\(Figures.fixed(after, 3)); 0 steps lost; \(rest)"
        }
        guard self.members != members else { return nil }
        let gone = departed(members, keepsTheirs: report.moves != nil)
        return "experts placed anew before step \(step)\(gone); \(rest)"
    }

    private func travelled(_ members: [WorkerID], _ report: ExpertSpreadReport) -> String {
        guard let moves = report.moves else {
            return "0 bytes of weights moved, since every worker has them all"
        }
        let brought = zip(holders.joined(), report.holders.joined()).count { old, new in
            self.members[old] != members[new] && members.contains(self.members[old])
        }
        let bytes = Double(brought) * Double(moves.valuesOfExpert) * 4
        let time = Figures.fixed(Double(moves.nanoseconds) / 1e6, 1)
        return "their weights and moments moved, \(Figures.bytes(bytes)), in \(time) ms"
    }

    /// What nobody brought to a worker that is to compute it.
    package static func lost(_ moves: ExpertSpreadReport.Moves?, step: UInt32) -> String? {
        guard let moves, moves.lost > 0 else { return nil }
        let experts = moves.lost == 1 ? "1 expert" : "\(moves.lost) experts"
        return
            "\(experts) held from step \(step) on that nobody brings: from the weights of the last round, "
            + "with moments of zero"
    }

    /// The region has one worker left: it computes everything.
    package mutating func alone(
        _ members: [WorkerID], step: UInt32, _ moves: ExpertSpreadReport.Moves? = nil
    ) -> String? {
        guard self.members.count > 1 else { return nil }
        defer { (self.members, holders) = ([], []) }
        let lost = Self.lost(moves, step: step).map { "; \($0)" } ?? ""
        return
            "experts placed anew before step \(step)\(departed(members, keepsTheirs: moves != nil)); one "
            + "worker is left and computes all experts\(lost)"
    }

    /// Experts that were computed by members who are gone.
    private func departed(_ members: [WorkerID], keepsTheirs: Bool) -> String {
        let gone = self.members.indices.filter { !members.contains(self.members[$0]) }
        guard !gone.isEmpty else { return "" }
        let total = holders.reduce(0) { $0 + $1.count }
        let lost = holders.reduce(0) { sum, block in sum + block.count { gone.contains($0) } }
        let who = gone.map { name(self.members[$0]) }.joined(separator: ", ")
        let what =
            keepsTheirs
            ? "what they have learnt since the last round, and their moments, are lost with it"
            : "no weights are lost with it"
        return
            ": \(who) is gone, which computed \(lost) of \(total); \(what), and the step under way is "
            + "computed again"
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
