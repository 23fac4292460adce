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
        switch stage {
        case .gathering: reportGathering(now)
        case .reconfiguring(let since): reportReconfiguration(since, now)
        case .stopping(let code, let reason, let until):
            if now >= until { end(code, reason) }
        case .running, .ended: break
        }
    }

    private mutating func reportSilence(_ now: Instant) {
        // Looked at once a probe interval: one interval early keeps the promise.
        let patience = configuration.deadlines.patience - CoordinationLimits.probeInterval
        let silent = members.seats(silentSince: now - patience)
        let holders = lastHolders(silent)
        let cutOff = cutOffRegions(now)
        for seat in silent {
            guard let member = members[seat] else { continue }
            if let last = member.silenceReportedAt, now - last < patience { continue }
            members.update(member.seat) { $0.silenceReportedAt = now }
            effects.append(
                .event(
                    .waiting(
                        observer: "coordinator", activity: "a sign of life",
                        names: [member.name], since: member.lastHeard,
                        until: member.lastHeard + silenceLimit(member, holders, cutOff),
                        then: cutOff.contains(member.region)
                            ? "evict it and the rest of its region, which is silent as a whole"
                            : "evict it and go on with the rest")))
        }
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
            now - member.lastHeard >= configuration.deadlines.patience,
            cutOffRegions(now).contains(member.region)
        else { return }
        members.updateAll { if $0.region == member.region { $0.lastHeard = now } }
    }

    /// Other regions than the coordinator's, of which no member has been heard for the patience.
    private func cutOffRegions(_ now: Instant) -> [RegionID] {
        let patience = configuration.deadlines.patience
        var heard: [RegionID] = [topology.coordinatorRegion]
        var silent: [RegionID] = []
        for member in members {
            if now - member.lastHeard < patience {
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

    private mutating func reportGathering(_ now: Instant) {
        let patience = configuration.deadlines.patience
        guard now - (gatheringReportedAt ?? startedAt) >= patience else { return }
        gatheringReportedAt = now
        considerJoiners(now)
        guard stage == .gathering else { return }
        let missing = seats.filter { joiners[$0.id] == nil }
        let least = configuration.deadlines.minimumWorkers
        effects.append(
            .event(
                .waiting(
                    observer: "coordinator", activity: "workers to join",
                    names: missing.map(\.worker.name), since: startedAt,
                    until: startedAt + configuration.deadlines.gathering,
                    then: "start as soon as \(least) of \(seats.count) are here")))
    }

    private mutating func reportReconfiguration(_ since: Instant, _ now: Instant) {
        let patience = configuration.deadlines.patience
        var since = since
        if let plan, plan.activateAtRound > 0 {
            // Until a member stands at the boundary all train on, and nobody waits.
            guard let firstReadyAt else { return }
            since = firstReadyAt
        }
        guard now - (waitReportedAt ?? since) >= patience else { return }
        waitReportedAt = now
        let waiting = awaited
        let missing = waiting.isEmpty ? unreported : waiting
        effects.append(
            .event(
                .waiting(
                    observer: "coordinator",
                    activity: waiting.isEmpty
                        ? "the reports of \(turnName) \(plan?.activateAtRound ?? 0)"
                        : "READY for plan \(planVersion)",
                    names: missing.compactMap { members[$0]?.name }, since: since, until: nil,
                    then: "go on waiting while they are alive; a pair without a lane for "
                        + "\(Int(CoordinationLimits.laneOpening.seconds)) s gets a detour"
                )))
    }
}
