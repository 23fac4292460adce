import ClusterModel
import WireProtocol

/// Which experts a round exchanges, once more from the specification (section 7.9) and from what COMMIT
/// frames say, without the machines.
struct ReferenceExperts {
    /// By element of the parameter vector: the expert it belongs to, if experts count.
    let expertOf: [Int?]
    let count: Int
    private let mayLeaveOut: Bool
    /// Rounds before which COMMIT said that all experts are due.
    private var whole: [UInt32] = []
    /// Rounds whose mean left some out.
    private var partial: [UInt32] = []

    init(_ configuration: RunConfiguration, elements: Int) {
        var owners = [Int?](repeating: nil, count: elements)
        var next = 0
        for block in configuration.expertBlocks(elements: UInt64(elements)) {
            for element in 0..<block.each * UInt64(block.count) {
                owners[Int(block.start + element)] = next + Int(element / block.each)
            }
            next += Int(block.count)
        }
        expertOf = owners
        count = next
        mayLeaveOut = configuration.greatestExpertPeriod > 1
    }

    mutating func said(_ commit: Commit) {
        guard commit.allExperts, whole.last != commit.key.round + 1 else { return }
        whole.append(commit.key.round + 1)
    }

    /// A run begins again, with the same numbers.
    mutating func beginsAgain() {
        whole = []
        partial = []
    }

    func isDue(_ expert: Int, _ key: CollectiveKey, _ plan: Plan) -> Bool {
        guard !plan.expertPeriods.isEmpty, !whole.contains(key.round) else { return true }
        let exponent = plan.expertPeriods[expert].exponent
        let place = plan.expertPeriods[..<expert].filter { $0.exponent == exponent }.count
        let period = 1 << Int(exponent)
        return (Int(key.round) - place) % period == 0
    }

    /// Places in the collective of `elements` that are exchanged; nil: all.
    func due(_ key: CollectiveKey, _ plan: Plan, elements: [Int]) -> [Int]? {
        guard mayLeaveOut, key.scope == .pool, !plan.expertPeriods.isEmpty else { return nil }
        let isDue = (0..<count).map { self.isDue($0, key, plan) }
        guard isDue.contains(false) else { return nil }
        return elements.indices.filter { place in
            expertOf[elements[place]].map { isDue[$0] } ?? true
        }
    }

    mutating func took(_ key: CollectiveKey, _ due: [Int]?) {
        if due != nil, partial.last != key.round { partial.append(key.round) }
    }

    /// Joiners come in where nobody holds what one replica has trained on alone.
    func objection(to plan: Plan) -> String? {
        guard plan.activateAtRound > 0, partial.contains(plan.activateAtRound) else { return nil }
        return "plan \(plan.planVersion) starts after round \(plan.activateAtRound), "
            + "which left experts out"
    }
}
