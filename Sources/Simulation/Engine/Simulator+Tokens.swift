import ClusterModel
import Coordination
import DequeModule
import WireProtocol

// MARK: - Tokens on their way to experts of other regions

extension Simulator {
    /// A step may need others: `across: budget`, or a host's trainers whose experts are spread.
    var tokensMayCross: Bool {
        configuration.model.experts?.crossing != nil
            || (host != nil && configuration.spreadsExperts)
    }

    func forgetTokens(_ seat: Int) {
        workers[seat].tokenStep = nil
        workers[seat].computePlan = nil
        workers[seat].tokenArrivals = []
        workers[seat].tokenEpoch = nil
        workers[seat].tokenWatch = TokenWatch()
        workers[seat].crossed = ModelledCrossing()
        guard tokensMayCross else { return }
        queue.schedule(
            .tokenWatch(seat: seat, life: workers[seat].life), at: now + Self.figuresInterval)
    }

    // MARK: A step

    /// A trainer begins to compute: nanoseconds until it has to be looked at.
    func beginTokens(_ step: UInt32, _ time: Int64, _ seat: Int) -> Int64 {
        workers[seat].crossed.routed = nil
        guard tokensMayCross, let plan = workers[seat].computePlan, !plan.plan.experts.isEmpty
        else { return time }
        if let trainer = workers[seat].trainer, workers[seat].hosted == nil {
            let shares =
                options.payloads.isModelled
                ? RoutedStep.modelledShares(plan, topK: configuration.model.experts?.topK ?? 1)
                : trainer.expertShares
            workers[seat].crossed.routed = RoutedStep(
                plan, shares: shares, model: configuration.model,
                regions: topology.regions.count)
        }
        guard
            let exchange = TokenStep(
                step: step, plan: plan, model: configuration.model,
                routed: workers[seat].crossed.routed, isModelled: options.payloads.isModelled,
                time: time)
        else { return time }
        workers[seat].tokenStep = exchange
        return exchange.segment
    }

    /// What is computed until tokens of others are needed has been computed, or they do not come.
    func goOn(_ order: TrainerOrder, _ seat: Int) {
        guard let exchange = workers[seat].tokenStep else { return }
        if exchange.waitsSince != nil { return giveUp(seat) }
        bookOrder(order, seat)
        let answers = workers[seat].hosted?.finish() ?? []
        let awaited = workers[seat].hosted?.awaited
        guard workers[seat].hosted == nil ? !exchange.isComputed : awaited != nil else {
            workers[seat].tokenStep = nil
            let events =
                workers[seat].hosted == nil
                ? perform(order, seat) : answers.compactMap { take($0, seat) }
            endOrder(seat)
            for event in events {
                workers[seat].tokenWatch.note(event)
                tell(seat, .trainer(event))
            }
            return
        }
        workers[seat].tokenStep?.awaited = awaited
        awaitTokens(seat)
        for event in answers.compactMap({ take($0, seat) }) { tell(seat, .trainer(event)) }
        if workers[seat].hosted == nil {
            for parcel in exchange.parcels() { sendTokens(parcel, exchange.plan.epoch, seat) }
        }
        gatherTokens(seat)
    }

    private func awaitTokens(_ seat: Int) {
        workers[seat].tokenStep?.waitsSince = now
        workers[seat].budget.start(now)
        checker.trainerIdle(seat, now)
        if workers[seat].tokenStep?.plan.epoch != workers[seat].tokenEpoch { endWait(seat) }
    }

    /// Under a plan that is over the trainer stops waiting.
    private func endWait(_ seat: Int) {
        guard workers[seat].tokenStep?.waitsSince != nil,
            workers[seat].tokenStep?.isGivenUp == false
        else { return }
        workers[seat].tokenStep?.isGivenUp = true
        queue.schedule(
            .trainer(seat: seat, life: workers[seat].life),
            at: now + options.cost.overhead.nanoseconds)
    }

    private func giveUp(_ seat: Int) {
        guard let step = workers[seat].tokenStep?.step else { return }
        bookWait(seat)
        workers[seat].tokenStep = nil
        var events: [Worker.TrainerEvent] = [.interrupted(step: step)]
        if let hosted = workers[seat].hosted {
            hosted.interrupt()
            events = hosted.finish().compactMap { take($0, seat) }
        }
        endOrder(seat)
        for event in events { tell(seat, .trainer(event)) }
    }

    private func bookWait(_ seat: Int) {
        guard let since = workers[seat].tokenStep?.waitsSince else { return }
        workers[seat].orderWaited += now - since
        workers[seat].budget.book(\.wait, until: now)
    }

    // MARK: Rows

    func sendTokens(_ parcel: TokenParcel, _ epoch: Epoch, _ seat: Int) {
        if options.checks, let finding = checker.tokens.sends(seat, parcel, epoch) {
            checker.find("tokens", now, finding)
        }
        let payload = parcel.content.map { content in
            EncodedPayload(
                handle: workers[seat].pool.store(content), bytes: content.bytes,
                elements: parcel.tokens.rows * UInt32(parcel.tokens.width),
                transform: parcel.tokens.transform, stage: .stored)
        }
        tell(seat, .tokens(to: parcel.peer, epoch: epoch, parcel.tokens, payload))
    }

