import ClusterModel
import WireProtocol

// MARK: - Rounds of all experts

/// Where plans leave rarely used experts out, COMMIT says before which rounds they do not: every member
/// knows it before it lets the next round leave.
extension Coordinator {
    /// A round is complete: whether it had all experts, and for the record what it exchanged.
    mutating func noteExperts(_ key: CollectiveKey) -> Bool {
        experts.settle()
        guard experts.leavesSomeOut else { return true }
        let isWhole = lastCommit?.allExperts == true
        let exchanged = experts.elements(inRound: key.round, allExperts: isWhole)
        effects.append(
            .event(
                .expertsExchanged(
                    round: key.round, elements: exchanged.sent, of: exchanged.all)))
        return isWhole
    }

    /// Before a boundary, so that no joiner takes over what another replica has trained on alone; and before
    /// the round that is the last unless somebody has trained on through an outage. If that was the last
    /// nevertheless, one more follows.
    func needsAllExperts(
        after key: CollectiveKey, _ steps: [(seat: WorkerID, step: UInt64)]
    ) -> Bool {
        guard experts.isChoosing else { return false }
        if let plan, plan.activateAtRound == key.round + 1 { return true }
        return steps.allSatisfy { seat, step in
            let pace = paces[Int(seat.rawValue)]
            return step.addingReportingOverflow(UInt64(pace.syncEvery)).partialValue
                >= UInt64(pace.lastStep)
                || step >= UInt64(pace.lastStep)
        }
    }
}
