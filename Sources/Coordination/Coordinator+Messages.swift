import ClusterModel
import WireProtocol

// MARK: - What workers say

extension Coordinator {
    mutating func receive(
        _ connection: ConnectionID, _ name: String, _ incarnation: Incarnation,
        _ message: Message, _ epoch: Epoch?, _ now: Instant
    ) {
        if case .hello(let hello) = message {
            return greet(connection, name, incarnation, hello, now)
        }
        // Also of somebody evicted, who would otherwise wait for it in vain.
        if case .leave(let leave) = message { return farewell(connection, leave, now) }
        guard touch(connection, incarnation, now) else {
            // A worker this coordinator does not know (any more) must say HELLO again.
            effects.append(
                .send(
                    to: connection,
                    .error(
                        ErrorMessage(
                            code: .staleIncarnation, text: "say HELLO first",
                            offendingType: message.type.rawValue, offendingSequence: 0)),
                    epoch: self.epoch))
            return
        }
        switch message {
        case .ready(let ready): markReady(connection, ready, now)
        case .heartbeat(let heartbeat): beat(connection, heartbeat, now)
        case .report(let report): record(report, from: connection, now)
        case .suspect(let suspect):
            let named = spoken.member(suspect.rank, under: epoch)
            let member = named.flatMap { members[$0.workerID] }
            if let member, member.incarnation == suspect.incarnation {
                probe(member)
                if suspect.reason == .unreachable { noteUnreachable(connection, member, now) }
            }
            if suspect.reason == .tokensMissing {
                let isNamed = named?.incarnation == suspect.incarnation
                missTokens(connection, of: isNamed ? named?.name : nil, now)
            }
        case .offer(let offer): take(offer, from: connection, now)
        case .event, .bye, .error: break
        case .hello, .leave, .welcome, .refuse, .plan, .go, .heartbeatAck, .commit, .close, .stop,
            .evicted, .enrol, .enrolled, .laneHello, .laneWelcome, .chunk, .acknowledge, .pull,
            .stateRequest, .stateChunk, .laneBye, .relay, .tokens:
            effects.append(
                .event(.violation(culprit: name, what: "sent \(message.type) to a coordinator")))
        }
    }

    /// Notes a sign of life; false for a connection that is neither member nor joiner.
    private mutating func touch(
        _ connection: ConnectionID, _ incarnation: Incarnation, _ now: Instant
    ) -> Bool {
        if let seat = members.seat(of: connection, incarnation) {
            welcomeBack(seat, now)
            members.update(seat) { $0.lastHeard = now }
            return true
        }
        if let seat = joiners.seat(of: connection, incarnation) {
            joiners.update(seat) { $0.lastHeard = now }
            return true
        }
        return false
    }

    // MARK: Joining

    private mutating func greet(
        _ connection: ConnectionID, _ name: String, _ incarnation: Incarnation, _ hello: Hello,
        _ now: Instant
    ) {
        let spoken = ProtocolLimits.version
        guard hello.minVersion <= spoken, spoken <= hello.maxVersion else {
            return refuse(
                connection, .version,
                "worker speaks versions \(hello.minVersion)...\(hello.maxVersion)",
                hint: "this coordinator speaks version \(spoken); install the same Longhaul on both"
            )
        }
        guard hello.worker == name, let seat = seat(named: name) else {
            return refuse(
                connection, .unknownWorker, "no seat for '\(hello.worker)' (key of '\(name)')",
                hint: "names with seats: \(seats.map(\.worker.name).joined(separator: ", "))")
        }
        let region = topology.regions[seat.region.index].name
        guard hello.region == region || hello.region.isEmpty else {
            return refuse(
                connection, .unknownWorker,
                "'\(name)' belongs to region '\(region)', not '\(hello.region)'",
                hint: "start it without --region, or with --region \(region)")
        }
        if resume(connection, seat.id, incarnation, hello, now) { return }
        if case .stopping(_, let reason, _) = stage {
            return refuse(connection, .finished, "the run is over: \(reason)", hint: "")
        }
        guard hello.parameterCount > 0 else {
            return welcome(connection, seat.id, hello, now)
        }
        guard hello.parameterCount == parameterCount,
            hello.configurationDigest == configurationDigest
        else {
            return refuse(
                connection, .configurationDiffers,
                "worker has \(hello.parameterCount) parameters, the run has \(parameterCount)",
                hint: "remove its saved state or resume the run it belongs to")
        }
        admit(
            Member(
                seat: seat.id, name: name, region: seat.region, connection: connection,
                incarnation: incarnation, hello: hello, lastHeard: now, lastStep: hello.step), now)
    }

