import ClusterModel
package import Coordination
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
        workers[seat].dialled = [:]
        workers[seat].accepted = [:]
        workers[seat].allowed = []
        workers[seat].controlSequence = 0
        workers[seat].budget = TrainerClock()
        let saved = workers[seat].disk
        workers[seat].trainer = ToyTrainer(
            seat: seat, configuration: configuration, elements: options.payloads.elements,
            isModelled: options.payloads.isModelled, resuming: saved)
        workers[seat].machine = machine(seat, saved)
        checker.workerStarted(seat, saved, now)
        dialCoordinator(seat)
        tell(seat, .started)
    }

    /// A machine as it was when the first life of `seat` began, without a saved state.
    package func freshMachine(_ seat: Int) -> Worker {
        let life = workers[seat].life
        workers[seat].life = 1
        defer { workers[seat].life = life }
        return machine(seat, nil)
    }

    private func machine(_ seat: Int, _ saved: TrainerState?) -> Worker {
        Worker(
            worker: WorkerID(seat), region: workers[seat].region, hello: hello(seat, saved),
            configuration: configuration, topology: topology,
            chunkElements: options.fidelity == .slice
                ? CollectiveGeometry.wholeSlice : CollectiveGeometry.chunkElements)
    }

    private func hello(_ seat: Int, _ saved: TrainerState?) -> Hello {
        let key = PublicKey(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: seat), count: 32))
        guard let key else { preconditionFailure("a key has 32 bytes") }
        return Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: workers[seat].name, region: topology.regions[workers[seat].region.index].name,
            endpoint: "sim://\(workers[seat].name)/\(workers[seat].life)", dataKey: key,
            parameterCount: options.payloads.elements,
            configurationDigest: Self.configurationDigest, round: saved?.round ?? 0,
            step: UInt64(saved?.step ?? 0),
            stateDigest: saved.map {
                configuration.schedule.outer == .everyStep ? $0.innerDigest : $0.outerDigest
            } ?? 0,
            samples: saved?.samples ?? 0, sentAt: .zero)
    }

    /// Hands an event to a worker's machine and carries out what it wants.
    func tell(_ seat: Int, _ event: Worker.Event) {
        guard workers[seat].isRunning, workers[seat].machine != nil else { return }
        let epoch = workers[seat].machine?.round.plan?.epoch
        let local = workers[seat].local(now)
        let effects = workers[seat].machine?.handle(event, at: local) ?? []
        keep(event, effects, of: seat)
        if options.checks { notePlan(seat, before: epoch) }
        for effect in effects { carryOut(effect, seat) }
        setTimer(seat)
    }

    private func notePlan(_ seat: Int, before: Epoch?) {
        guard let plan = workers[seat].machine?.round.plan, plan.epoch != before else { return }
        checker.adopted(seat, plan, now)
    }

    private func carryOut(_ effect: Worker.Effect, _ seat: Int) {
        switch effect {
        case .control(let message): sendControl(seat, message)
        case .allow(let members): workers[seat].allowed = members.map { Int($0.workerID.rawValue) }
        case .dial(let member): dial(seat, member)
        case .hangUp(let lane): hangUp(seat, lane)
        case .transmit(let lane, let sequence, let epoch, let message, let payload):
            transmit(seat, lane, sequence, epoch, message, payload)
        case .train(let order): take(order, seat)
        case .reduce(
            let key, let epoch, let slice, let position, let sources, let transform,
            let elements):
            let encoding = options.payloads.isModelled ? transform : .fp32
            reduce(seat, key, epoch, slice, position, sources, encoding, elements)
        case .release(let handle):
            if !workers[seat].pool.release(handle) {
                checker.find("payloads", now, "\(workers[seat].name) releases \(handle) twice")
            }
        case .event(let event):
            checker.workerSaid(seat, event, now)
            record(event, from: workers[seat].name)
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

    // MARK: The fused pass

    private func reduce(
        _ seat: Int, _ key: CollectiveKey, _ epoch: Epoch, _ slice: Int, _ position: Int,
        _ sources: [ShardReduction.Source], _ transform: TransformID, _ elements: Int
    ) {
        var parts: [[Float]] = []
        for source in sources {
            switch workers[seat].pool.content(source.handle) {
            case .values(let values): parts.append(values)
            case .modelled: break
            case nil:
                checker.find("payloads", now, "\(workers[seat].name) reduces a released payload")
            }
        }
        let content: PayloadPool.Content =
            options.payloads.isModelled
            ? .modelled(bytes: PayloadPool.modelledBytes(transform, elements))
            : .values(Self.weightedMean(parts, sources.map(\.weight), elements: elements))
        let mean = EncodedPayload(
            handle: workers[seat].pool.store(content), bytes: content.bytes,
            elements: UInt32(elements), transform: transform, stage: .stored)
        workers[seat].nextJob += 1
        let job = workers[seat].nextJob
        workers[seat].jobs[job] = WorkerProcess.Reduction(
            key: key, epoch: epoch, slice: slice, position: position, mean: mean)
        let time = options.cost.time(
            4 * elements * (sources.count + 1), at: options.cost.reduceRate)
        queue.schedule(
            .reduced(seat: seat, life: workers[seat].life, job: job), at: now + time)
    }

    /// f_i = w_i / sum w in double, rounded to float; products and sums rounded apart, in the order of
    /// the sources (Protocols/longhaul-1.md, "Mean").
    static func weightedMean(_ parts: [[Float]], _ tokens: [UInt64], elements: Int) -> [Float] {
        let total = Double(tokens.reduce(0, +))
        var mean = [Float](repeating: 0, count: elements)
        for (number, part) in parts.enumerated() {
            let share = Float(Double(tokens[number]) / total)
            for index in 0..<min(elements, part.count) {
                let product = share * part[index]
                mean[index] = number == 0 ? product : mean[index] + product
            }
        }
        return mean
    }

    func finishReduction(_ seat: Int, _ life: UInt64, _ job: UInt64) {
        guard workers[seat].life == life,
            let done = workers[seat].jobs.removeValue(forKey: job)
        else { return }
        tell(
            seat,
            .reduced(
                key: done.key, epoch: done.epoch, slice: done.slice, position: done.position,
                mean: done.mean))
    }
}

extension WorkerProcess {
    var isRunning: Bool { state == .running }
}
