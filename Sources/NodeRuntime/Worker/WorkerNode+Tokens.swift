import ClusterModel
import Coordination
import Training
import WireProtocol
import ZeroMQ

// MARK: - Tokens of the trainer

extension WorkerNode {
    /// Whom this worker exchanges tokens with under the plan in force.
    var tokenGroup: TokenGroup {
        guard let machine, let plan = machine.round.plan else {
            return TokenGroup(epoch: .none, members: [], me: 0)
        }
        return TokenGroup(
            plan, regions: (figures.regions.map(\.index).max() ?? 0) + 1,
            mayCross: setup?.configuration.model.experts?.crossing != nil)
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
        guard let deadlines = setup?.configuration.deadlines else { return }
        var told: WaitNotice.Wait?
        if let wait = trainer.mailbox.wait, let plan = machine?.round.plan {
            if tokenWatch.givesUp(
                since: wait.since, now: MonotonicClock.now(), patience: deadlines.patience,
                crosses: plan.crossesTokens)
            {
                try step(.trainer(.tokensOverdue(from: wait.members, epoch: plan.epoch)))
            }
            told = plan.tokenWait(
                step: wait.step, exchange: wait.exchange, members: wait.members,
                since: Instant(nanoseconds: wait.since + clockOffset), silence: deadlines.silence)
        }
        let events = tokenWatch.say(told, by: options.name, patience: deadlines.patience, now)
        for event in events { try report(event) }
    }
}
