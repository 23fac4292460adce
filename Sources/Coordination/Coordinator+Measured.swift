import ClusterModel
import WireProtocol

// MARK: - Plans that follow what was measured

extension Coordinator {
    /// Micro-batches follow measured rates: where workers of a region step together.
    var adaptsInside: Bool {
        configuration.schedule.adapts && configuration.schedule.inner == .everyStep
    }

    /// H_r follows measured rates.
    private var adaptsSteps: Bool {
        configuration.schedule.adapts && configuration.schedule.localSteps == .measured
    }

    /// After a commit: a new plan from the next boundary on, if it makes steps shorter by enough, lets a
    /// transfer fit or wastes less time in waiting, and if enough of the run is left for it. One plan for
    /// all, because each costs every member a pause of a round trip or two.
    ///
    /// - Parameter step: the furthest that the round's reports say. What members say later depends on time,
    ///   and periods of experts repeat with the seed.
    mutating func considerMeasured(_ now: Instant, reported step: UInt64) {
        guard isEarly(step) else { return }
        let adapts = configuration.schedule.adapts && isEarly(members.map(\.lastStep).max() ?? 0)
        guard adapts || experts.isChoosing || crossing.isChoosing else { return }
        let codecs = adapts ? links.changes(traffic, step: slowestStep) : nil
        guard case .running = stage, joiners.isEmpty else { return }
        let turn = nextBoundary
        var reasons: [String] = []
        let present = members.seats { _ in true }
        if adapts, adaptsInside,
            let reason = balance.improvement(of: present, topology: topology)
        {
            reasons.append("balance: \(reason)")
        }
        if let codecs {
            links.adopt(codecs.changes)
            reasons.append("codec: \(codecs.reason)")
        }
        if adapts, adaptsSteps, let steps = betterSteps() {
            nextPaces = repaced(steps.steps, from: turn)
            reasons.append("local steps: \(steps.reason)")
        }
        // Loads repeat with the seed, so `adapt: never` has nothing against it.
        if let reason = experts.change() { reasons.append("experts: \(reason)") }
        if let reason = crossing.change(crossingConditions(turn: turn)) {
            reasons.append("experts of one region: \(reason)")
        }
        guard !reasons.isEmpty else { return }
        replan(reason: reasons.joined(separator: "; "), activateAtRound: turn, now)
    }

    /// Whether enough of the run is left, from `step` on, for a plan that comes into force two rounds later.
    private func isEarly(_ step: UInt64) -> Bool {
        // A peer says how far it is, and may say anything.
        let boundary = step.addingReportingOverflow(2 * UInt64(configuration.schedule.syncEvery))
        return !boundary.overflow && boundary.partialValue < UInt64(configuration.steps)
    }

    /// A plan has started.
    mutating func adopt(_ plan: Plan) {
        planInForce = plan
        spoken.forgetOlder()
        balance.adopt(plan)
        codecsInForce = plan.codecs
        links.adopt(codecsInForce)
        experts.adopt(plan)
        adoptCrossing(plan)
        // One that holds at once has taken the place of a boundary plan whose boundary never came.
        if plan.activateAtRound > 0 { paces = nextPaces } else { nextPaces = paces }
    }

    // MARK: What is known

    /// What crosses between the regions of those who are there.
    var traffic: PoolTraffic {
        var counts = [Int](repeating: 0, count: topology.regions.count)
        for member in members { counts[member.region.index] += 1 }
        return PoolTraffic(
            topology, members: counts, crossesOnce: configuration.schedule.crossesOnce,
            values: Double(parameterCount))
    }

    /// Seconds of a member's inner step with so many samples: measured, else as the cluster file has it;
    /// 0: not known.
    private func stepSeconds(_ seat: WorkerID, _ batch: UInt32) -> Double {
        guard let rate = balance.rate(seat), rate > 0 else {
            return seats[Int(seat.rawValue)].worker.nominalStep.seconds
        }
        return Double(batch) / rate
    }

    var slowestStep: Double {
        members.map { stepSeconds($0.seat, balance.inForce[Int($0.seat.rawValue)].batch) }.max()
            ?? 0
    }

    // MARK: H_r

