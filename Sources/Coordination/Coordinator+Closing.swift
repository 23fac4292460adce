import ClusterModel
import WireProtocol

/// What a coordinator knows of offers and of the round it has closed last.
struct ClosingState: Sendable {
    struct Seat: Equatable, Sendable {
        var offer: Offer?
        /// It has been said since the last GO: a member says again what still stands.
        var isSaid = false
        /// When that came.
        var at = Instant.zero
        /// Step of the last offer that went into a committed round, since counts began.
        var merged: UInt64 = 0
        /// Rounds closed without this seat's replica since it was last in one, and the first arrival of
        /// the first of those.
        var missed: UInt32 = 0
        var missedSince: Instant?
    }

    /// One replica's contribution to the closed round.
    struct Part: Equatable, Sendable {
        var seats: [WorkerID]
        var offer: Offer
        var weight: UInt64
    }

    struct Closed: Equatable, Sendable {
        var key: CollectiveKey
        var parts: [Part]
        var at: Instant
        /// When it was said last.
        var saidAt: Instant
        /// Replicas that it was closed without.
        var late: [WorkerID]
        var tokens: UInt64 { parts.reduce(0) { saturatingSum($0, $1.offer.tokens) } }
    }

    /// By seat.
    var seats: [Seat]
    /// Closed and not committed.
    var closed: Closed?
    var grace = GraceEstimator()
    /// When the open round is looked at again although nobody arrives.
    var due: Instant?
    var notice = WaitNotice()
    /// The plan established members follow: CLOSE names its ranks.
    var inForce: (plan: Plan, epoch: Epoch)?

    init(seats: Int) { self.seats = Array(repeating: Seat(), count: seats) }

    subscript(seat: WorkerID) -> Seat {
        get { seats[Int(seat.rawValue)] }
        set { seats[Int(seat.rawValue)] = newValue }
    }
}

// MARK: - Closing rounds

/// Under a schedule that closes sets: who contributes to a round, and when that is decided
/// (docs/decisions/0017-decoupled.md). P is 1: rounds are those of fragment 0.
extension Coordinator {
    private var rules: ClosingRules {
        configuration.schedule.closing
            ?? ClosingRules(
                quorum: 1, graceFactor: 3_000, graceMost: .seconds(2), lateWeight: 500)
    }

    /// Where a boundary plan may come into force: after a round whose CLOSE members will see after it.
    var nextBoundary: UInt32 {
        schedule.closesSets
            ? newestTurn + (closing.closed == nil ? 1 : 2) : newestTurn + 1 + order.count
    }

    /// Established members by replica, in seat order.
    private var replicas: [[WorkerID]] {
        var found: [[WorkerID]] = []
        var last: RegionID?
        for member in members where member.isEstablished {
            if configuration.schedule.inner == .everyStep, last == member.region {
                found[found.count - 1].append(member.seat)
            } else {
                found.append([member.seat])
            }
            last = member.region
        }
        return found
    }

    private func replica(of seat: WorkerID) -> [WorkerID] {
        guard configuration.schedule.inner == .everyStep, let region = members[seat]?.region else {
            return [seat]
        }
        return members.seats { $0.isEstablished && $0.region == region }
    }

    private func replicaName(_ replica: [WorkerID]) -> String {
        guard let first = replica.first, let member = members[first] else { return "nobody" }
        return configuration.schedule.inner == .everyStep
            ? topology.regions[member.region.index].name : member.name
    }

    private func hasArrived(_ replica: [WorkerID]) -> Bool {
        replica.allSatisfy { closing[$0].offer != nil && closing[$0].isSaid }
    }

    /// When the last of its members offered.
    private func arrival(_ replica: [WorkerID]) -> Instant {
        replica.map { closing[$0].at }.max() ?? .zero
    }

    /// All that it has trained is in committed rounds.
    private func isFinished(_ replica: [WorkerID]) -> Bool {
        replica.allSatisfy {
            closing[$0].merged >= UInt64(paces[Int($0.rawValue)].lastStep)
                && closing[$0].offer == nil
        }
    }

    var isAllMerged: Bool { replicas.allSatisfy(isFinished) }

    // MARK: Offers

    mutating func take(_ offer: Offer, from connection: ConnectionID, _ now: Instant) {
        guard schedule.closesSets, let member = members[connection], member.isEstablished,
            offer.fragment == FragmentID(0),
            closing[member.seat].offer != offer || !closing[member.seat].isSaid
        else { return }
        let replica = replica(of: member.seat)
        let wasThere = hasArrived(replica)
        let isKnown = closing[member.seat].offer == offer
        closing[member.seat].offer = offer
        closing[member.seat].isSaid = true
        if !isKnown { closing[member.seat].at = now }
        guard !wasThere, hasArrived(replica) else { return }
        if replica.contains(where: { closing[$0].offer != offer }) {
            effects.append(
                .event(
                    .violation(
                        culprit: replicaName(replica),
                        what: "its members offer different work after step \(offer.step)")))
        }
        if !isKnown { noteLag(replica, now) }
        considerClosing(now)
    }

