import ClusterModel
import Coordination
import DequeModule
import WireProtocol

// MARK: - A worker's driver

extension Simulator {
    func startWorker(_ seat: Int) {
        guard !workers[seat].isRunning else { return }
        workers[seat].life += 1
        workers[seat].state = .running
        workers[seat].pool = PayloadPool()
        workers[seat].orders = []
        workers[seat].isBusy = false
        workers[seat].jobs = [:]
        workers[seat].reducesUntil = 0
        workers[seat].dialled = [:]
        workers[seat].accepted = [:]
        workers[seat].allowed = []
        workers[seat].controlSequence = 0
        workers[seat].budget = TrainerClock()
        let saved = workers[seat].disk
        workers[seat].trainer = ToyTrainer(
            seat: seat, configuration: configuration,
            elements: host == nil ? options.payloads.elements : 0,
            isModelled: options.payloads.isModelled, resuming: saved)
        workers[seat].hosted = host?.makeTrainer(seat: WorkerID(seat))
        workers[seat].hostedChunks = []
        forgetTokens(seat)
        if eventBytes != nil {
            queue.schedule(
                .figures(seat: seat, life: workers[seat].life), at: now + Self.figuresInterval)
        }
        workers[seat].machine = machine(seat, saved)
        checker.workerStarted(seat, saved, now)
        dialCoordinator(seat)
        tell(seat, .started)
    }

    private func machine(_ seat: Int, _ saved: TrainerState?) -> Worker {
        let hello = hello(seat, saved)
        keepOrigin(seat, hello)
        return Worker(
            worker: WorkerID(seat), region: workers[seat].region, hello: hello,
            configuration: configuration, topology: topology,
            chunkElements: options.fidelity == .slice
                ? CollectiveGeometry.wholeSlice : CollectiveGeometry.chunkElements,
            hasRest: saved?.hasRest ?? false)
    }

    func hello(_ seat: Int, _ saved: TrainerState?) -> Hello {
        let key = PublicKey(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: seat), count: 32))
        guard let key else { preconditionFailure("a key has 32 bytes") }
        return Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: workers[seat].name, region: topology.regions[workers[seat].region.index].name,
            endpoint: workers[seat].profile.dialsOut == true
                ? "" : "sim://\(workers[seat].name)/\(workers[seat].life)", dataKey: key,
            parameterCount: options.payloads.elements,
            configurationDigest: Self.configurationDigest, round: saved?.round ?? 0,
            step: UInt64(saved?.step ?? 0),
            stateDigest: saved.map {
                configuration.schedule.outer == .everyStep ? $0.innerDigest : $0.outerDigest
            } ?? 0,
            samples: saved?.samples ?? 0, sentAt: .zero)
    }

    /// Hands an event to a worker's machine and carries out what it wants. Events that arise meanwhile wait
    /// their turn: effects of one are all out, and frames in sequence, before the next is looked at.
    func tell(_ seat: Int, _ event: Worker.Event) {
        workers[seat].inbox.append(event)
        guard !workers[seat].isTold else { return }
        workers[seat].isTold = true
        while let next = workers[seat].inbox.popFirst() { handOver(next, to: seat) }
        workers[seat].isTold = false
    }

    private func handOver(_ event: Worker.Event, to seat: Int) {
        guard workers[seat].isRunning, workers[seat].machine != nil else { return }
        let epoch = workers[seat].machine?.round.plan?.epoch
        let wasFrozen = workers[seat].machine?.round.isFrozen == true
        let local = workers[seat].local(now)
        let effects = workers[seat].machine?.handle(event, at: local) ?? []
        keep(event, effects, of: seat)
        if options.checks { notePlan(seat, before: epoch, wasFrozen: wasFrozen) }
        if tokensMayCross { updateTokens(seat) }
        for effect in effects { carryOut(effect, seat) }
        setTimer(seat)
    }

    private func notePlan(_ seat: Int, before: Epoch?, wasFrozen: Bool) {
        guard let round = workers[seat].machine?.round, let plan = round.plan else { return }
        if plan.epoch != before { checker.adopted(seat, plan, now) }
        if wasFrozen, !round.isFrozen { checker.reference.started(seat, plan.plan) }
    }

    private func carryOut(_ effect: Worker.Effect, _ seat: Int) {
        switch effect {
        case .control(let message):
            if case .leave = message, eventBytes != nil { tellFigures(seat) }
            sendControl(seat, message)
        case .allow(let members): workers[seat].allowed = members.map { Int($0.workerID.rawValue) }
        case .dial(let member, let lane): dial(seat, member, lane)
        case .hangUp(let lane): hangUp(seat, lane)
        case .transmit(let lane, let sequence, let epoch, let message, let payload):
            transmit(seat, lane, sequence, epoch, message, payload)
        case .train(let order): take(order, seat)
        case .reduce(
            let key, let epoch, let slice, let position, let sources, let transform,
            let elements, let round):
            let place = WorkerProcess.Position(
                key: key, epoch: epoch, slice: slice, position: position)
            let contribution = round.flatMap {
                workers[seat].machine?.round.plan?.contribution(
                    to: $0, slice: slice, position: position)
            }
            reduce(seat, place, sources, transform, elements, contribution)
        case .release(let handle):
            if !workers[seat].pool.release(handle) {
                checker.find("payloads", now, "\(workers[seat].name) releases \(handle) twice")
            }
        case .tokens(let peer, let epoch, let tokens, let handle):
            takeTokens(seat, from: peer, epoch, tokens, handle)
        case .event(let event):
            checker.workerSaid(seat, event, now)
            record(event, from: workers[seat].name)
            sendEvent(seat, event)
        case .finished(let code, let reason): finish(seat, code, reason)
        }
    }

    private func finish(_ seat: Int, _ code: ExitCode, _ reason: String) {
        workers[seat].state = .ended(code)
        record(.note(source: workers[seat].name, text: "left: \(reason)"), from: workers[seat].name)
        abandonConnections(of: seat)
        checker.workerEnded(seat, code, workers[seat].trainer?.state, now)
        if code == .evicted { supervise(seat) }
    }

    /// A supervisor starts an evicted or crashed worker again, if the run has one.
    func supervise(_ seat: Int) {
        guard let delay = options.supervision, !isCoordinatorGone else { return }
        queue.schedule(.startWorker(seat: seat), at: now + delay.nanoseconds)
        lastFaultEnds = max(lastFaultEnds, now + delay.nanoseconds)
    }

    func setTimer(_ seat: Int) {
        guard workers[seat].isRunning, let due = workers[seat].machine?.nextDeadline else { return }
        let at = max(now, due.nanoseconds - workers[seat].clockOffset)
        guard workers[seat].tickAt != at else { return }
        workers[seat].tickAt = at
        workers[seat].tickVersion += 1
        queue.schedule(.tick(.worker(seat), version: workers[seat].tickVersion), at: at)
    }
}

extension WorkerProcess {
    var isRunning: Bool { state == .running }
}