    /// Replicas of the present members: seats, and the seconds of a step of the slowest. Nil while a
    /// step's length is not known.
    private var replicas: [(name: String, seats: [WorkerID], step: Double, samples: Double)]? {
        let isOne = configuration.schedule.inner == .everyStep
        var found: [(name: String, region: RegionID, seats: [WorkerID])] = []
        for member in members {
            if isOne, let place = found.firstIndex(where: { $0.region == member.region }) {
                found[place].seats.append(member.seat)
            } else {
                found.append(
                    (
                        isOne ? topology.regions[member.region.index].name : member.name,
                        member.region, [member.seat]
                    ))
            }
        }
        // As the next boundary plan divides the samples.
        let shares = balance.shares(of: members.seats { _ in true }, adapts: adaptsInside)
        let replicas = found.map { replica in
            let batches = replica.seats.map { shares[Int($0.rawValue)].batch }
            return (
                name: replica.name, seats: replica.seats,
                step: zip(replica.seats, batches).map(stepSeconds).max() ?? 0,
                samples: batches.reduce(0.0) { $0 + Double($1) }
            )
        }
        return replicas.allSatisfy { $0.step > 0 } ? replicas : nil
    }

    /// Steps by seat that let all replicas arrive together, if the pool then trains on more samples a
    /// second by enough.
    private func betterSteps() -> (steps: [WorkerID: UInt32], reason: String)? {
        guard let replicas, replicas.count > 1 else { return nil }
        let now = replicas.map { paces[Int($0.seats[0].rawValue)].syncEvery }
        // Fragments leave one a step, and each before it is due again.
        let schedule = configuration.schedule
        let least = min(
            schedule.syncEvery, max(UInt32(schedule.fragments), schedule.overlap + 1))
        let next = LocalSteps.steps(
            rates: replicas.map { 1 / $0.step }, syncEvery: schedule.syncEvery
        ).map { max(least, $0) }
        func samplesPerSecond(_ steps: [UInt32]) -> Double {
            let round = zip(steps, replicas).map { Double($0) * $1.step }.max() ?? 1
            return zip(steps, replicas).reduce(0) { $0 + Double($1.0) * $1.1.samples } / round
        }
        let (before, after) = (samplesPerSecond(now), samplesPerSecond(next))
        guard next != now, after > before * (1 + CoordinationLimits.balanceGain) else { return nil }
        var steps: [WorkerID: UInt32] = [:]
        for (replica, count) in zip(replicas, next) {
            for seat in replica.seats { steps[seat] = count }
        }
        let changed = zip(replicas, zip(now, next)).filter { $1.0 != $1.1 }.map { replica, steps in
            "\(replica.name): H \(steps.0) -> \(steps.1) of \(configuration.schedule.syncEvery), "
                + "measured \(Figures.duration(replica.step)) a step"
        }
        return (
            steps,
            changed.joined(separator: "; ") + "; the pool \(Figures.significant(before)) -> "
                + "\(Figures.significant(after)) sequences a second"
        )
    }

    /// Paces with these steps from `turn` on: a replica leaves with that turn where it would have, and has
    /// as many rounds before it as before.
    private func repaced(_ steps: [WorkerID: UInt32], from turn: UInt32) -> [ReplicaPace] {
        var next = paces
        let fragments = UInt64(max(1, configuration.schedule.fragments))
        let rounds = UInt64(configuration.steps / max(1, configuration.schedule.syncEvery))
        let left = rounds * fragments - min(UInt64(turn), rounds * fragments)
        func rest(_ every: UInt32) -> UInt64 {
            (left * UInt64(every) + fragments - 1) / fragments
        }
        for index in next.indices {
            let seat = WorkerID(index)
            // Who is away comes back to the rest of its region.
            let isOne = configuration.schedule.inner == .everyStep
            let companion = members.first { isOne && $0.region == seats[index].region }?.seat
            guard let every = steps[seat] ?? companion.flatMap({ steps[$0] }) else { continue }
            let old = next[index]
            let end = UInt64(old.lastStep) - min(UInt64(old.lastStep), rest(old.syncEvery))
            next[index].lastStep = UInt32(clamping: end + rest(every))
            next[index].syncEvery = every
            next[index].overlap =
                configuration.schedule.choosesOverlap == true
                ? OverlapChoice.scaled(old.overlap, from: old.syncEvery, to: every)
                : min(configuration.schedule.overlap, every - 1)
        }
        return next
    }
}