    /// How far behind the first of its round a replica has come; the first itself teaches nothing.
    private mutating func noteLag(_ replica: [WorkerID], _ now: Instant) {
        let missedSince = replica.first.flatMap { closing[$0].missedSince }
        let first = missedSince ?? firstArrival(replicas.filter { $0 != replica })
        if let first, first <= now { closing.grace.note(now - first) }
    }

    /// From when on a replica that is there has a round closed. Who is late waits for the next one of the
    /// others, which it would otherwise make late; but not for ever.
    private func clockStart(_ replica: [WorkerID]) -> Instant {
        let isLate = replica.contains { closing[$0].missed > 0 }
        return arrival(replica)
            + (isLate ? rules.graceMost * CoordinationLimits.latePatience : .zero)
    }

    /// The earliest of those that wait for a round to be closed.
    private func firstArrival(_ replicas: [[WorkerID]]) -> Instant? {
        replicas.filter { replica in
            hasArrived(replica)
                && !(closing.closed?.parts.contains {
                    $0.seats.contains(replica[0]) && $0.offer == closing[replica[0]].offer
                } ?? false)
        }.map(clockStart).min()
    }

    // MARK: Closing

    /// Established members are under way: in the plan in force, or up to the boundary of the next one.
    private func isUnderWay(_ round: UInt32) -> Bool {
        switch stage {
        case .running: true
        case .reconfiguring: (plan?.activateAtRound ?? 0) >= round
        case .gathering, .stopping, .ended: false
        }
    }

    mutating func considerClosing(_ now: Instant) {
        closing.due = nil
        let round = committed[0] + 1
        guard schedule.closesSets, closing.closed == nil, isUnderWay(round) else { return }
        let able = replicas.filter { hasArrived($0) || !isFinished($0) }
        let arrived = able.filter(hasArrived)
        let distance = topology.links.map(\.oneWayDelay).max() ?? .zero
        let grace = closing.grace.grace(rules, distance: distance * 2)
        let first = arrived.map(clockStart).min()
        let decision = ClosingDecision.decide(
            at: now, first: first, arrived: arrived.count, able: able.count, grace: grace,
            rules: rules)
        switch decision {
        case .wait(let until): closing.due = until
        case .close(let reason):
            close(round, arrived, min(first ?? now, now), able, reason, grace, now)
        }
    }

    private mutating func close(
        _ round: UInt32, _ arrived: [[WorkerID]], _ first: Instant, _ able: [[WorkerID]],
        _ reason: ClosingDecision.Reason, _ grace: Grace, _ now: Instant
    ) {
        let parts = arrived.compactMap { replica -> ClosingState.Part? in
            guard let lead = replica.first, let offer = closing[lead].offer else { return nil }
            let base = ContributionWeight.base(tokens: offer.tokens, steps: offer.steps)
            return ClosingState.Part(
                seats: replica, offer: offer,
                weight: ContributionWeight.discounted(
                    base, missed: closing[lead].missed, late: rules.lateWeight))
        }
        let key = CollectiveKey.outer(fragment: FragmentID(0), round: round)
        let late = able.filter { !hasArrived($0) }
        sayWhy(key, parts, late, now - first, able.count, reason, grace)
        for seat in late.joined() {
            closing[seat].missed += 1
            closing[seat].missedSince = closing[seat].missedSince ?? first
        }
        closing.closed = ClosingState.Closed(
            key: key, parts: parts, at: now, saidAt: now, late: Array(late.joined()))
        sayClose(to: members.seats(where: \.isEstablished), now)
    }

    private mutating func sayWhy(
        _ key: CollectiveKey, _ parts: [ClosingState.Part], _ late: [[WorkerID]],
        _ after: Interval, _ able: Int, _ reason: ClosingDecision.Reason, _ grace: Grace
    ) {
        let account = ClosingAccount(
            round: key.round, arrived: parts.count, able: able, after: after, reason: reason,
            grace: grace,
            missing: late.map { (replicaName($0), closing[$0[0]].missed + 1) }, rules: rules)
        effects.append(
            .event(
                .roundClosed(
                    RunEvent.RoundClosed(
                        key: key, after: after,
                        taken: parts.map { part in
                            RunEvent.RoundClosed.Part(
                                replica: replicaName(part.seats), weight: part.weight,
                                tokens: part.offer.tokens, steps: part.offer.steps,
                                missed: closing[part.seats[0]].missed)
                        }, late: late.map(replicaName), because: account.text))))
    }

    private mutating func sayClose(to seats: [WorkerID], _ now: Instant) {
        guard let closed = closing.closed, let (plan, epoch) = closing.inForce else { return }
        let contributions = closed.parts.compactMap { part in
            plan.members.first { part.seats.contains($0.workerID) }.map {
                Close.Contribution(rank: $0.rank, weight: part.weight)
            }
        }
        closing.closed?.saidAt = now
        for seat in seats {
            guard let member = members[seat] else { continue }
            effects.append(
                .send(
                    to: member.connection,
                    .close(Close(key: closed.key, contributions: contributions)), epoch: epoch))
        }
    }

