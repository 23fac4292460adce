package import ClusterModel
package import WireProtocol

// MARK: - The coordinator

extension Worker {
    mutating func sayHello(_ now: Instant) {
        var hello = hello
        hello.sentAt = now
        hello.samples = samples
        hello.step = UInt64(round.step)
        hello.round = round.round
        effects.append(.control(.hello(hello)))
        helloDue = now + helloDelay
        helloDelay = min(
            Interval(nanoseconds: helloDelay.nanoseconds * 2),
            CoordinationLimits.helloRetryMaximum)
    }

    /// The coordinator knows workers by their connections: on a new one this worker must say who it is,
    /// and hears again what was lost with the old one.
    mutating func greetAgain(_ now: Instant) {
        guard case .member = phase, helloDue == nil else { return }
        helloDelay = CoordinationLimits.helloRetryMinimum
        sayHello(now)
    }

    mutating func control(_ message: Message, _ epoch: Epoch, _ now: Instant) {
        heardCoordinator(now)
        switch message {
        case .welcome(let welcome): welcomed(welcome, now)
        case .refuse(let refusal):
            finish(refusal.code.exitCode, "refused: \(refusal.reason) \(refusal.hint)")
        case .plan(let plan): announce(plan, epoch, now)
        case .go(let go): follow(go, now)
        case .commit(let commit):
            pendingReports.removeAll { $0.report.key == commit.key }
            drive(.committed(key: commit.key, allExperts: commit.allExperts), now)
        case .close(let close): drive(.closed(close, epoch: epoch), now)
        case .stop(let stop):
            let code = ExitCode(rawValue: Int32(stop.code)) ?? .unavailable
            if stop.save {
                beginLeaving(code, stop.reason)
            } else {
                part(code, stop.reason, now)
            }
        case .evicted(let evicted):
            beginLeaving(evicted.code.exitCode, "evicted: \(evicted.reason)")
        case .bye:
            if case .parting(let code, let reason, _) = phase { finish(code, reason) }
        case .error(let error) where error.code == .staleIncarnation: greetAgain(now)
        case .error(let error):
            effects.append(
                .event(.violation(culprit: name, what: "coordinator says: \(error.text)")))
        case .heartbeatAck, .enrolled:
            break
        case .hello, .ready, .heartbeat, .report, .event, .suspect, .leave, .enrol, .offer,
            .laneHello, .laneWelcome, .chunk, .acknowledge, .pull, .stateRequest, .stateChunk,
            .laneBye, .relay, .tokens:
            effects.append(
                .event(
                    .violation(culprit: "coordinator", what: "sent a message only workers send")))
        }
    }

    private mutating func welcomed(_ welcome: Welcome, _ now: Instant) {
        precondition(welcome.workerID == worker, "welcomed to another seat than before")
        helloDue = nil
        helloDelay = CoordinationLimits.helloRetryMinimum
        guard case .joining = phase else { return }
        phase = .member
        heartbeatDue = now
    }

    private mutating func heardCoordinator(_ now: Instant) {
        lastHeard = now
        guard coordinatorLostAt != nil else { return }
        coordinatorLostAt = nil
        effects.append(.event(.coordinatorReturned(worker: worker)))
        drive(.coordinatorReturned, now)
    }

    mutating func loseCoordinator(since: Instant, _ now: Instant) {
        guard case .member = phase, coordinatorLostAt == nil else { return }
        coordinatorLostAt = since
        effects.append(
            .event(
                .coordinatorLost(
                    worker: worker, since: since,
                    until: since + configuration.deadlines.coordinator)))
        drive(.coordinatorLost, now)
    }

    // MARK: Plans

    private mutating func announce(_ plan: Plan, _ epoch: Epoch, _ now: Instant) {
        guard case .member = phase else { return }
        if let current = round.plan, plan.planVersion <= current.plan.planVersion {
            // Said again after a lost connection: the READY or the GO may be lost with it.
            if plan.planVersion == current.plan.planVersion, readyVersion == plan.planVersion,
                round.isFrozen
            {
                sayReady(plan.planVersion)
            }
            return
        }
        if plan.activateAtRound > round.round, hasStarted {
            announced = (plan, epoch)
            drive(.boundary(turn: plan.activateAtRound), now)
        } else {
            adopt(plan, epoch, now)
        }
    }