    /// A HELLO of a life that is known: a member on a new connection hears again what may be lost; one
    /// that was put out hears that. False for a life that is new.
    private mutating func resume(
        _ connection: ConnectionID, _ seat: WorkerID, _ incarnation: Incarnation, _ hello: Hello,
        _ now: Instant
    ) -> Bool {
        if members[seat]?.incarnation == incarnation {
            members.reconnect(seat, to: connection)
            members.update(seat) { $0.lastHeard = now }
            welcome(connection, seat, hello, now)
            if let lastStop {
                effects.append(.send(to: connection, .stop(lastStop), epoch: epoch))
            } else if let plan {
                // In this order: with its GO a member has counted from a boundary on, as the others have.
                let last = members[seat]?.isEstablished == true ? lastGo : nil
                if let last, last.planVersion < plan.planVersion {
                    effects.append(.send(to: connection, .go(last), epoch: epoch))
                }
                effects.append(.send(to: connection, .plan(plan), epoch: epoch))
                if let last, last.planVersion == plan.planVersion {
                    effects.append(.send(to: connection, .go(last), epoch: epoch))
                }
                // A joiner never reports the round it came in after, so nothing would repeat its COMMIT.
                if experts.isChoosing, let lastCommit {
                    effects.append(.send(to: connection, .commit(lastCommit), epoch: epoch))
                }
            }
            return true
        }
        guard let last = evicted[seat], incarnation <= last else { return false }
        effects.append(
            .send(
                to: connection,
                .evicted(
                    Evicted(code: .evicted, reason: "the run went on without this process")),
                epoch: epoch))
        return true
    }

    private mutating func welcome(
        _ connection: ConnectionID, _ seat: WorkerID, _ hello: Hello, _ now: Instant
    ) {
        effects.append(
            .send(
                to: connection,
                .welcome(
                    Welcome(
                        workerID: seat, version: ProtocolLimits.version,
                        configurationDigest: configurationDigest,
                        configuration: configurationText, echoSentAt: hello.sentAt,
                        coordinatorTime: now)), epoch: epoch))
    }

    private mutating func admit(_ newcomer: Member, _ now: Instant) {
        let seat = newcomer.seat
        if let known = members[seat] {
            guard known.incarnation < newcomer.incarnation else {
                return refuse(
                    newcomer.connection, .staleIncarnation, "a newer process holds this seat",
                    hint: "stop one of the two")
            }
            welcome(newcomer.connection, seat, newcomer.hello, now)
            joiners.put(newcomer)
            return evict(
                [seat], code: .staleIncarnation, reason: "restarted under the same name", now)
        }
        let isNew = joiners[seat]?.incarnation != newcomer.incarnation
        joiners.put(newcomer)
        welcome(newcomer.connection, seat, newcomer.hello, now)
        if isNew {
            effects.append(
                .event(
                    .workerJoined(
                        worker: seat, name: newcomer.name, region: newcomer.region,
                        incarnation: newcomer.incarnation)))
        }
        considerJoiners(now)
    }

    // MARK: In the run

    private mutating func beat(
        _ connection: ConnectionID, _ heartbeat: Heartbeat, _ now: Instant
    ) {
        if let seat = members.seat(of: connection) {
            members.update(seat) {
                $0.lastStep = heartbeat.step
                $0.phase = heartbeat.phase
                $0.hello.samples = heartbeat.samples
            }
        }
        effects.append(
            .send(
                to: connection,
                .heartbeatAck(HeartbeatAck(echoSentAt: heartbeat.sentAt, coordinatorTime: now)),
                epoch: epoch))
    }

    private mutating func markReady(
        _ connection: ConnectionID, _ ready: Ready, _ now: Instant
    ) {
        guard ready.planVersion == planVersion, let member = members[connection] else { return }
        guard case .reconfiguring = stage else {
            // It has missed the GO.
            if let lastGo, lastGo.planVersion == planVersion {
                effects.append(.send(to: connection, .go(lastGo), epoch: epoch))
            }
            return
        }
        members.update(member.seat) {
            $0.holdings = ready.holdings
            $0.lastStep = ready.step
            $0.isAwaited = false
        }
        firstReadyAt = firstReadyAt ?? now
        noteTakenState(member, ready)
        goIfReady(now)
    }

    /// A joiner has taken over the state of the plan's boundary: if all who had it die now, it is the one
    /// to go on from.
    private mutating func noteTakenState(_ member: Member, _ ready: Ready) {
        guard let plan, plan.activateAtRound > 0,
            plan.members[member.rank.index].state == .needsState
        else { return }
        members.update(member.seat) {
            $0.hello.round = plan.activateAtRound
            $0.hello.step = ready.step
            $0.hello.stateDigest = max(1, $0.hello.stateDigest)
        }
    }

    /// A worker has lost its connection to a peer: ask the transport whether it is still there.
    private mutating func probe(_ member: Member) {
        effects.append(
            .send(
                to: member.connection,
                .heartbeatAck(HeartbeatAck(echoSentAt: .zero, coordinatorTime: .zero)),
                epoch: epoch))
    }

