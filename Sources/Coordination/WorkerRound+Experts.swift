import ClusterModel
import WireProtocol

// MARK: - Rounds without rarely used experts

extension WorkerRound {
    /// Whether a round exchanges all experts: the plan leaves none out, or COMMIT has said so.
    func isWhole(_ key: CollectiveKey) -> Bool {
        guard let plan, key.scope == .pool else { return true }
        return !plan.expertRounds.leavesSomeOut || key.round == wholeRound
    }

    func geometry(of key: CollectiveKey, _ plan: ActivePlan) -> CollectiveGeometry {
        guard key.scope == .pool else { return regionGeometry(of: key, plan) }
        return isWhole(key) ? plan.geometry(of: key) : plan.dueGeometry(of: key)
    }

    /// What contributions to `key` lie in under the plan in force: without what is passed over, and with
    /// who contributes which expert, once this worker's own part is under way. Before GO an exchange is
    /// still that of the plan before.
    func openGeometry(of key: CollectiveKey, _ plan: ActivePlan) -> CollectiveGeometry {
        let parts = key.scope == .region ? exchange(contributing: key)?.contributes.geometry : nil
        guard let own = exchange(key)?.geometry ?? parts, own.epoch == plan.epoch else {
            return plan.geometry(of: key)
        }
        return own
    }

    /// The last step is taken, and no round has taken in yet what some experts have learnt since; the next
    /// one does.
    var owesExperts: Bool { !leftWhole && wholeRound == appliedTurn + 1 }

    // MARK: What the coordinator decides by

    private var reportsExperts: Bool { configuration.greatestExpertPeriod > 1 }

    /// Experts can have owners: every member reports what its own tokens wanted.
    private var reportsWanted: Bool { configuration.model.experts?.crossing != nil }

    /// Choices of this worker's tokens in a step; a step that is computed again counts once.
    mutating func noteWanted(_ wanted: [UInt32], step: UInt32) {
        guard reportsWanted, step > wantedAt else { return }
        wantedAt = step
        addLoads(wanted.map { UInt64($0) })
    }

    mutating func noteExpertLoads(_ counts: [UInt64]) {
        guard reportsExperts else { return }
        addLoads(counts)
    }

    private mutating func addLoads(_ counts: [UInt64]) {
        if expertLoads.count != counts.count {
            expertLoads = Array(repeating: 0, count: counts.count)
        }
        for index in counts.indices {
            expertLoads[index] = saturatingSum(expertLoads[index], counts[index])
        }
    }

    /// One member of each replica reports them; all count anew.
    mutating func takeExpertLoads() -> [Report.ExpertLoad] {
        defer { expertLoads = [] }
        guard reportsWanted || plan?.leadsReplica == true else { return [] }
        return expertLoads.map { Report.ExpertLoad(tokens: $0) }
    }
}
