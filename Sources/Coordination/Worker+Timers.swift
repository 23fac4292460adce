import ClusterModel
import WireProtocol

// MARK: - Time

extension Worker {
    /// When the phase wants the next tick.
    var deadline: Instant? {
        // Only timers that the phase serves: a due one nobody serves would spin the driver.
        switch phase {
        case .joining: return earlier(helloDue, joinReportDue)
        case .member: return earlier(helloDue, heartbeatDue)
        case .leaving: return heartbeatDue
        case .parting(_, _, let until): return until
        case .left: return nil
        }
    }

    private func earlier(_ a: Instant?, _ b: Instant?) -> Instant? {
        guard let a, let b else { return a ?? b }
        return min(a, b)
    }

    /// All timers are coarse enough to hang on the heartbeat, one a second.
    mutating func runTimers(_ now: Instant) {
        forgiveOwnStall(now)
        switch phase {
        case .joining:
            if let due = helloDue, now >= due { sayHello(now) }
            watchJoining(now)
        case .member:
            if let due = helloDue, now >= due { sayHello(now) }
            let isDue = heartbeat(now)
            watchCoordinator(now)
            reportWaiting(now, inWords: isDue)
        case .leaving(let code, let reason):
            _ = heartbeat(now)
            // Half of somebody's state must not be saved over what is on disk.
            if hasPartialState { part(code, reason, now) }
        case .parting(let code, let reason, let until):
            if now >= until { finish(code, reason) }
        case .left:
            break
        }
    }

    /// Nobody has answered HELLO: says so, and gives up after the coordinator's deadline.
    private mutating func watchJoining(_ now: Instant) {
        guard let since = joiningSince else { return }
        let until = since + configuration.deadlines.coordinator
        if now >= until {
            let seconds = Int(configuration.deadlines.coordinator.seconds)
            return finish(.unavailable, "no coordinator answered for \(seconds) s")
        }
        guard let due = joinReportDue, now >= due else { return }
        joinReportDue = min(until, now + configuration.deadlines.patience)
        note(
            WaitNotice.Wait(
                activity: "the coordinator's welcome", names: ["coordinator"], since: since,
                until: until, then: "leave with code 69"), now)
    }

    /// A process that was stopped must not take its own pause for the coordinator's silence.
    private mutating func forgiveOwnStall(_ now: Instant) {
        defer { lastTick = now }
        guard let lastTick, let due = heartbeatDue, now > due, lastTick <= due,
            now - due > CoordinationLimits.ownStall
        else { return }
        lastHeard = lastHeard + (now - due)
        lanesWatchedAt = lanesWatchedAt + (now - due)
        for index in unlinkedSince.indices {
            unlinkedSince[index].at = unlinkedSince[index].at + (now - due)
        }
    }

    /// Whether it was due.
    private mutating func heartbeat(_ now: Instant) -> Bool {
        guard let due = heartbeatDue, now >= due else { return false }
        heartbeatDue = now + CoordinationLimits.heartbeatInterval
        let waited = round.waiting(shards: shards)?.ranks ?? []
        effects.append(
            .control(
                .heartbeat(
                    Heartbeat(
                        sentAt: now, step: UInt64(round.step), phase: wirePhase,
                        waitingForRanks: waited, samples: samples))))
        callMissing()
        if case .member = phase {
            watchLinks(now)
            watchRepairs(now)
        }
        for (index, pending) in pendingReports.enumerated()
        where now - pending.sentAt >= CoordinationLimits.reportRetry {
            pendingReports[index].sentAt = now
            effects.append(.control(.report(pending.report)))
        }
        // Between a boundary plan and its GO it may be about to be dropped.
        if let offer = round.offer, !round.isFrozen,
            now - offerSentAt >= CoordinationLimits.reportRetry
        {
            offerSentAt = now
            effects.append(.control(.offer(offer)))
        }
        return true
    }

