import ClusterModel
import WireProtocol

// MARK: - Tokens on their way to experts

extension Worker {
    /// What the trainer sends under a plan that is over goes nowhere: the step is computed again.
    mutating func sendTokens(
        _ tokens: Tokens, _ payload: EncodedPayload?, to peer: WorkerID, _ epoch: Epoch
    ) {
        if let payload { ledger.adopt(payload.handle) }
        guard case .member = phase, let plan = round.plan, plan.epoch == epoch,
            plan.member(peer) != nil
        else {
            if let payload { release(payload.handle) }
            return
        }
        send(to: peer, .tokens(tokens), payload: payload?.handle, bytes: payload?.bytes ?? 0)
    }

    /// Its frames were whole and their rows are not: as if no lane to it were of any use.
    mutating func refuseTokens(of peer: WorkerID, _ epoch: Epoch, _ what: String) {
        guard case .member = phase, round.plan?.epoch == epoch else { return }
        blame(peer, what)
        giveUp(peer)
    }

    /// The coordinator ends a step that cannot end.
    mutating func sayOverdue(_ peers: [WorkerID], _ epoch: Epoch) {
        guard case .member = phase, let plan = round.plan, plan.epoch == epoch, plan.crossesTokens
        else { return }
        for member in peers.compactMap({ plan.member($0) }) {
            suspect(member, .tokensMissing)
        }
    }

    /// To the trainer, if they come from its region, or the plan lets tokens leave theirs.
    mutating func takeTokens(_ tokens: Tokens, _ frame: LaneFrame, from peer: WorkerID) {
        guard let plan = round.plan,
            plan.crossesTokens || plan.member(peer)?.region == round.region
        else {
            frame.payload.map { release($0) }
            return blame(peer, "sends tokens to another region")
        }
        effects.append(
            .tokens(from: peer, epoch: plan.epoch, tokens, payload: frame.payload))
    }
}
