import ClusterModel
import WireProtocol

/// Two members between whom no lane opens, by seat, lower first; void with either's next life.
struct UnreachablePair: Equatable, Sendable {
    let a: WorkerID
    let b: WorkerID
    let incarnations: [Incarnation]
    /// Relays over which it was tried in vain.
    var triedRelays: [WorkerID] = []

    func isSame(_ other: UnreachablePair) -> Bool {
        a == other.a && b == other.b && incarnations == other.incarnations
    }
}

// MARK: - Who can reach whom

extension Coordinator {
    /// Detours for the pairs of members without a lane, and the pairs (by rank) nobody can help.
    private func routes() -> (detours: [Detour], stuck: [(a: Int, b: Int)]) {
        let members = Array(members)
        let silent = members.indices.filter { members[$0].hello.endpoint.isEmpty }
        var pairs: [(a: Int, b: Int, tried: [WorkerID])] = []
        for (place, a) in silent.enumerated() {
            pairs += silent[(place + 1)...].map { b in
                (a, b, known(members[a], members[b])?.triedRelays ?? [])
            }
        }
        for a in members.indices {
            // Rare: looks at the pairs that are known, not at all pairs.
            for pair in unreachable where pair.a == members[a].seat || pair.b == members[a].seat {
                let other = pair.a == members[a].seat ? pair.b : pair.a
                guard let b = members.firstIndex(where: { $0.seat == other }), a < b,
                    pair.incarnations == incarnations(members[a], members[b]),
                    !pairs.contains(where: { $0.a == a && $0.b == b })
                else { continue }
                pairs.append((a, b, pair.triedRelays))
            }
        }
        var detours: [Detour] = []
        var stuck: [(a: Int, b: Int)] = []
        for pair in pairs.sorted(by: { ($0.a, $0.b) < ($1.a, $1.b) }) {
            let present = presentRelay(members[pair.a].seat, members[pair.b].seat)
            if let relay = relay(pair.a, pair.b, tried: pair.tried, present, members) {
                detours.append(Detour(a: Rank(pair.a), b: Rank(pair.b), relay: Rank(relay)))
            } else {
                stuck.append((pair.a, pair.b))
            }
        }
        return (detours, stuck)
    }

    /// A plan holds so many detours and no more: the newest member of the last one has to go.
    private func tooMany(_ detours: [Detour]) -> (a: Int, b: Int)? {
        guard detours.count > ProtocolLimits.detours, let last = detours.last else { return nil }
        return (last.a.index, last.b.index)
    }

    /// Who passes on between two seats under the plan in force: stays, if it can.
    private func presentRelay(_ a: WorkerID, _ b: WorkerID) -> WorkerID? {
        guard let plan else { return nil }
        return plan.detours.first { detour in
            [detour.a, detour.b].allSatisfy { [a, b].contains(plan.members[$0.index].workerID) }
        }.map { plan.members[$0.relay.index].workerID }
    }

    /// Who passes on between `a` and `b`: of those with a lane to both the first of a's region, else of
    /// b's, else of all, so that the bytes cross as few links as they can.
    private func relay(
        _ a: Int, _ b: Int, tried: [WorkerID], _ present: WorkerID?, _ members: [Member]
    ) -> Int? {
        let able = members.indices.filter { c in
            c != a && c != b && !tried.contains(members[c].seat)
                && hasLane(members[a], members[c]) && hasLane(members[b], members[c])
        }
        return able.first { members[$0].seat == present }
            ?? able.first { members[$0].region == members[a].region }
            ?? able.first { members[$0].region == members[b].region } ?? able.first
    }

    private func hasLane(_ a: Member, _ b: Member) -> Bool {
        (!a.hello.endpoint.isEmpty || !b.hello.endpoint.isEmpty) && known(a, b) == nil
    }

    private func incarnations(_ a: Member, _ b: Member) -> [Incarnation] {
        a.seat < b.seat ? [a.incarnation, b.incarnation] : [b.incarnation, a.incarnation]
    }

    private func known(_ a: Member, _ b: Member) -> UnreachablePair? {
        let (low, high) = (min(a.seat, b.seat), max(a.seat, b.seat))
        return unreachable.first {
            $0.a == low && $0.b == high && $0.incarnations == incarnations(a, b)
        }
    }