    /// A replica that has finished takes part in a round only if it knows of it, and may own no slice of
    /// it that would tell: asks once a heartbeat for what is missing in this worker's.
    private mutating func callMissing() {
        guard case .sharing(let key) = round.stage, key.scope == .pool, !round.isFrozen,
            let plan = round.plan
        else { return }
        let geometry = plan.geometry(of: key)
        guard let slice = geometry.slice(ownedBy: plan.rank) else { return }
        var missing = shards.missingGroups(key).flatMap { group in
            plan.keepsExperts
                ? geometry.groups[group] : [geometry.sender(group: group, slice: slice)]
        }
        if let parts = plan.partsKey(of: key) {
            let members = plan.geometry(of: parts).groups
            missing += shards.missingGroups(parts).map { members[$0][0] }
        }
        for rank in missing {
            guard let peer = peer(rank), peer != worker else { continue }
            let pull = Pull(key: key, kind: .contribution, slice: UInt16(slice), position: 0)
            send(to: peer, .pull(pull), payload: nil, bytes: 0)
        }
    }

    private var wirePhase: WorkerPhase {
        switch phase {
        case .joining: return .connecting
        case .leaving, .parting, .left: return .leaving
        case .member: break
        }
        if round.plan == nil || readyVersion == 0 { return .linking }
        if round.isFrozen { return .reconfiguring }
        switch round.stage {
        case .idle, .computing: return .computing
        case .readyToShare: return .reducingInRegion
        case .readyToExchange: return .reducingInPool
        case .sharing(let key), .awaitingCommit(let key):
            return key.scope == .region ? .reducingInRegion : .reducingInPool
        case .absorbing, .trained: return .applying
        }
    }

    private mutating func watchCoordinator(_ now: Instant) {
        // Nor is the coordinator silent between two of its probes.
        let patience = configuration.deadlines.patience
        if now - lastHeard >= max(patience, CoordinationLimits.shortestSilence) {
            loseCoordinator(since: lastHeard, now)
        }
        guard let lost = coordinatorLostAt,
            now - lost >= configuration.deadlines.coordinator
        else { return }
        let seconds = Int(configuration.deadlines.coordinator.seconds)
        beginLeaving(
            .unavailable,
            "no coordinator for \(seconds) s; the state is saved, continue with --resume")
    }

    /// Never silent: after `patience`, and again as ``WaitNotice`` has it, says for whom and why. That looks
    /// through all positions, so it is done with the heartbeat only.
    private mutating func reportWaiting(_ now: Instant, inWords isDue: Bool) {
        guard let wait = round.wait else {
            waitingSince = nil
            return note(nil, now)
        }
        guard let since = waitingSince, since.wait == wait else {
            waitingSince = (wait, now)
            return note(nil, now)
        }
        guard isDue, let waiting = round.waiting(shards: shards) else { return }
        let silence = Int(configuration.deadlines.silence.seconds)
        let unlinked = round.isFrozen ? unlinkedPeers.map(\.name) : []
        let who = waiting.ranks.isEmpty ? unlinked : names(waiting.ranks)
        let fallback = coordinatorLostAt.map { $0 + configuration.deadlines.coordinator }
        note(
            WaitNotice.Wait(
                activity: waiting.activity, names: who.isEmpty ? ["coordinator"] : who,
                since: since.at, until: fallback,
                then: fallback == nil
                    ? "the coordinator evicts a worker that is silent for \(silence) s, and a "
                        + "region that is silent as a whole after "
                        + "\(silence * Int(CoordinationLimits.cutOffPatience)) s"
                    : "save the state and leave with code 69"), now)
    }

    private mutating func note(_ wait: WaitNotice.Wait?, _ now: Instant) {
        let told = notice.note(
            wait, by: name, patience: configuration.deadlines.patience,
            early: CoordinationLimits.heartbeatInterval, now)
        effects += told.map(Effect.event)
    }

    /// After every event, so that the length told is exact.
    mutating func noteEndOfWait(_ now: Instant) {
        guard notice.isOpen else { return }
        switch phase {
        case .joining, .left: return
        case .member where isWaitingStill: return
        case .member, .leaving, .parting: break
        }
        waitingSince = nil
        note(nil, now)
    }

    private var isWaitingStill: Bool {
        guard let seen = waitingSince else { return false }
        return round.wait == seen.wait
    }
}