    private mutating func farewell(
        _ connection: ConnectionID, _ leave: Leave, _ now: Instant
    ) {
        effects.append(.send(to: connection, .bye(Bye()), epoch: epoch))
        if let joiner = joiners[connection] {
            joiners.remove(joiner.seat)
            effects.append(
                .event(
                    .workerLeft(
                        worker: joiner.seat, name: joiner.name, code: leave.code,
                        reason: leave.reason)))
        }
        guard let member = members[connection] else { return }
        effects.append(
            .event(
                .workerLeft(
                    worker: member.seat, name: member.name, code: leave.code,
                    reason: leave.reason)))
        remove([member.seat], reason: "\(member.name) left: \(leave.reason)", now)
    }

    // MARK: Rounds

    private mutating func record(
        _ report: Report, from connection: ConnectionID, _ now: Instant
    ) {
        guard let member = members[connection], report.key.scope == .pool,
            committed.indices.contains(report.key.fragment.index)
        else { return }
        let last = committed[report.key.fragment.index]
        if report.key.round <= last {
            // The COMMIT was on its way or lost with a connection.
            effects.append(
                .send(
                    to: connection,
                    .commit(
                        Commit(
                            key: report.key, digest: report.digest, members: 0,
                            allExperts: lastCommit?.key == report.key
                                && lastCommit?.allExperts == true)), epoch: epoch))
            return
        }
        guard report.key.round == last + 1 else {
            effects.append(
                .event(
                    .violation(
                        culprit: member.name,
                        what: "reports round \(report.key.round) while \(last + 1) is open")))
            return
        }
        members.update(member.seat) { $0.lastStep = report.step }
        if reports[report.key]?[member.seat] == nil {
            balance.note(member.seat, samples: report.samples, time: report.computeTime)
            links.note(member.region, report.links)
            experts.note(report.experts)
            crossing.note(member.region, report.experts, report.links)
        }
        reports[report.key, default: [:]][member.seat] = report
        commitIfComplete(report.key, now)
    }

    /// Commits when every member of the set has reported one digest.
    mutating func commitIfComplete(_ key: CollectiveKey, _ now: Instant) {
        // Looks at the members only when the last report is there, not at each.
        guard let held = reports[key], held.count >= members.establishedCount else { return }
        let voters = members.seats(where: \.isEstablished)
        let collected = voters.compactMap { held[$0] }
        guard collected.count == voters.count, let first = collected.first else { return }
        let deviating = minority(voters, collected)
        guard deviating.isEmpty else { return disagree(key, collected, deviating, now) }
        reports[key] = nil
        committed[key.fragment.index] = key.round
        let tokens = closedTokens(key) ?? first.tokens
        noteMerged(key)
        lastCommitAt = now
        let steps = zip(voters, collected).map { ($0, $1.step) }
        let wasWhole = noteExperts(key)
        crossing.settle(steps: steps.map(\.1))
        let commit = Commit(
            key: key, digest: first.digest, members: UInt16(clamping: collected.count),
            allExperts: needsAllExperts(after: key, steps))
        lastCommit = commit
        broadcast(.commit(commit))
        effects.append(
            .event(
                .roundCommitted(
                    key: key, digest: first.digest, members: collected.count,
                    tokens: tokens)))
        let allStepped = steps.allSatisfy { $1 >= UInt64(paces[Int($0.rawValue)].lastStep) }
        let isOver =
            schedule.closesSets
            ? isAllMerged
            : schedule.isOver(
                turn: committedTurn, fragments: order.count, allStepped: allStepped) && wasWhole
        if isOver {
            stop(.ok, "all \(configuration.steps) steps are trained", now)
        } else {
            considerJoiners(now)
            considerMeasured(now, reported: steps.map(\.1).max() ?? 0)
            goIfReady(now)
            considerClosing(now)
        }
    }

    /// Seats whose digest is not the one a majority has; all seats if there is no majority.
    private func minority(_ voters: [WorkerID], _ collected: [Report]) -> [WorkerID] {
        if collected.allSatisfy({ $0.digest == collected[0].digest }) { return [] }
        var counts: [UInt64: Int] = [:]
        for report in collected { counts[report.digest, default: 0] += 1 }
        var best: (digest: UInt64, count: Int) = (collected[0].digest, 0)
        // In seat order: of two digests with as many votes the first one wins.
        for report in collected {
            let count = counts[report.digest] ?? 0
            if count > best.count { best = (report.digest, count) }
        }
        let hasMajority = 2 * best.count > collected.count
        return zip(voters, collected).compactMap { seat, report in
            hasMajority && report.digest == best.digest ? nil : seat
        }
    }

    private mutating func disagree(
        _ key: CollectiveKey, _ collected: [Report], _ deviating: [WorkerID], _ now: Instant
    ) {
        let names = deviating.compactMap { members[$0]?.name }.joined(separator: ", ")
        let what = "digest of \(WorkerRound.describe(key)) differs"
        effects.append(.event(.violation(culprit: names, what: what)))
        if deviating.count == collected.count {
            stop(.digestMismatch, "\(what): no majority among \(names)", now)
        } else {
            evict(deviating, code: .digestMismatch, reason: what, now)
        }
    }
}
