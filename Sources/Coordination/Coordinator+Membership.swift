import ClusterModel
import WireProtocol

// MARK: - Membership

extension Coordinator {
    /// Joiners enter at the start, and later at a round boundary.
    mutating func considerJoiners(_ now: Instant) {
        guard !joiners.isEmpty else { return }
        switch stage {
        case .gathering:
            let everybody = joiners.count == seats.count
            let patience = now - startedAt >= configuration.deadlines.gathering
            let enough = joiners.count >= configuration.deadlines.minimumWorkers
            if everybody || (patience && enough) {
                replan(reason: "start", activateAtRound: 0, now)
            }
        case .running:
            // With P fragments nobody can let turn t leave before it knows the commit of turn t - P. No
            // turn after the newest committed one, c, is committed yet, and this plan goes out before
            // the commit of c + 1: every member sees it before it lets turn c + 1 + P leave. Where sets are
            // closed, before the CLOSE of the round it names.
            let names = joiners.map(\.name).joined(separator: ", ")
            replan(
                reason: "\(names) joined", activateAtRound: nextBoundary, now)
        case .reconfiguring, .stopping, .ended:
            break
        }
    }

    mutating func lose(_ connection: ConnectionID, _ now: Instant) {
        if let joiner = joiners[connection] { joiners.remove(joiner.seat) }
        guard let member = members[connection] else { return }
        if case .stopping = stage {
            return remove([member.seat], reason: "connection closed", now)
        }
        let reason = "its connection was reset"
        effects.append(
            .event(.workerEvicted(worker: member.seat, name: member.name, reason: reason)))
        remove([member.seat], reason: "\(member.name): \(reason)", now)
    }

    /// Tells members that they are out, and goes on without them.
    mutating func evict(
        _ seats: [WorkerID], code: RefusalCode, reason: String, _ now: Instant
    ) {
        for seat in seats {
            guard let member = members[seat] else { continue }
            effects.append(
                .send(
                    to: member.connection, .evicted(Evicted(code: code, reason: reason)),
                    epoch: epoch))
            effects.append(
                .event(.workerEvicted(worker: seat, name: member.name, reason: reason)))
        }
        let names = seats.compactMap { members[$0]?.name }.joined(separator: ", ")
        remove(seats, reason: "\(names): \(reason)", now)
    }

    /// Takes seats out of the membership; a new plan follows unless too few are left.
    mutating func remove(_ gone: [WorkerID], reason: String, _ now: Instant) {
        for seat in gone {
            if let member = members.remove(seat) { evicted[seat] = member.incarnation }
            balance.forget(seat)
            forgetOffers(of: seat)
        }
        switch stage {
        case .stopping(let code, let why, _):
            if members.isEmpty { end(code, why) }
        case .gathering, .ended:
            break
        case .reconfiguring, .running:
            replanInPlace(reason: reason, now)
        }
    }

    /// Another plan for the members that are there; at the boundary where they stand, if they all do.
    mutating func replanInPlace(reason: String, _ now: Instant) {
        let boundary = commonBoundary
        if boundary == 0 { retreatJoiners(now) }
        if stage == .gathering { return considerJoiners(now) }
        guard members.count >= configuration.deadlines.minimumWorkers, !members.isEmpty else {
            let least = configuration.deadlines.minimumWorkers
            return stop(
                .quorumLost,
                "\(members.count) workers left, the run needs \(least) (\(reason))", now)
        }
        replan(reason: reason, activateAtRound: boundary, now)
        guard boundary > 0, case .reconfiguring = stage else { return }
        // The report that was missing may have been that of the dead.
        for key in reports.keys.sorted() { commitIfComplete(key, now) }
    }

