import ClusterModel
import Coordination
import WireProtocol

// MARK: - The checkers' regular look, and the end

extension Simulator {
    func inspect() {
        let running = workers.indices.filter { workers[$0].isRunning && !workers[$0].isPaused }
        checker.inspect(
            now, patience: configuration.deadlines.patience.nanoseconds, running: running)
        for seat in running {
            checkPool(seat)
            checkTokens(seat)
        }
        queue.schedule(.inspection, at: now + RunChecker.inspectionInterval)
    }

    /// Payloads a worker may hold: both finished means and the one under way, contributions of every
    /// replica to its own slice for this round and the next, its own on the way, and a state transfer.
    private func checkPool(_ seat: Int) {
        guard let plan = workers[seat].machine?.round.plan else { return }
        let positions = plan.plan.fragments.reduce(0) {
            $0 + plan.geometry(of: .outer(fragment: $1.id, round: 1)).totalPositions
        }
        let members = plan.plan.members.count
        // Tokens of the half under way and of the next, from and to everybody.
        let tokens = plan.crossesTokens ? 8 * members : 0
        let limit = 8 * positions + 4 * positions * members + 64 + tokens
        if workers[seat].pool.count > limit {
            checker.find(
                "payloads", now,
                "\(workers[seat].name) holds \(workers[seat].pool.count) payloads (limit \(limit))")
        }
    }

    /// Nobody waits for ever: where tokens do not come and nothing else is wrong any more, the coordinator is
    /// told, and its plan is there after as long as an eviction and the opening of lanes may take.
    private func checkTokens(_ seat: Int) {
        guard let since = workers[seat].tokenStep?.waitsSince else { return }
        let steps = topology.seats.map(\.worker.nominalStep).max() ?? .zero
        let deadlines = configuration.deadlines
        let limit =
            TokenWatch.limit(
                patience: deadlines.patience, longestStep: 20 * steps.nanoseconds)
            + 8 * deadlines.silence.nanoseconds
        guard now - max(since, lastFaultEnds) > limit else { return }
        checker.find(
            "tokens", now,
            "\(workers[seat].name) waits for tokens since \(Double(since) / 1e9) s")
    }

    private func figures(_ worker: WorkerProcess) -> [RunEvent] {
        let id = WorkerID(worker.seat)
        return [.budget(worker: id, worker.budget.budget)]
            + traffic[worker.seat].filter { $0.frames > 0 }.map { .traffic(worker: id, $0) }
    }

    /// How often a driver tells its cumulative figures.
    static let figuresInterval: Int64 = 2_000_000_000

    func figuresAreDue(_ seat: Int, _ life: UInt64) {
        guard workers[seat].isRunning, workers[seat].life == life else { return }
        tellFigures(seat)
        queue.schedule(.figures(seat: seat, life: life), at: now + Self.figuresInterval)
    }

    /// Budget, traffic and memory of a worker's process on their way to the coordinator.
    func tellFigures(_ seat: Int) {
        for event in figures(workers[seat]) {
            record(event, from: workers[seat].name)
            sendEvent(seat, event)
        }
        // The size of a process is not modelled; its report is as long as this one.
        sendEvent(seat, .peakMemory(process: workers[seat].name, bytes: 100_000_000))
    }

    /// Puts an EVENT frame on the worker's control connection, if the run counts them.
    func sendEvent(_ seat: Int, _ event: RunEvent) {
        guard let eventBytes, let control = workers[seat].control else { return }
        workers[seat].controlSequence += 1
        let header = FrameHeader(
            run: Self.run, incarnation: Incarnation(rawValue: workers[seat].life), epoch: .none,
            rank: .none, sequence: workers[seat].controlSequence)
        let frame = plainFrame(
            header, .event(EventMessage()), nil, payloadBytes: eventBytes(event))
        if connections[control].isUp { put(frame, on: control, direction: 0) }
    }

    /// The figures a real run's drivers add at the end.
    func conclude() {
        for worker in workers where worker.life > 0 {
            for event in figures(worker) { record(event, from: worker.name) }
        }
        for from in topology.regions.indices {
            for to in topology.regions.indices where from != to {
                let use = fabric.linkUse(RegionID(from), RegionID(to))
                guard use.bytes > 0 else { continue }
                record(
                    .linkUse(
                        RunEvent.LinkUse(
                            from: RegionID(from), to: RegionID(to), bytes: use.bytes, flows: 0,
                            peakQueueBytes: UInt64(use.peakQueue))), from: "fabric")
            }
        }
    }
}