    /// A plan that waits for a round boundary comes into force between that round and the next step.
    mutating func adoptAnnounced(_ now: Instant) {
        guard let (plan, epoch) = announced, round.round >= plan.activateAtRound else { return }
        adopt(plan, epoch, now)
    }

    private mutating func adopt(_ plan: Plan, _ epoch: Epoch, _ now: Instant) {
        announced = nil
        drive(.plan(plan, epoch: epoch), now)
        guard round.plan?.epoch == epoch else { return }
        if hasPartialState, !needsState {
            // Its source is gone and the plan takes it for whole: what the trainer holds is nobody's.
            return beginLeaving(
                .tryAgain, "the state it was taking over is gone; start it again")
        }
        effects.append(.allow(plan.members.filter { $0.workerID != worker }))
        unlinkedSince = []
        replaceLanes(plan)
        let unsent = replaceAnswered(plan)
        // At a boundary the others may still need what has not left yet.
        if plan.activateAtRound == 0 { dropUnsent() }
        replaceDetours(plan)
        for (outgoing, peer) in unsent { send(outgoing, to: peer) }
        replayPostponed(now)
        beginTransfer()
        sayReadyIfLinked()
    }

    /// One of an earlier plan is said again to whoever may have lost it, and was not lost.
    private mutating func follow(_ go: Go, _ now: Instant) {
        if let current = round.plan, go.planVersion < current.plan.planVersion { return }
        hasStarted = true
        transfer = nil
        drive(.go(planVersion: go.planVersion, verdicts: go.verdicts), now)
    }

    /// READY goes out once per plan, when a lane to every other member is open.
    mutating func sayReadyIfLinked() {
        guard let plan = round.plan, readyVersion < plan.plan.planVersion,
            unlinkedPeers.isEmpty, !needsState
        else { return }
        sayReady(plan.plan.planVersion)
    }

    private mutating func sayReady(_ version: UInt32) {
        readyVersion = version
        effects.append(
            .control(
                .ready(
                    Ready(
                        planVersion: version, step: UInt64(round.step), holdings: round.holdings))))
    }

    /// Members to whom no lane is open yet, in rank order.
    var unlinkedPeers: [PlanMember] {
        guard let plan = round.plan else { return [] }
        return plan.plan.members.filter {
            $0.workerID != worker && !isLinked(to: $0.workerID)
        }
    }

    // MARK: Leaving

    /// Leaves in order: the trainer finishes what it is at, saves, then LEAVE and BYE.
    mutating func beginLeaving(_ code: ExitCode, _ reason: String) {
        switch phase {
        case .joining: finish(code, reason)
        case .member:
            phase = .leaving(code, reason: reason)
            saveIfPossible()
        case .leaving, .parting, .left: break
        }
    }

    /// The state is whole except while the trainer writes it.
    ///
    /// - Parameter isWritten: whether it has just been: what the round wants written next, a mean that was
    ///   there already, it is not told any more.
    mutating func saveIfPossible(isWritten: Bool = false) {
        guard case .leaving(let code, _) = phase else { return }
        if !isWritten, case .absorbing = round.stage { return }
        guard !saveOrdered, !hasPartialState else { return }
        saveOrdered = true
        let leads = round.plan?.rank == Rank(0)
        effects.append(
            .train(
                .save(step: round.step, round: round.round, model: leads && code == .ok)))
    }

    mutating func part(_ code: ExitCode, _ reason: String, _ now: Instant) {
        guard coordinatorLostAt == nil else { return finish(code, reason) }
        effects.append(
            .control(.leave(Leave(code: UInt16(truncatingIfNeeded: code.rawValue), reason: reason)))
        )
        phase = .parting(code, reason: reason, until: now + CoordinationLimits.byeWait)
    }

    mutating func finish(_ code: ExitCode, _ reason: String) {
        hangUpAll()
        phase = .left
        effects.append(.finished(code, reason: reason))
    }
}

extension RefusalCode {
    /// What a process ends with when this is why.
    package var exitCode: ExitCode {
        switch self {
        case .finished: .ok
        case .quorumLost: .quorumLost
        case .evicted, .staleIncarnation, .staleEpoch: .evicted
        case .digestMismatch, .notFinite: .digestMismatch
        case .unknownWorker, .expiredToken: .notAllowed
        case .version, .wrongRun, .configurationDiffers: .configuration
        case .seatTaken, .poolFull: .tryAgain
        case .malformedFrame, .unexpectedMessage, .limitExceeded: .data
        }
    }
}