    /// The round boundary of the plan that is out, if every member that takes part in rounds stands there
    /// already; 0 if not. Then joiners can stay, and keep what they have of the state.
    private var commonBoundary: UInt32 {
        guard case .reconfiguring = stage, let plan, plan.activateAtRound > 0,
            members.establishedCount > 0, members.establishedCount < members.count
        else { return 0 }
        if plan.activateAtRound <= committedTurn { return plan.activateAtRound }
        let key = order.key(of: plan.activateAtRound)
        let stands = members.allSatisfy {
            !$0.isEstablished || !$0.isAwaited || reports[key]?[$0.seat] != nil
        }
        return stands ? plan.activateAtRound : 0
    }

    /// Members that have not been through a GO wait for the next boundary again: a death in between
    /// stops the others where they are, and that is no boundary. If nobody has, the run has not begun.
    private mutating func retreatJoiners(_ now: Instant) {
        guard members.establishedCount < members.count else { return }
        for var early in members where !early.isEstablished {
            members.remove(early.seat)
            early.isAwaited = false
            joiners.put(early)
        }
        if members.isEmpty { stage = .gathering }
    }

    // MARK: Plans

    /// A new epoch. Immediate plans contain members only (a death cannot wait for a boundary); plans for
    /// a later round take the joiners in.
    mutating func replan(reason: String, activateAtRound: UInt32, _ now: Instant) {
        let isStart = stage == .gathering
        if isStart || activateAtRound > 0 {
            members.take(&joiners)
        }
        if isStart { beginFrom(members.map(\.hello.round).max() ?? 0) }
        guard let detours = settleRoutes(now) else { return }
        epoch = epoch.next
        planVersion += 1
        let plan = makePlan(
            activateAtRound: activateAtRound, isStart: isStart, detours: detours)
        sayDetours(plan)
        if let note = sayLostExperts(plan) { effects.append(note) }
        self.plan = plan
        spoken.note(plan, epoch)
        var rank = 0
        members.updateAll {
            $0.holdings = []
            $0.isAwaited = true
            $0.rank = Rank(rank)
            rank += 1
        }
        stage = .reconfiguring(since: now)
        firstReadyAt = nil
        broadcast(.plan(plan))
        // Who comes in where the others stand already has not heard of the round after.
        if activateAtRound > 0, experts.isChoosing, let lastCommit {
            broadcast(.commit(lastCommit))
        }
        effects.append(
            .event(
                .epochStarted(epoch: epoch, members: members.seats { _ in true }, reason: reason)))
    }

    /// The furthest turn anybody has saved; further back than before if all who had more are gone.
    private mutating func beginFrom(_ turn: UInt32) {
        let before = committedTurn
        if before > turn {
            effects.append(
                .event(
                    .note(
                        source: "coordinator",
                        text: "everybody who held \(turnName) \(before) is gone; the run goes on "
                            + "from \(turnName) \(turn), the furthest saved")))
        }
        committed = committed.indices.map { order.rounds(of: FragmentID($0), through: turn) }
        reports = [:]
        lastCommit = nil
        closing.closed = nil
        experts.forget()
        crossing.forget()
        forgetAllOffers()
    }

    var turnName: String { order.count == 1 ? "round" : "turn" }