    // MARK: Committed

    /// Tokens behind a committed round, where the weights of reports are not tokens.
    func closedTokens(_ key: CollectiveKey) -> UInt64? {
        closing.closed?.key == key ? closing.closed?.tokens : nil
    }

    mutating func noteMerged(_ key: CollectiveKey) {
        guard let closed = closing.closed, closed.key == key else { return }
        for part in closed.parts {
            for seat in part.seats where members[seat]?.isEstablished == true {
                // It may have applied the mean, reported and offered again before the last one reported.
                let next = closing[seat].offer == part.offer ? nil : closing[seat].offer
                closing[seat] = ClosingState.Seat(
                    offer: next, isSaid: next != nil && closing[seat].isSaid,
                    at: closing[seat].at, merged: part.offer.step)
            }
        }
        closing.closed = nil
    }

    // MARK: Reconfiguration

    mutating func forgetOffers(of seat: WorkerID) { closing[seat] = ClosingState.Seat() }

    /// All count anew; nothing that was closed is under way.
    mutating func forgetAllOffers() {
        for seat in seats { forgetOffers(of: seat.id) }
    }

    /// Nothing is left to be merged: those who had something are gone.
    var isOverWithoutCommit: Bool {
        schedule.closesSets && closing.closed == nil && isAllMerged
    }

    /// Before GO: says again what is closed, without those who are gone; at a boundary all count anew.
    mutating func restateClosed(
        _ verdicts: inout [Verdict], isStart: Bool, _ now: Instant
    ) {
        guard schedule.closesSets, let plan else { return }
        closing.inForce = (plan, epoch)
        if isStart || plan.activateAtRound > 0 {
            forgetAllOffers()
        }
        for index in closing.seats.indices { closing.seats[index].isSaid = false }
        guard let closed = closing.closed else { return }
        let holder = members.first { member in
            member.holdings.contains { $0.key == closed.key && $0.state != .inFlight }
        }
        let present = closed.parts.compactMap { part -> ClosingState.Part? in
            let left = part.seats.filter { members[$0] != nil }
            guard !left.isEmpty else { return nil }
            return ClosingState.Part(seats: left, offer: part.offer, weight: part.weight)
        }
        if holder == nil { closing.closed?.parts = present }
        verdicts.removeAll { $0.key == closed.key }
        verdicts.append(
            Verdict(
                key: closed.key, verdict: holder == nil ? .restart : .complete,
                holder: holder?.rank ?? .none))
        guard holder != nil || !present.isEmpty else { return openAgain(closed) }
        sayClose(to: members.seats { _ in true }, now)
    }

    /// All who were in it are gone: nobody has missed it.
    private mutating func openAgain(_ closed: ClosingState.Closed) {
        closing.closed = nil
        for seat in closed.late where closing[seat].missed > 0 {
            closing[seat].missed -= 1
            if closing[seat].missed == 0 { closing[seat].missedSince = nil }
        }
    }

    // MARK: Time

    mutating func watchClosing(_ now: Instant) {
        guard schedule.closesSets else { return }
        if let closed = closing.closed, isUnderWay(closed.key.round),
            now - closed.saidAt >= CoordinationLimits.reportRetry
        {
            sayClose(to: withoutReport(of: closed.key), now)
        }
        let told = closing.notice.note(
            closingWait, by: "coordinator", patience: configuration.deadlines.patience, now)
        effects += told.map(Effect.event)
    }

    private func withoutReport(of key: CollectiveKey) -> [WorkerID] {
        members.seats { $0.isEstablished && reports[key]?[$0.seat] == nil }
    }

    /// For the reports of the closed round, or for replicas to arrive at the open one.
    private var closingWait: WaitNotice.Wait? {
        if let closed = closing.closed {
            guard isUnderWay(closed.key.round) else { return nil }
            return wait(
                "the reports of round \(closed.key.round)",
                withoutReport(of: closed.key).compactMap { members[$0]?.name }, since: closed.at)
        }
        guard isUnderWay(committed[0] + 1), let first = firstArrival(replicas) else { return nil }
        let able = replicas.filter { hasArrived($0) || !isFinished($0) }
        let missing = able.filter { !hasArrived($0) }
        return wait(
            "a quorum for round \(committed[0] + 1): \(able.count - missing.count) of "
                + "\(min(rules.quorum, able.count)) replicas are there",
            missing.map(replicaName), since: first)
    }

    private func wait(
        _ activity: String, _ names: [String], since: Instant
    ) -> WaitNotice.Wait {
        WaitNotice.Wait(
            activity: activity, names: names, since: since, until: nil,
            then: "go on waiting while they are alive; all train on meanwhile")
    }
}
