import ClusterModel
import WireProtocol

// MARK: - Experts of one region

extension ReferenceReduction {
    /// By expert, the group that alone contributes it (section 7.10); nil: all do.
    func owners(_ plan: Plan, _ groups: [[Int]], _ key: CollectiveKey) -> [Int?] {
        (0..<experts.count).map { expert in
            guard key.scope == .pool, plan.expertOwners.indices.contains(expert) else { return nil }
            return groups.firstIndex { group in
                plan.members.contains {
                    $0.workerID == WorkerID(group[0])
                        && $0.region == plan.expertOwners[expert].region
                }
            }
        }
    }

    /// Places of the collective that a group contributes; nil: all that are due.
    func contributed(
        _ owners: [Int?], by group: Int, _ key: CollectiveKey, _ due: [Int]?
    ) -> [Int]? {
        guard owners.contains(where: { $0 != nil }) else { return nil }
        let elements = place(key)
        return (due ?? Array(elements.indices)).filter { place in
            experts.expertOf[elements[place]].flatMap { owners[$0] }.map { $0 == group } ?? true
        }
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