    /// Detours for the plan to come. Where nobody can pass on for a pair, one of the two has to go: who
    /// lacks more lanes, else the one with the higher rank. Nil: the run is over.
    mutating func settleRoutes(_ now: Instant) -> [Detour]? {
        while true {
            let (detours, stuck) = routes()
            guard let worst = stuck.first ?? tooMany(detours) else { return detours }
            let members = Array(members)
            // In a run that has begun the others go on with whom they reach; at its start nothing is lost.
            let hasBegun = members.contains(where: \.isEstablished)
            guard hasBegun || members.contains(where: { !$0.hello.endpoint.isEmpty }) else {
                stop(
                    .configuration,
                    "none of \(members.count) workers can be dialled by the others; give one of them "
                        + "a port that others reach (start it without --dial-out)", now)
                return nil
            }
            func count(_ rank: Int) -> Int { stuck.count { $0.a == rank || $0.b == rank } }
            // A member that trains goes last: a newcomer holds nothing yet.
            let (first, second) = (members[worst.a], members[worst.b])
            let isFirst =
                first.isEstablished == second.isEstablished
                ? count(worst.a) > count(worst.b) : second.isEstablished
            let (gone, other) =
                isFirst
                ? (members[worst.a], members[worst.b]) : (members[worst.b], members[worst.a])
            putOut(
                gone,
                because:
                    "no lane to \(other.name) opens and nobody can pass on between them; give one of "
                    + "them a port that the other reaches")
            guard self.members.count >= configuration.deadlines.minimumWorkers else {
                stop(
                    .quorumLost,
                    "\(self.members.count) workers left, the run needs "
                        + "\(configuration.deadlines.minimumWorkers) (\(gone.name) was unreachable for "
                        + "\(other.name))", now)
                return nil
            }
        }
    }

    /// Evicts without a plan of its own: one is being made.
    private mutating func putOut(_ member: Member, because reason: String) {
        effects.append(
            .send(
                to: member.connection, .evicted(Evicted(code: .evicted, reason: reason)),
                epoch: epoch))
        effects.append(
            .event(.workerEvicted(worker: member.seat, name: member.name, reason: reason)))
        members.remove(member.seat)
        balance.forget(member.seat)
        evicted[member.seat] = member.incarnation
    }

    /// Says which pairs reach each other over whom, when that has changed.
    func detourNotes(_ plan: Plan) -> [RunEvent] {
        func paths(_ plan: Plan?) -> [String] {
            guard let plan else { return [] }
            return plan.detours.map {
                let names = [$0.a, $0.b, $0.relay].map { plan.members[$0.index].name }
                return "\(names[0]) and \(names[1]) have no lane to each other: "
                    + "\(names[2]) passes on between them"
            }
        }
        let before = paths(self.plan)
        return paths(plan).filter { !before.contains($0) }.map {
            .note(source: "coordinator", text: $0)
        }
    }

    mutating func sayDetours(_ plan: Plan) {
        effects += detourNotes(plan).map { .event($0) }
    }

    // MARK: Suspicions

    /// A member says that no lane to another opens.
    mutating func noteUnreachable(
        _ connection: ConnectionID, _ member: Member, _ now: Instant
    ) {
        guard let plan, let reporter = members[connection], member.seat != reporter.seat else {
            return
        }
        if plan.activateAtRound > 0, case .reconfiguring(let since) = stage {
            // Who is still on its way to the boundary does not know the joiner yet.
            let isThere = plan.activateAtRound <= committedTurn
            guard
                now - max(lastCommitAt, since) >= CoordinationLimits.laneOpening * (isThere ? 1 : 6)
            else { return }
        }
        let pair = UnreachablePair(
            a: min(member.seat, reporter.seat), b: max(member.seat, reporter.seat),
            incarnations: incarnations(member, reporter))
        guard !suspected.contains(where: { $0.isSame(pair) }) else { return }
        suspected.append(pair)
        suspectedAt = suspectedAt ?? now
    }

    /// Some time after the first report: a plan with detours for the pairs whose ends are both alive. If
    /// one of them is silent that is why, and its silence is watched elsewhere.
    mutating func answerUnreachable(_ now: Instant) {
        guard let since = suspectedAt, now - since >= CoordinationLimits.unreachableCollection
        else { return }
        let pairs = suspected.filter { isAlive($0, now) }
        suspected = []
        suspectedAt = nil
        switch stage {
        case .gathering, .stopping, .ended: return
        case .running, .reconfiguring: break
        }
        guard !pairs.isEmpty else { return }
        for pair in pairs { remember(pair) }
        let names = pairs.map { pair in
            [pair.a, pair.b].compactMap { members[$0]?.name }.joined(separator: " and ")
        }
        replanInPlace(reason: "no lane between " + names.joined(separator: ", "), now)
    }

    private func isAlive(_ pair: UnreachablePair, _ now: Instant) -> Bool {
        guard let a = members[pair.a], let b = members[pair.b],
            incarnations(a, b) == pair.incarnations
        else { return false }
        return [a, b].allSatisfy { now - $0.lastHeard < silence }
    }

    private mutating func remember(_ pair: UnreachablePair) {
        // A joiner that retreats to the next boundary lives on, and so does what is known of its lanes.
        func lives(_ seat: WorkerID) -> Incarnation? {
            members[seat]?.incarnation ?? joiners[seat]?.incarnation
        }
        unreachable.removeAll { known in
            lives(known.a) != known.incarnations[0] || lives(known.b) != known.incarnations[1]
        }
        // A pair that has a detour already: that relay does not help.
        let relay = presentRelay(pair.a, pair.b)
        let place =
            unreachable.firstIndex { $0.isSame(pair) }
            ?? {
                unreachable.append(pair)
                return unreachable.count - 1
            }()
        if let relay { unreachable[place].triedRelays.append(relay) }
    }
}
