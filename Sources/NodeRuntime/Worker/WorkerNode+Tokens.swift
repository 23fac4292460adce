import ClusterModel
import Coordination
import WireProtocol
import ZeroMQ

// MARK: - Tokens of the trainer

extension WorkerNode {
    /// Members of this worker's region under the plan in force.
    var tokenGroup: TokenGroup {
        guard let machine, let plan = machine.round.plan else {
            return TokenGroup(epoch: .none, members: [], me: 0)
        }
        let members = plan.plan.members.filter { $0.region == machine.round.region }
        return TokenGroup(
            epoch: plan.epoch, members: members.map(\.workerID),
            me: members.firstIndex { $0.workerID == machine.worker } ?? 0)
    }

    func tokenPayload(_ tokens: Tokens, _ bytes: PayloadBytes) -> EncodedPayload {
        EncodedPayload(
            handle: payloads.add(bytes), bytes: bytes.count,
            elements: tokens.rows * UInt32(tokens.width), transform: tokens.transform,
            stage: .stored)
    }

    func deliver(
        _ tokens: Tokens, _ handle: PayloadHandle?, from peer: WorkerID, _ epoch: Epoch
    ) throws {
        let arrival = TokenMailbox.Arrival(
            from: peer, tokens: tokens, bytes: handle.map { payloads[$0] }, handle: handle)
        let delivery = trainer.mailbox.deliver(arrival, epoch)
        guard delivery != .kept else { return }
        if let handle { try step(.trainer(.consumed(handle))) }
        guard delivery == .tooMany else { return }
        try step(
            .trainer(
                .tokensRefused(
                    from: peer, epoch: epoch, what: "sends more tokens than may be under way")))
    }

    /// A new plan, or the end, ends the trainer's wait for tokens of the plan before. Before the effects of
    /// the event that brought it: there may be tokens among them.
    func updateTokens() throws {
        var epoch = machine?.round.plan?.epoch
        if machine?.phase != .member { epoch = nil }
        guard epoch != tokenEpoch else { return }
        tokenEpoch = epoch
        for handle in trainer.mailbox.open(epoch) {
            try step(.trainer(.consumed(handle)))
        }
    }

    /// Never silent: says for whom the trainer waits in the middle of a step.
    func reportTokenWait() throws {
        guard let wait = trainer.mailbox.wait, let plan = machine?.round.plan, let setup else {
            tokenWaitReported = 0
            return
        }
        let patience = setup.configuration.deadlines.patience.nanoseconds
        let now = MonotonicClock.now()
        guard now - max(wait.since, tokenWaitReported) >= patience - 1_000_000_000 else { return }
        tokenWaitReported = now
        let names = wait.members.compactMap { plan.member($0)?.name }
        let silence = Int(setup.configuration.deadlines.silence.seconds)
        try report(
            .waiting(
                observer: options.name,
                activity: "tokens of step \(wait.step), exchange \(wait.exchange)", names: names,
                since: Instant(nanoseconds: wait.since + clockOffset), until: nil,
                then:
                    "the coordinator evicts a worker that is silent for \(silence) s, and the step "
                    + "is computed again"))
    }
}
