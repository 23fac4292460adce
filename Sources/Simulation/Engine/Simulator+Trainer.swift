import ClusterModel
import Coordination
import WireProtocol

// MARK: - The trainer thread

extension Simulator {
    /// Orders are carried out one after another, in the order given.
    func take(_ order: TrainerOrder, _ seat: Int) {
        workers[seat].orders.append(order)
        if case .absorb(let absorption) = order, options.checks {
            checker.absorbs(seat, absorption, means: values(of: absorption, seat) ?? [], now)
        }
        if case .compute(let step, let samples) = order {
            if tokensMayCross { workers[seat].computePlan = workers[seat].machine?.round.plan }
            if options.checks { checker.draws(seat, step: step, samples, now) }
        }
        if !workers[seat].isBusy { beginOrder(seat) }
    }

    private func beginOrder(_ seat: Int) {
        guard let order = workers[seat].orders.first else { return }
        bookIdleTime(seat)
        workers[seat].isBusy = true
        workers[seat].orderBegan = now
        workers[seat].orderWaited = 0
        workers[seat].encodedChunks = 0
        checker.trainerBusy(seat, now)
        if case .encode(let encoding) = order {
            if encoding.keeps, workers[seat].hosted == nil {
                workers[seat].trainer?.keep(encoding.fragment, as: encoding.source)
            }
            if options.checks { checker.reference.begins(seat, encoding) }
        }
        beginHosted(order, seat)
        var time = duration(order, seat)
        if case .compute(let step, _) = order {
            time = beginTokens(step, time, seat)
        }
        queue.schedule(.trainer(seat: seat, life: workers[seat].life), at: now + time)
    }

    /// What the order that has ended took, without waiting for others.
    func computedTime(_ seat: Int) -> Interval {
        Interval(nanoseconds: now - workers[seat].orderBegan - workers[seat].orderWaited)
    }

    private func bookIdleTime(_ seat: Int) {
        workers[seat].budget.start(now)
        let part: WritableKeyPath<RunEvent.TimeBudget, Interval> =
            switch workers[seat].machine?.idleKind {
            case .transfer: \.transfer
            case .recover: \.recover
            case .wait, nil: \.wait
            }
        workers[seat].budget.book(part, until: now)
    }

    private func duration(_ order: TrainerOrder, _ seat: Int) -> Int64 {
        let cost = options.cost
        let whole = 4 * Int(options.payloads.elements)
        switch order {
        case .compute(_, let samples):
            return cost.step(
                nominal: workers[seat].profile.nominalStep(samples: samples.count),
                factor: workers[seat].slowings.max() ?? 1,
                &workers[seat].generator)
        case .encode(let encoding):
            let next = workers[seat].encodedChunks
            guard next < encoding.chunks.count else { return cost.overhead.nanoseconds }
            return cost.time(4 * encoding.chunks[next].range.count, at: cost.encodeRate)
        case .absorb(let absorption):
            let elements = absorption.fragment.reduce(UInt64(0)) { $0 + $1.count }
            return cost.time(4 * Int(elements), at: cost.absorbRate)
        case .evaluate:
            let nominal = workers[seat].nominalStep
            let step = nominal == .zero ? cost.defaultStep : nominal
            return Int64(Double(step.nanoseconds) * cost.evaluationShare)
        case .checkpoint, .save: return cost.time(5 * whole, at: cost.stateRate)
        case .readState(let request, _):
            return cost.time(4 * Int(request.count), at: cost.stateRate)
        case .installState(let chunk, _):
            return cost.time(4 * Int(chunk.count), at: cost.stateRate)
        case .takeOver: return cost.time(5 * whole, at: cost.stateRate)
        }
    }

