import ClusterModel
import Coordination
import WireProtocol

// MARK: - Experts that one group contributes

extension ReferenceReduction {
    /// By place of the collective, the group that alone contributes it: of experts that one region computes
    /// (section 7.10), or one member of a region (section 7.11). Nil: all contribute all of it.
    func contributors(_ plan: Plan, _ groups: [[Int]], _ key: CollectiveKey) -> [Int?]? {
        if key.scope == .region {
            guard !configuration.keepsExpertsAtHolders else { return nil }
            return holders(among: groups.count).map { holders in
                Self.laidOut(holders, members: groups.count).map { holders[$0] }
            }
        }
        let owners = (0..<experts.count).map { expert -> Int? in
            guard plan.expertOwners.indices.contains(expert) else { return nil }
            return groups.firstIndex { group in
                plan.members.contains {
                    $0.workerID == WorkerID(group[0])
                        && $0.region == plan.expertOwners[expert].region
                }
            }
        }
        guard owners.contains(where: { $0 != nil }) else { return nil }
        return place(key).map { element in experts.expertOf[element].flatMap { owners[$0] } }
    }

    /// A seat computes a step with the experts of its region where `holders` has them.
    mutating func placed(_ seat: Int, _ holders: [WorkerID]) {
        keepers[seat] = holders
        isEven[seat] = false
    }

    /// nil, or what is wrong with a chunk that a seat contributes: what only one has learnt comes from that
    /// one, as long as it is there (section 7.12).
    func objection(
        _ seat: Int, _ encoding: TrainerOrder.Encoding, _ chunk: TrainerOrder.Chunk
    ) -> String? {
        guard encoding.key.scope == .pool, configuration.keepsExpertsAtHolders, !isEven[seat],
            let plan = plans[encoding.epoch],
            let me = plan.members.first(where: { $0.workerID == WorkerID(seat) }),
            let expert = experts.expertOf[place(encoding.key)[Int(chunk.range.lowerBound)]],
            keepers[seat].indices.contains(expert)
        else { return nil }
        let keeper = keepers[seat][expert]
        let isThere = plan.members.contains { $0.workerID == keeper && $0.region == me.region }
        guard isThere, keeper != me.workerID else { return nil }
        return "worker \(seat) contributes expert \(expert) to \(encoding.key), which worker "
            + "\(keeper.rawValue) has computed"
    }

    /// Places of a collective that are exchanged; nil: all. Inside a region nothing is of an expert that its
    /// holder keeps (section 7.12).
    func due(_ key: CollectiveKey, _ plan: Plan) -> [Int]? {
        guard key.scope == .region, configuration.keepsExpertsAtHolders else {
            return experts.due(key, plan, elements: place(key))
        }
        let members = plan.members.count { $0.region == key.region }
        guard members > 1, let holders = holders(among: members) else { return nil }
        let order = Self.laidOut(holders, members: members)
        return order.indices.filter { holders[order[$0]] == nil }
    }

    /// By element of the vector, of a region of so many members: member i of W computes the experts of a
    /// block from the ceil(i E / W)-th on.
    func holders(among members: Int) -> [Int?]? {
        guard configuration.model.experts?.spread == .region else { return nil }
        var holders = [Int?](repeating: nil, count: elements)
        for block in FragmentLayout.experts(
            of: configuration.model, elements: UInt64(elements))
        {
            let experts = Int(block.count)
            for member in 0..<members {
                let first = (member * experts + members - 1) / members
                let next = ((member + 1) * experts + members - 1) / members
                let start = Int(block.start)
                for element in start + first * Int(block.each)..<start + next * Int(block.each) {
                    holders[element] = member
                }
            }
        }
        return holders
    }

    /// Elements in the order in which a region of several lays them out: for each member an equal part of
    /// what is no expert's, then what it holds.
    private static func laidOut(_ holders: [Int?], members: Int) -> [Int] {
        guard members > 1 else { return Array(holders.indices) }
        let rest = holders.indices.filter { holders[$0] == nil }
        guard rest.count < holders.count else { return rest }
        var order: [Int] = []
        for member in 0..<members {
            let part = member * rest.count / members..<(member + 1) * rest.count / members
            order += rest[part]
            order += holders.indices.filter { holders[$0] == member }
        }
        return order
    }

    /// Places of the collective that a group contributes; nil: all that are due.
    func contributed(_ only: [Int?]?, by group: Int, _ due: [Int]?) -> [Int]? {
        guard let only else { return nil }
        return (due ?? Array(only.indices)).filter { (only[$0] ?? group) == group }
    }

    /// A group's values where all that are due have their place; 0 where it contributes none.
    func spread(
        _ vector: [Float], _ own: [Int]?, _ due: [Int]?, _ elements: Int
    ) -> [Float] {
        guard let own else { return vector }
        var whole = [Float](repeating: 0, count: elements)
        for (place, value) in zip(own, vector) { whole[place] = value }
        return due.map { $0.map { whole[$0] } } ?? whole
    }
}
