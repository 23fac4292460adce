package import ClusterModel

/// Why there is no summary.
package enum RunSummaryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// No `runStarted` among the events.
    case noStart(events: Int)

    package var description: String {
        switch self {
        case .noStart(let events):
            "the log has \(events) events but not the run's start, so there is nothing to report: "
                + "the coordinator died before it had started; start the run again"
        }
    }
}

/// Takes events one by one, in the order of the log, and computes the summary from them.
package struct SummaryBuilder {
    /// A note that begins with this names what a process' reduction kernels were compiled for.
    package static let kernelNotePrefix = "kernels: "

    var start: RunEvent.RunStarted?
    var coordinatorStarts = 0
    var workers: [WorkerID: WorkerTally] = [:]
    var links = LinkTally()
    var classes = TensorClassTotals()
    var experts = ExpertTally()
    var crossing = CrossingTally()
    var relayed = RelayTally()
    var rounds = RoundTally()
    var log = IncidentTally()
    var memory: [String: UInt64] = [:]
    var kernels: [String] = []
    var models: [RunSummary.Outcome.Model] = []
    var end: (code: Int32, reason: String)?
    var epochStart: Double?
    var eventCount = 0
    var firstSeconds: Double?
    var lastSeconds = 0.0
    /// A restarted coordinator's clock begins at zero again; this is added to its times.
    var offset = 0.0

    package init() {}

    /// Takes the next event.
    package mutating func add(_ stamped: StampedEvent) {
        if case .runStarted = stamped.event, start != nil, seconds(stamped.time) < lastSeconds {
            offset = lastSeconds
        }
        let now = seconds(stamped.time)
        firstSeconds = firstSeconds ?? now
        lastSeconds = max(lastSeconds, now)
        eventCount += 1
        take(stamped.event, source: stamped.source, now: now)
    }

    func seconds(_ instant: Instant) -> Double { Double(instant.nanoseconds) / 1e9 + offset }

    /// `since` on the log's clock; a time that cannot be (another clock) becomes `now`.
    private func past(_ since: Instant, now: Double) -> Double {
        let start = seconds(since)
        return start >= 0 && start <= now ? start : now
    }

    private mutating func take(_ event: RunEvent, source: String, now: Double) {
        switch event {
        case .runStarted(let started): takeStart(started, now: now)
        case .workerJoined(let id, let name, let region, let incarnation):
            takeJoin(id, name: name, region: region, incarnation: incarnation, now: now)
        case .epochStarted(let epoch, let members, let reason):
            epochStart = epochStart ?? now
            log.count { $0.epochs += 1 }
            log.add(
                .epoch, at: now, "epoch \(epoch.rawValue) with \(members.count) workers: \(reason)")
        case .stepped(let id, let step, let loss, let tokens, let at):
            let ended = at.map { past($0, now: now) } ?? now
            seat(id) { $0.add(step: step, loss: loss, tokens: tokens, at: ended) }
        case .evaluated(let id, let step, let loss, let samples):
            seat(id) { $0.evaluations[step] = (loss, samples, now) }
        case .roundCommitted(let key, let digest, let members, let tokens):
            rounds.add(key: key, digest: digest, members: members, tokens: tokens, at: now)
        case .roundClosed(let closed): rounds.add(closed, at: now)
        case .waiting(let observer, let activity, let names, let since, let until, let then):
            let text = WaitText.text(
                observer: observer, activity: activity, names: names,
                since: past(since, now: now), until: until.map { seconds($0) }, then: then)
            log.addWait(
                observer: observer, activity: activity, since: since,
                start: past(since, now: now), now: now, text: text)
        case .waited(let observer, let activity, let names, let since, let until):
            let start = past(since, now: now)
            let end = max(start, past(until, now: now))
            let text = WaitText.over(
                observer: observer, activity: activity, names: names, seconds: end - start)
            log.addWait(
                observer: observer, activity: activity, since: since, start: start, now: end,
                text: "\(text), since \(WaitText.clock(start))")
        case .workerEvicted, .workerLeft: takeDeparture(event, now: now)
        case .violation(let culprit, let what):
            log.count { $0.violations += 1 }
            log.add(.violation, at: now, "\(culprit): \(what)")
        case .coordinatorLost(let id, let since, _):
            let start = past(since, now: now)
            log.coordinatorLost(by: id, name: name(of: id), since: start)
        case .coordinatorReturned(let id): log.coordinatorBack(for: id, at: now)
        case .budget(let id, let budget): seat(id) { $0.add(budget, at: now) }
        case .traffic(let id, let traffic):
            if let region = workers[id]?.region {
                links.add(traffic, by: id, in: region, at: now)
            }
        case .linkUse(let use): links.add(use, at: now)
        case .codecUse(let id, let uses): classes.add(uses, by: id)
        case .lanesDecided(let count): links.add(count)
        case .expertUse(let id, let step, let use):
            if let region = workers[id]?.region {
                experts.add(use, by: id, in: region, step: step)
            }
        case .expertsExchanged(_, let elements, let all):
            experts.add(exchanged: elements, of: all)
        case .expertOwners(let owners):
            crossing.add(owners)
        case .tokensCrossed(let id, let count):
            if let region = workers[id]?.region { crossing.add(count, by: id, in: region) }
        case .relayed(let id, let uses): relayed.add(uses, by: id)
        case .checkpointWritten, .checkpointFailed, .peakMemory, .modelWritten, .stateTaken, .note,
            .runEnded:
            takeRest(event, source: source, now: now)
        }
    }

    private mutating func takeRest(_ event: RunEvent, source: String, now: Double) {
        switch event {
        case .checkpointWritten(let id, let path, let step, let bytes):
            log.count { $0.checkpoints += 1 }
            log.add(
                .checkpoint, at: now,
                "\(name(of: id)): checkpoint of step \(step), "
                    + "\(Figures.bytes(Double(bytes))), \(path)"
            )
        case .checkpointFailed(let id, let path, let reason):
            log.count { $0.failedCheckpoints += 1 }
            log.add(.checkpointFailed, at: now, "\(name(of: id)): \(path): \(reason)")
        case .stateTaken(let taken):
            log.add(.stateTaken, at: now, StateText.text(taken) { name(of: $0) })
        case .peakMemory(let process, let bytes):
            memory[process] = max(memory[process] ?? 0, bytes)
        case .modelWritten(let id, let path, let digest):
            models.append(
                .init(worker: name(of: id), path: path, digest: hexadecimal(digest)))
            log.add(.model, at: now, "\(name(of: id)): model written to \(path)")
        case .note(let source, let text):
            if text.hasPrefix(Self.kernelNotePrefix) {
                let kernel = "\(source): \(text.dropFirst(Self.kernelNotePrefix.count))"
                if !kernels.contains(kernel) { kernels.append(kernel) }
            } else {
                log.add(.note, at: now, "\(source): \(text)")
            }
        case .runEnded(let code, let reason):
            end = (code, reason)
            log.add(.ended, at: now, "run ended, code \(code): \(reason)")
        case .runStarted, .workerJoined, .epochStarted, .stepped, .evaluated, .roundCommitted,
            .roundClosed, .waiting, .waited, .workerEvicted, .workerLeft, .violation,
            .coordinatorLost,
            .coordinatorReturned, .budget, .traffic, .linkUse, .codecUse, .expertUse,
            .expertsExchanged, .expertOwners, .tokensCrossed, .lanesDecided, .relayed:
            break
        }
    }

    private mutating func takeStart(_ started: RunEvent.RunStarted, now: Double) {
        coordinatorStarts += 1
        end = nil
        log.add(
            .started, at: now,
            coordinatorStarts == 1 ? "coordinator started" : "coordinator started again")
        guard start == nil else { return }
        start = started
        for seat in started.topology.seats {
            workers[seat.id] = WorkerTally(name: seat.worker.name, region: seat.region)
        }
    }

    private mutating func takeJoin(
        _ id: WorkerID, name: String, region: RegionID, incarnation: Incarnation, now: Double
    ) {
        var tally = workers[id] ?? WorkerTally(name: name, region: region)
        tally.name = name
        tally.region = region
        tally.state = WorkerTally.inRun
        let isBack = !tally.incarnations.isEmpty
        tally.incarnations.insert(incarnation)
        workers[id] = tally
        log.add(.joined, at: now, isBack ? "\(name) is back" : "\(name) joined")
    }

    private mutating func takeDeparture(_ event: RunEvent, now: Double) {
        if case .workerEvicted(let id, let name, let reason) = event {
            log.count { $0.evictions += 1 }
            log.add(.evicted, at: now, "\(name) evicted: \(reason)")
            seat(id) { $0.state = "evicted: \(reason)" }
            log.coordinatorBack(for: id, at: now)
        } else if case .workerLeft(let id, let name, let code, let reason) = event {
            let isFinished = code == 0 || code == Self.finishedCode
            if !isFinished { log.count { $0.leavers += 1 } }
            log.add(.left, at: now, "\(name) left (\(code)): \(reason)")
            seat(id) { $0.state = isFinished ? "finished" : "left: \(reason)" }
            log.coordinatorBack(for: id, at: now)
        }
    }

    /// Wire code of LEAVE for a worker that has done all its steps.
    private static let finishedCode: UInt16 = 17

    /// Changes a known seat; an event of an unknown one has nowhere to go and is dropped.
    private mutating func seat(_ id: WorkerID, _ change: (inout WorkerTally) -> Void) {
        guard var tally = workers[id] else { return }
        change(&tally)
        workers[id] = tally
    }

    func name(of id: WorkerID) -> String { workers[id]?.name ?? "worker \(id.rawValue)" }
}

extension RunSummary {
    /// The summary of a run's events, in the order of the log. Pure: the same events, the same
    /// figures.
    ///
    /// - Throws: ``RunSummaryError`` when the run's start is not among them.
    package init(events: some Sequence<StampedEvent>) throws(RunSummaryError) {
        var builder = SummaryBuilder()
        for event in events { builder.add(event) }
        self = try builder.summary()
    }
}
