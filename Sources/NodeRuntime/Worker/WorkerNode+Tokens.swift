import ClusterModel
import Coordination
import Training
import WireProtocol
import ZeroMQ

/// How long the trainer has waited for tokens, and when that was said.
struct TokenWatch {
    var notice = WaitNotice()
    /// When the coordinator was told that they do not come.
    var givenUp: Int64 = 0
    /// What this worker's slowest step took, without waiting.
    private(set) var longestStep: Int64 = 0

    mutating func noting(_ event: Worker.TrainerEvent) -> Worker.TrainerEvent {
        if case .computed(_, _, _, _, let elapsed) = event {
            longestStep = max(longestStep, elapsed.nanoseconds)
        }
        return event
    }
}

// MARK: - Tokens of the trainer

extension WorkerNode {
    /// Whom this worker exchanges tokens with under the plan in force.
    var tokenGroup: TokenGroup {
        guard let plan = machine?.round.plan, let region = machine?.round.region,
            let worker = machine?.worker
        else {
            return TokenGroup(epoch: .none, members: [], me: 0)
        }
        let members = plan.plan.members.filter {
            plan.crossesTokens || $0.region == region
        }
        let me = members.firstIndex { $0.workerID == worker } ?? 0
        guard setup?.configuration.model.experts?.crossing != nil else {
            return TokenGroup(epoch: plan.epoch, members: members.map(\.workerID), me: me)
        }
        // A plan that names no experts has none that belong to one region.
        guard !plan.plan.experts.isEmpty else {
            return TokenGroup(epoch: plan.epoch, members: [worker], me: 0)
        }
        // Without budgets nobody computes for another.
        let group = plan.crossesTokens ? members.map(\.workerID) : [worker]
        return TokenGroup(
            epoch: plan.epoch, members: group, me: plan.crossesTokens ? me : 0,
            crossing: crossing(plan))
    }

    private func crossing(_ plan: ActivePlan) -> TokenCrossing {
        let regions = (figures.regions.map(\.index).max() ?? 0) + 1
        var owners: [Int?] = plan.plan.expertOwners.map {
            $0.region.index < regions ? $0.region.index : nil
        }
        if owners.isEmpty { owners = Array(repeating: nil, count: plan.expertCount) }
        var blocks: [[Int?]] = []
        var first = 0
        for block in plan.plan.experts {
            blocks.append(Array(owners[first..<first + Int(block.count)]))
            first += Int(block.count)
        }
        let others = (0..<regions).map { plan.crossesTokens && $0 != plan.me.region.index }
        return TokenCrossing(
            owners: blocks, region: plan.me.region.index,
            servers: others.indices.map {
                others[$0] ? plan.tokenServer(in: RegionID($0))?.index : nil
            },
            budgets: others.indices.map { others[$0] ? plan.tokenBudget(to: RegionID($0)) : 0 })
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
        guard let setup else { return }
        let patience = setup.configuration.deadlines.patience
        var told: WaitNotice.Wait?
        if let wait = trainer.mailbox.wait, let plan = machine?.round.plan {
            if plan.crossesTokens {
                try giveUpTokens(wait, plan.epoch, patience: patience.nanoseconds)
            }
            told = describe(wait, plan, setup.configuration)
        }
        let events = tokenWatch.notice.note(
            told, by: options.name, patience: patience,
            early: CoordinationLimits.heartbeatInterval, now)
        for event in events { try report(event) }
    }

    private func describe(
        _ wait: TokenMailbox.Wait, _ plan: ActivePlan, _ configuration: RunConfiguration
    ) -> WaitNotice.Wait {
        let silence = Int(configuration.deadlines.silence.seconds)
        return WaitNotice.Wait(
            activity: "tokens of step \(wait.step), exchange \(wait.exchange)",
            names: wait.members.compactMap { plan.member($0)?.name },
            since: Instant(nanoseconds: wait.since + clockOffset), until: nil,
            then: plan.crossesTokens
                ? "the coordinator is told, and the step is computed again without tokens of other "
                    + "regions"
                : "the coordinator evicts a worker that is silent for \(silence) s, and the step "
                    + "is computed again")
    }

    /// A link that is down gives back no tokens, and nobody who waits for them comes to the end of the step.
    private func giveUpTokens(
        _ wait: TokenMailbox.Wait, _ epoch: Epoch, patience: Int64
    ) throws {
        let limit = max(
            CoordinationLimits.tokenPatience * patience,
            CoordinationLimits.tokenPatienceSteps * tokenWatch.longestStep)
        let now = MonotonicClock.now()
        guard now - max(wait.since, tokenWatch.givenUp) >= limit else { return }
        tokenWatch.givenUp = now
        try step(.trainer(.tokensOverdue(from: wait.members, epoch: epoch)))
    }
}
