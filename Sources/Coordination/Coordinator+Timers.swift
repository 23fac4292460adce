import ClusterModel
import WireProtocol

// MARK: - Time

extension Coordinator {
    /// A coordinator that was stopped itself must not count that time as others' silence.
    mutating func forgiveOwnStall(_ now: Instant) {
        defer { lastTick = now }
        guard let due = probeDue, let lastTick, lastTick <= due, now > due,
            now - due > CoordinationLimits.ownStall
        else { return }
        let late = now - due
        members.updateAll { $0.lastHeard = $0.lastHeard + late }
        joiners.updateAll { $0.lastHeard = $0.lastHeard + late }
    }

    mutating func runTimers(_ now: Instant) {
        guard let due = probeDue, now >= due else { return }
        probeDue = now + CoordinationLimits.probeInterval
        // ROUTER says "unreachable" only when something is sent.
        let ping = Message.heartbeatAck(
            HeartbeatAck(echoSentAt: .zero, coordinatorTime: now))
        effects.reserveCapacity(effects.count + members.count + joiners.count)
        for connection in members.connections + joiners.connections {
            effects.append(.send(to: connection, ping, epoch: epoch))
        }
        reportSilence(now)
        evictSilent(now)
        answerUnreachable(now)
        watchClosing(now)
        if case .gathering = stage { considerStart(now) }
        let told = notice.note(
            stageWait, by: "coordinator", patience: configuration.deadlines.patience, now)
        effects += told.map(Effect.event)
        if case .stopping(let code, let reason, let until) = stage, now >= until {
            end(code, reason)
        }
    }

    /// After which a member counts as silent: two heartbeats before it is evicted, so that all members of a
    /// region which is cut off do before the first of them goes.
    var silence: Interval {
        let deadlines = configuration.deadlines
        return max(
            CoordinationLimits.shortestSilence,
            min(deadlines.patience, deadlines.silence - CoordinationLimits.heartbeatInterval * 2))
    }

    private mutating func reportSilence(_ now: Instant) {
        // Looked at once a probe interval: one interval early keeps the promise.
        let patience = silence - CoordinationLimits.probeInterval
        let silent = members.seats(silentSince: now - patience)
        let holders = lastHolders(silent)
        let cutOff = cutOffRegions(now)
        for seat in silent where !silences.contains(where: { $0.seat == seat }) {
            silences.append((seat, WaitNotice()))
        }
        for index in silences.indices {
            let seat = silences[index].seat
            let member = silent.contains(seat) ? members[seat] : nil
            let wait = member.map { member in
                WaitNotice.Wait(
                    activity: "a sign of life", names: [member.name], since: member.lastHeard,
                    until: member.lastHeard + silenceLimit(member, holders, cutOff),
                    then: cutOff.contains(member.region)
                        ? "evict it and the rest of its region, which is silent as a whole"
                        : "evict it and go on with the rest")
            }
            let told = silences[index].notice.note(
                wait, by: "coordinator", patience: patience, now)
            effects += told.map(Effect.event)
        }
        silences.removeAll { !$0.notice.isOpen }
    }

    private mutating func evictSilent(_ now: Instant) {
        let limit = configuration.deadlines.silence
        let overdue = members.seats(silentSince: now - limit)
        let holders = lastHolders(overdue)
        let cutOff = overdue.isEmpty ? [] : cutOffRegions(now)
        let silent = overdue.filter { seat in
            members[seat].map { now - $0.lastHeard >= silenceLimit($0, holders, cutOff) } ?? false
        }
        for seat in joiners.seats(silentSince: now - limit) { joiners.remove(seat) }
        guard !silent.isEmpty else { return }
        let longest =
            silent.compactMap { members[$0] }
            .map { silenceLimit($0, holders, cutOff) }.max() ?? limit
        let reason = "silent for \(Int(longest.seconds)) s"
        evict(silent, code: .evicted, reason: reason, now)
    }

    /// Those of `silent` who alone hold the last committed round while somebody is there to go on with it.
    private func lastHolders(_ silent: [WorkerID]) -> [WorkerID] {
        guard newestTurn > 0, silent.count < members.count else { return [] }
        let holders = silent.filter { members[$0]?.isEstablished == true }
        return holders.count == members.establishedCount ? holders : []
    }

    /// The first sign of life from a region that was cut off: the others' silence was the link's too, so
    /// they have the whole limit from now on.
    mutating func welcomeBack(_ seat: WorkerID, _ now: Instant) {
        guard let member = members[seat],
            now - member.lastHeard >= silence,
            cutOffRegions(now).contains(member.region)
        else { return }
        members.updateAll { if $0.region == member.region { $0.lastHeard = now } }
    }

    /// Other regions than the coordinator's, all of whose members are silent.
    private func cutOffRegions(_ now: Instant) -> [RegionID] {
        var heard: [RegionID] = [topology.coordinatorRegion]
        var silent: [RegionID] = []
        for member in members {
            if now - member.lastHeard < silence {
                if !heard.contains(member.region) { heard.append(member.region) }
            } else if !silent.contains(member.region) {
                silent.append(member.region)
            }
        }
        return silent.filter { !heard.contains($0) }
    }

    private func silenceLimit(
        _ member: Member, _ lastHolders: [WorkerID], _ cutOff: [RegionID]
    ) -> Interval {
        let limit = configuration.deadlines.silence
        if lastHolders.contains(member.seat) {
            return limit * CoordinationLimits.lastHolderPatience
        }
        return cutOff.contains(member.region) ? limit * CoordinationLimits.cutOffPatience : limit
    }

    /// At the end of each patience: whether enough are there to start without the others.
    private mutating func considerStart(_ now: Instant) {
        guard now - (gatheringLookedAt ?? startedAt) >= configuration.deadlines.patience else {
            return
        }
        gatheringLookedAt = now
        considerJoiners(now)
    }

    /// What the stage waits for; nil: for nobody.
    private var stageWait: WaitNotice.Wait? {
        switch stage {
        case .gathering:
            let missing = seats.filter { joiners[$0.id] == nil }
            let least = configuration.deadlines.minimumWorkers
            return WaitNotice.Wait(
                activity: "workers to join", names: missing.map(\.worker.name), since: startedAt,
                until: startedAt + configuration.deadlines.gathering,
                then: "start as soon as \(least) of \(seats.count) are here")
        case .reconfiguring(let since): return reconfigurationWait(since)
        case .running, .stopping, .ended: return nil
        }
    }

    private func reconfigurationWait(_ since: Instant) -> WaitNotice.Wait? {
        var since = since
        if let plan, plan.activateAtRound > 0 {
            // Until a member stands at the boundary all train on, and nobody waits.
            guard let firstReadyAt else { return nil }
            since = firstReadyAt
        }
        let waiting = awaited
        let missing = waiting.isEmpty ? unreported : waiting
        return WaitNotice.Wait(
            activity: waiting.isEmpty
                ? "the reports of \(turnName) \(plan?.activateAtRound ?? 0)"
                : "READY for plan \(planVersion)",
            names: missing.compactMap { members[$0]?.name }, since: since, until: nil,
            then: "go on waiting while they are alive; a pair without a lane for "
                + "\(Int(CoordinationLimits.laneOpening.seconds)) s gets a detour")
    }
}