    /// What comes under another plan than the one in force is of a step that is computed again.
    func takeTokens(
        _ seat: Int, from peer: WorkerID, _ epoch: Epoch, _ tokens: Tokens,
        _ handle: PayloadHandle?
    ) {
        let content = handle.flatMap { workers[seat].pool.content($0) }
        if handle != nil, content == nil {
            checker.find("payloads", now, "\(workers[seat].name) takes a released payload")
        }
        guard workers[seat].tokenEpoch == epoch else {
            if let handle { tell(seat, .trainer(.consumed(handle))) }
            return
        }
        workers[seat].tokenArrivals.append(
            TokenArrival(
                parcel: TokenParcel(
                    peer: peer, tokens: tokens, content: tokens.rows > 0 ? content : nil),
                handle: handle))
        gatherTokens(seat)
    }

    /// The trainer reads what has come of the half it waits for, and goes on when that is all.
    private func gatherTokens(_ seat: Int) {
        guard let exchange = workers[seat].tokenStep, exchange.waitsSince != nil,
            !exchange.isGivenUp
        else { return }
        let arrivals = workers[seat].tokenArrivals
        var read: [PayloadHandle] = []
        for (index, arrival) in arrivals.enumerated() where exchange.isOf(arrival.parcel.tokens) {
            guard let handle = arrival.handle else { continue }
            workers[seat].tokenArrivals[index].handle = nil
            read.append(handle)
        }
        defer { for handle in read { tell(seat, .trainer(.consumed(handle))) } }
        guard exchange.missing(arrivals).isEmpty else { return }
        let rows = arrivals.filter { exchange.isOf($0.parcel.tokens) }
        workers[seat].tokenArrivals.removeAll { exchange.isOf($0.parcel.tokens) }
        if options.checks {
            let reading = TokenChecker.Reading(exchange)
            if let finding = checker.tokens.takes(seat, rows.map(\.parcel), reading) {
                checker.find("tokens", now, finding)
            }
        }
        bookWait(seat)
        checker.trainerBusy(seat, now)
        workers[seat].tokenStep?.pass(rows)
        workers[seat].hosted?.resume(
            rows.map { arrival in
                guard case .encoded(let bytes) = arrival.parcel.content else {
                    return (arrival.parcel.peer, arrival.parcel.tokens, nil)
                }
                return (arrival.parcel.peer, arrival.parcel.tokens, bytes)
            })
        queue.schedule(
            .trainer(seat: seat, life: workers[seat].life), at: now + exchange.segment)
    }

    /// A new plan, or the end, ends the wait for tokens of the plan before. Before the effects of the event
    /// that brought it: there may be tokens among them.
    func updateTokens(_ seat: Int) {
        var epoch = workers[seat].machine?.round.plan?.epoch
        if workers[seat].machine?.phase != .member { epoch = nil }
        guard epoch != workers[seat].tokenEpoch else { return }
        workers[seat].tokenEpoch = epoch
        for arrival in workers[seat].tokenArrivals {
            if let handle = arrival.handle { tell(seat, .trainer(.consumed(handle))) }
        }
        workers[seat].tokenArrivals = []
        endWait(seat)
    }

    // MARK: What is said

    /// What the tokens of a modelled step have wanted.
    func routeTokens(_ step: UInt32, _ seat: Int) -> [Worker.TrainerEvent] {
        guard let routed = workers[seat].crossed.routed else { return [] }
        workers[seat].crossed.note(step, regions: topology.regions.count)
        return [.routed(step: step, wanted: routed.wanted)]
    }

    func tellCrossed(_ seat: Int) {
        guard let total = workers[seat].crossed.total else { return }
        say(.tokensCrossed(worker: WorkerID(seat), total), seat)
    }

    /// A driver's regular look: nobody waits in silence, and what does not come is given up.
    func watchTokens(_ seat: Int, _ life: UInt64) {
        guard workers[seat].isRunning, workers[seat].life == life else { return }
        queue.schedule(.tokenWatch(seat: seat, life: life), at: now + Self.figuresInterval)
        let deadlines = configuration.deadlines
        var told: WaitNotice.Wait?
        var overdue: (members: [WorkerID], epoch: Epoch)?
        if let exchange = workers[seat].tokenStep, let since = exchange.waitsSince,
            let plan = workers[seat].machine?.round.plan
        {
            let missing = exchange.missing(workers[seat].tokenArrivals)
            told = plan.tokenWait(
                step: exchange.step, exchange: exchange.exchange, members: missing,
                since: workers[seat].local(since), silence: deadlines.silence)
            if workers[seat].tokenWatch.givesUp(
                since: since, now: now, patience: deadlines.patience, crosses: plan.crossesTokens)
            {
                overdue = (missing, plan.epoch)
            }
        }
        let events = workers[seat].tokenWatch.say(
            told, by: workers[seat].name, patience: deadlines.patience, workers[seat].local(now))
        for event in events {
            checker.workerSaid(seat, event, now)
            say(event, seat)
        }
        if let overdue {
            tell(seat, .trainer(.tokensOverdue(from: overdue.members, epoch: overdue.epoch)))
        }
    }
}