    private func makePlan(
        activateAtRound: UInt32, isStart: Bool, detours: [Detour]
    ) -> Plan {
        let sources = stateSources(isStart: isStart)
        let weights = ownerWeights()
        let isBoundary = isStart || activateAtRound > 0
        // At once means that some may have computed a step which others have not: nobody's samples move.
        let shares =
            isBoundary
            ? balance.shares(of: members.seats { _ in true }, adapts: adaptsInside)
            : balance.inForce
        let paces = isBoundary ? nextPaces : self.paces
        var planned: [PlanMember] = []
        for (index, member) in members.enumerated() {
            let share = shares[Int(member.seat.rawValue)]
            let pace = paces[Int(member.seat.rawValue)]
            planned.append(
                PlanMember(
                    rank: Rank(index), workerID: member.seat, region: member.region,
                    name: member.name, endpoint: member.hello.endpoint,
                    dataKey: member.hello.dataKey, incarnation: member.incarnation,
                    microBatch: share.batch, sampleOffset: share.offset,
                    syncEvery: pace.syncEvery, overlap: UInt16(clamping: pace.overlap),
                    lastStep: pace.lastStep,
                    state: sources[index] == nil ? .ready : .needsState,
                    stateSource: sources[index] ?? .none,
                    ownerWeight: weights[member.region.index]))
        }
        let fragments = layout.enumerated().map { index, ranges in
            PlanFragment(id: FragmentID(index), round: committed[index] + 1, ranges: ranges)
        }
        let crossing = self.crossing.choice(
            isBoundary: isBoundary, crossingConditions(turn: activateAtRound))
        return Plan(
            planVersion: planVersion, activateAtRound: activateAtRound, members: planned,
            fragments: fragments, regionTransform: configuration.wire.insideRegion,
            poolTransform: configuration.wire.betweenRegions,
            samplesPerStep: balance.samplesPerStep, detours: detours,
            experts: configuration.plannedExperts(elements: parameterCount),
            codecs: isBoundary ? links.planned : codecsInForce,
            expertPeriods: isBoundary ? experts.planned : experts.inForce,
            expertOwners: crossing.owners.map { PlanExpertOwner(region: $0) },
            tokenBudgets: crossing.budgets)
    }

    /// By region: regions behind slow links own less (``OwnerShares``).
    private func ownerWeights() -> [UInt32] {
        var counts = [Int](repeating: 0, count: topology.regions.count)
        for member in members { counts[member.region.index] += 1 }
        return topology.ownerWeights(
            members: counts, crossesOnce: configuration.schedule.crossesOnce)
    }

    /// For each member the rank it takes its state from, or nil if it has what the others have. Later
    /// joiners take it from an established member of their region (of the pool if there is none). At a
    /// start the furthest saved round wins and, where a region is one replica, its furthest step.
    private func stateSources(isStart: Bool) -> [Rank?] {
        let members = Array(members)
        let furthest = members.map(\.hello.round).max() ?? 0
        var candidates = members.indices.filter { index in
            isStart
                ? members[index].hello.stateDigest != 0 && members[index].hello.round == furthest
                : members[index].isEstablished
        }
        if isStart,
            let leader = candidates.max(by: { members[$0].lastStep < members[$1].lastStep })
        {
            // Two seats can have saved the same round from two attempts, one of them never committed.
            let digest = members[leader].hello.stateDigest
            candidates.removeAll { members[$0].hello.stateDigest != digest }
        }
        // The first of those that are furthest: in the pool, and in each region.
        var furthestOfPool: Int?
        var furthestOf = [Int?](repeating: nil, count: topology.regions.count)
        var isCandidate = [Bool](repeating: false, count: members.count)
        for index in candidates {
            isCandidate[index] = true
            let step = members[index].lastStep
            let region = members[index].region.index
            if furthestOfPool.map({ members[$0].lastStep < step }) ?? true {
                furthestOfPool = index
            }
            if furthestOf[region].map({ members[$0].lastStep < step }) ?? true {
                furthestOf[region] = index
            }
        }
        return members.indices.map { index -> Rank? in
            let member = members[index]
            guard let best = furthestOf[member.region.index] ?? furthestOfPool else { return nil }
            guard isCandidate[index] else { return Rank(best) }
            guard isStart else { return nil }
            let mustAgree = configuration.schedule.inner == .everyStep
            return mustAgree && member.lastStep != members[best].lastStep ? Rank(best) : nil
        }
    }

    /// A plan for a round boundary starts when that round is committed: a joiner that has taken its state
    /// over never reports it, and must not be asked to.
    mutating func goIfReady(_ now: Instant) {
        guard case .reconfiguring = stage, members.awaitedCount == 0, let plan,
            plan.activateAtRound <= committedTurn
        else { return }
        guard plan.tokenBudgets.isEmpty || crossing.isAlike else {
            // They did not when it was made, two rounds before.
            return replan(
                reason: "regions have come to take unlike steps: no token leaves its region",
                activateAtRound: plan.activateAtRound, now)
        }
        go(now)
    }