    /// The order at the head has ended, or one chunk of it.
    func finishOrder(_ seat: Int, _ life: UInt64) {
        guard workers[seat].life == life, workers[seat].isRunning,
            let order = workers[seat].orders.first
        else { return }
        if workers[seat].tokenStep != nil { return goOn(order, seat) }
        bookOrder(order, seat)
        if case .encode(let encoding) = order, workers[seat].encodedChunks < encoding.chunks.count {
            let answer = encodeNext(encoding, seat)
            if workers[seat].encodedChunks < encoding.chunks.count {
                queue.schedule(
                    .trainer(seat: seat, life: life), at: now + duration(order, seat))
            } else {
                endOrder(seat)
            }
            if let answer { tell(seat, .trainer(answer)) }
            return
        }
        let answers = perform(order, seat)
        endOrder(seat)
        for answer in answers {
            workers[seat].tokenWatch.note(answer)
            tell(seat, .trainer(answer))
        }
    }

    /// The next order starts before the machine hears of the end of this one, as with a real queue.
    func endOrder(_ seat: Int) {
        workers[seat].orders.removeFirst()
        workers[seat].isBusy = false
        checker.trainerIdle(seat, now)
        beginOrder(seat)
    }

    func bookOrder(_ order: TrainerOrder, _ seat: Int) {
        let part: WritableKeyPath<RunEvent.TimeBudget, Interval>
        let name: String
        switch order {
        case .compute: (part, name) = (\.compute, "compute")
        case .encode: (part, name) = (\.encode, "encode")
        case .absorb: (part, name) = (\.apply, "absorb")
        case .evaluate: (part, name) = (\.apply, "evaluate")
        case .checkpoint, .save: (part, name) = (\.recover, "save")
        case .readState, .installState, .takeOver: (part, name) = (\.recover, "state")
        }
        let start = now - workers[seat].budget.pending(now)
        workers[seat].budget.book(part, until: now)
        if options.keepsTrace {
            intervals.append(TraceInterval(worker: seat, name: name, start: start, end: now))
        }
    }

    private func encodeNext(
        _ encoding: TrainerOrder.Encoding, _ seat: Int
    ) -> Worker.TrainerEvent? {
        let chunk = encoding.chunks[workers[seat].encodedChunks]
        workers[seat].encodedChunks += 1
        guard workers[seat].hosted == nil else { return nextHostedChunk(seat) }
        guard let trainer = workers[seat].trainer else { preconditionFailure("no trainer") }
        let content = trainer.encode(chunk, of: encoding)
        if options.checks, case .values(let values) = content {
            if let finding = checker.reference.encoded(seat, encoding, chunk, values) {
                checker.find("experts", now, finding)
            }
        }
        // Tensors go as they are under whatever name the plan has: what is lost is not modelled.
        let payload = EncodedPayload(
            handle: workers[seat].pool.store(content), bytes: content.bytes,
            elements: UInt32(chunk.range.count),
            transform: encoding.transform, stage: .stored)
        return .encoded(
            key: encoding.key, epoch: encoding.epoch, slice: chunk.slice,
            position: chunk.position, payload: payload)
    }

    // MARK: Orders with one answer

    func perform(_ order: TrainerOrder, _ seat: Int) -> [Worker.TrainerEvent] {
        if let answers = finishHosted(seat) { return answers }
        switch order {
        case .compute(let step, let samples): return compute(step, samples, seat)
        case .encode: return []
        case .absorb(let absorption): return [absorb(absorption, seat)]
        case .evaluate(let step):
            return [.evaluated(step: step, loss: 0, samples: 1)]
        case .checkpoint(let step, _):
            workers[seat].disk = workers[seat].trainer?.state
            return [
                .checkpointed(
                    path: "sim://\(workers[seat].name)", step: step,
                    bytes: 20 * options.payloads.elements)
            ]
        case .save:
            workers[seat].disk = workers[seat].trainer?.state
            tellCrossed(seat)
            return [.saved]
        case .readState(let request, let peer): return [readState(request, to: peer, seat)]
        case .installState(let chunk, let payload): return installState(chunk, payload, seat)
        case .takeOver(let handover): return takeOver(handover, seat)
        }
    }

    private func compute(
        _ step: UInt32, _ samples: Range<UInt64>, _ seat: Int
    ) -> [Worker.TrainerEvent] {
        let elsewhere = workers[seat].computePlan?.expertsElsewhere ?? []
        let routed = routeTokens(step, seat)
        guard
            let result = workers[seat].trainer?.compute(samples: samples, elsewhere: elsewhere)
        else { return [] }
        checker.reference.computed(seat, tokens: result.tokens)
        return placed(seat) + routed + [
            .computed(
                step: step, loss: result.loss, tokens: result.tokens,
                samples: workers[seat].trainer?.state.samples ?? 0, elapsed: computedTime(seat))
        ]
    }

    /// Where experts are kept by who computes them, a trainer says where they are; nothing moves here.
    private func placed(_ seat: Int) -> [Worker.TrainerEvent] {
        guard let plan = workers[seat].machine?.round.plan, plan.keepsExperts,
            plan.replica.count > 1
        else { return [] }
        // Elsewhere under each plan, so that ranks say nothing of who has what.
        let (members, shift) = (plan.replica.count, Int(plan.plan.planVersion))
        let holders = plan.firstHolders.map { ($0 + shift) % members }
        let workers = plan.replica.map { plan.plan.members[$0.index].workerID }
        checker.reference.placed(seat, holders.map { workers[$0] })
        return [.placed(holders: holders.map { UInt16($0) }, epoch: plan.epoch)]
    }

    /// Values of the means of an absorption; nil if their bytes are gone.
    private func values(
        of absorption: TrainerOrder.Absorption, _ seat: Int
    ) -> [(Range<UInt64>, [Float])]? {
        guard !options.payloads.isModelled else { return [] }
        var means: [(Range<UInt64>, [Float])] = []
        for mean in absorption.means {
            guard case .values(let values) = workers[seat].pool.content(mean.payload.handle) else {
                return nil
            }
            means.append((mean.range, values))
        }
        return means
    }

    private func absorb(
        _ absorption: TrainerOrder.Absorption, _ seat: Int
    ) -> Worker.TrainerEvent {
        let means = values(of: absorption, seat)
        if means == nil {
            checker.find("payloads", now, "\(workers[seat].name) absorbs a released payload")
        }
        let digest = workers[seat].trainer?.absorb(absorption, means: means ?? []) ?? 0
        let experts =
            absorption.target == .optimiserStep ? workers[seat].trainer?.expertShares ?? [] : []
        if options.checks {
            checker.absorbed(seat, absorption, digest, experts, now)
        }
        return .absorbed(
            key: absorption.key, target: absorption.target, digest: digest, experts: experts)
    }

    private func readState(
        _ request: StateRequest, to peer: WorkerID, _ seat: Int
    ) -> Worker.TrainerEvent {
        guard let trainer = workers[seat].trainer else { preconditionFailure("no trainer") }
        let (chunk, content) = trainer.read(request)
        let payload = EncodedPayload(
            handle: workers[seat].pool.store(content), bytes: content.bytes,
            elements: chunk.count, transform: .fp32, stage: .stored)
        return .stateRead(to: peer, chunk: chunk, payload: payload)
    }

    private func installState(
        _ chunk: StateChunk, _ payload: PayloadHandle, _ seat: Int
    ) -> [Worker.TrainerEvent] {
        switch workers[seat].pool.content(payload) {
        case .values(let values): workers[seat].trainer?.install(chunk, values)
        case .modelled, .encoded: workers[seat].trainer?.install(chunk, [])
        case nil:
            checker.find("payloads", now, "\(workers[seat].name) installs a released payload")
        }
        return [.consumed(payload)]
    }

    private func takeOver(
        _ handover: TrainerOrder.Handover, _ seat: Int
    ) -> [Worker.TrainerEvent] {
        for item in handover.items
        where workers[seat].trainer?.digest(of: item.item) != item.digest {
            checker.find(
                "state", now,
                "\(workers[seat].name) has taken over other \(item.item) than described")
        }
        workers[seat].trainer?.stand(at: handover)
        let hasRest = workers[seat].trainer?.state.hasRest == true
        checker.reference.installed(seat, step: handover.step, hasRest: hasRest)
        if options.checks, let plan = workers[seat].machine?.round.plan?.plan,
            let state = workers[seat].trainer?.state
        {
            checker.tookOver(seat, state, plan, now)
        }
        var answer = handover
        answer.hasRest = hasRest
        return [.tookOver(answer)]
    }
}