    /// Members that have applied the plan's boundary and whose report of it is not here.
    var unreported: [WorkerID] {
        guard let plan else { return [] }
        let key = order.key(of: plan.activateAtRound)
        return members.seats { $0.isEstablished && reports[key]?[$0.seat] == nil }
    }

    /// Every member is linked: say which collectives complete and which start again.
    mutating func go(_ now: Instant) {
        var verdicts: [Verdict] = []
        for member in members {
            for holding in member.holdings where holding.state == .inFlight {
                guard !verdicts.contains(where: { $0.key == holding.key }) else { continue }
                let holder = members.first { other in
                    other.holdings.contains {
                        $0.key == holding.key && $0.state != .inFlight
                    }
                }
                verdicts.append(
                    Verdict(
                        key: holding.key, verdict: holder == nil ? .restart : .complete,
                        holder: holder?.rank ?? .none))
            }
        }
        let isStart = lastGo == nil
        restateClosed(&verdicts, isStart: isStart, now)
        members.updateAll { $0.isEstablished = true }
        if let plan { adopt(plan) }
        stage = .running
        let go = Go(planVersion: planVersion, verdicts: verdicts)
        lastGo = go
        broadcast(.go(go))
        let allStepped = members.allSatisfy {
            $0.lastStep >= UInt64(paces[Int($0.seat.rawValue)].lastStep)
        }
        let rest = isStart ? membersWithRest : []
        if allStepped, !rest.isEmpty { say(rest) }
        if isStart, rest.isEmpty,
            schedule.isOver(
                turn: committedTurn, fragments: order.count, allStepped: allStepped)
        {
            // Resumed from the states of a run that was over: no round will say so. With steps left, where
            // rounds are counted: their replicas took fewer in each than this run would begin with.
            return stop(.ok, "all \(configuration.steps) steps were trained before", now)
        }
        if isOverWithoutCommit {
            return stop(.ok, "all \(configuration.steps) steps are trained", now)
        }
        for key in reports.keys.sorted() { commitIfComplete(key, now) }
        if case .running = stage, !joiners.isEmpty { considerJoiners(now) }
        considerClosing(now)
    }

    /// Whose last steps are in no committed round: in an outage they could take them, and not merge them.
    private var membersWithRest: [String] {
        members.filter { member in
            member.holdings.contains { holding in
                let key = holding.key
                return key.scope == .pool && holding.state == .inFlight
                    && committed.indices.contains(key.fragment.index)
                    && key.round > committed[key.fragment.index]
            }
        }.map(\.name)
    }

    private mutating func say(_ rest: [String]) {
        effects.append(
            .event(
                .note(
                    source: "coordinator",
                    text: "all \(configuration.steps) steps are taken, but what "
                        + "\(rest.joined(separator: ", ")) learnt in the last ones is in no committed "
                        + "\(turnName) after \(committedTurn): one more takes it in")))
    }

    // MARK: Ending

    mutating func stop(
        _ code: ExitCode, _ reason: String, _ now: Instant
    ) {
        switch stage {
        case .stopping, .ended: return
        case .gathering, .reconfiguring, .running: break
        }
        members.take(&joiners)
        stage = .stopping(code, reason: reason, until: now + CoordinationLimits.stopWait)
        let stop = Stop(
            code: UInt16(truncatingIfNeeded: code.rawValue), reason: reason, save: true)
        lastStop = stop
        broadcast(.stop(stop))
        if members.isEmpty { end(code, reason) }
    }

    mutating func end(_ code: ExitCode, _ reason: String) {
        stage = .ended
        effects.append(.event(.runEnded(code: code.rawValue, reason: reason)))
        effects.append(.finished(code, reason: reason))
    }
}
