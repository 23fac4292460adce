import ClusterModel
import Coordination

// MARK: - Inner steps and rounds of the stand-ins

extension RoundSimulator {
    /// GO has reached a worker; its unit starts with the last one.
    func begin(_ seat: Int) {
        let unit = standIns[seat].unit
        standIns[seat].clock = now
        units[unit].awaitsGo -= 1
        if units[unit].awaitsGo == 0 { beginStep(unit) }
    }

    // MARK: Steps

    private func beginStep(_ unit: Int) {
        let next = units[unit].step + 1
        for seat in units[unit].seats {
            let time = cost.step(
                nominal: standIns[seat].nominalStep, factor: 1, &standIns[seat].generator)
            standIns[seat].book(\.compute, time)
            standIns[seat].clock += time
            standIns[seat].untoldTokens += standIns[seat].tokens
            if !isByRegion {
                queue.schedule(
                    .computed(seat: seat, step: next), at: max(now, standIns[seat].clock))
            }
        }
        if !schedule.sharesGradients, leaves(unit, after: next), units[unit].awaitsCommit > 0 {
            units[unit].block = .step
        } else {
            finishStep(unit)
        }
    }

    private func leaves(_ unit: Int, after step: UInt32) -> Bool {
        schedule.leaves(
            SchedulePosition(
                step: step, left: units[unit].leftAt, turn: units[unit].appliedRound + 1,
                pace: ReplicaPace(
                    syncEvery: max(1, configuration.schedule.syncEvery), overlap: 0,
                    lastStep: configuration.steps, fragments: 1)))
    }

    /// The gradients are there, or will be: shares them in the region and steps.
    private func finishStep(_ unit: Int) {
        let seats = units[unit].seats
        var steps = !schedule.sharesGradients
        if configuration.schedule.inner == .everyStep,
            regionExchanges[units[unit].region.index] != nil
        {
            let ready = seats.map { standIns[$0].clock }
            let last = ready.max() ?? now
            guard
                let shared = regionExchanges[units[unit].region.index]?.run(ready: ready)
            else { return }
            guard !schedule.sharesGradients else {
                // What the region reduces leaves as it is made.
                units[unit].reducing = (last, shared.duration)
                for seat in seats {
                    standIns[seat].book(\.encode, shared.encoding)
                    standIns[seat].clock += shared.encoding
                }
                return schedulePool(unit)
            }
            let complete = last + shared.duration
            for seat in seats {
                standIns[seat].book(\.encode, shared.encoding)
                let idle = complete - standIns[seat].clock - shared.encoding
                let wait = min(idle, last - standIns[seat].clock)
                standIns[seat].book(\.wait, wait)
                standIns[seat].book(\.transfer, idle - max(0, wait))
                standIns[seat].clock = complete
            }
            steps = true
        }
        if steps {
            for seat in seats {
                standIns[seat].book(\.apply, absorption)
                standIns[seat].clock += absorption
            }
        }
        schedulePool(unit)
    }

    private func schedulePool(_ unit: Int) {
        let end = units[unit].seats.map { standIns[$0].clock }.max() ?? now
        queue.schedule(.stepped(unit: unit), at: max(now, end))
    }

    /// Decoding a mean of the whole model and stepping on it.
    private var absorption: Int64 { cost.time(4 * Int(parameters), at: cost.absorbRate) }

    func tellStep(_ seat: Int, _ step: UInt32) {
        let tokens = standIns[seat].untoldTokens
        standIns[seat].untoldTokens = 0
        record(
            .stepped(worker: WorkerID(seat), step: step, loss: 0, tokens: tokens),
            from: standIns[seat].name)
    }

    func stepped(_ unit: Int) {
        if !schedule.sharesGradients {
            units[unit].step += 1
            let step = units[unit].step
            guard leaves(unit, after: step) else { return beginStep(unit) }
        }
        readyUnits += 1
        if readyUnits == units.count { exchangeWithPool() }
    }

    // MARK: Rounds

    private func exchangeWithPool() {
        guard let exchange else { return }
        readyUnits = 0
        var ready = standIns.map { units[$0.unit].reducing?.from ?? $0.clock }
        var reducing = exchange.shape.regions.map {
            units[standIns[$0.seats[0]].unit].reducing?.duration
        }
        if configuration.schedule.inner == .none, exchange.shape.forwards {
            for (place, region) in exchange.shape.regions.enumerated() {
                reducing[place] = reduceParts(region.seats, region.id, &ready)
            }
        }
        outcomes = exchange.run(ready: ready, reducing: reducing, over: &fabric)
        for place in exchange.shape.regions.indices {
            let region = exchange.shape.regions[place]
            var unit = -1
            for (member, seat) in region.seats.enumerated() {
                standIns[seat].arrival = outcomes[place].arrivals[member]
                guard standIns[seat].unit != unit else { continue }
                unit = standIns[seat].unit
                let isAlone = units[unit].seats.count == 1
                let at = isAlone ? standIns[seat].arrival : outcomes[place].complete
                queue.schedule(.exchanged(unit: unit, outcome: place), at: max(now, at))
            }
        }
    }

    /// What replicas of one region contribute leaves as the last one's part of it comes in. How long that
    /// takes from then on; nil: one alone has nothing to reduce.
    private func reduceParts(
        _ seats: [Int], _ region: RegionID, _ ready: inout [Int64]
    ) -> Int64? {
        guard let shared = regionExchanges[region.index]?.run(ready: seats.map { ready[$0] })
        else { return nil }
        let last = seats.map { ready[$0] }.max() ?? now
        for seat in seats {
            standIns[seat].book(\.encode, shared.encoding)
            standIns[seat].clock += shared.encoding
            ready[seat] = last
        }
        return shared.duration
    }

    /// The mean is applied when the commit of the round before it is known.
    func exchanged(_ unit: Int, _ place: Int) {
        if units[unit].awaitsCommit > 0 {
            units[unit].block = .mean(outcome: place)
        } else {
            apply(unit, place, notBefore: .min)
        }
    }

    private func apply(_ unit: Int, _ place: Int, notBefore: Int64) {
        let outcome = outcomes[place]
        let round = units[unit].appliedRound + 1
        if schedule.sharesGradients { units[unit].step += 1 }
        let step = units[unit].step
        let tokens = tokensPerStep * UInt64(step - units[unit].leftAt)
        units[unit].appliedRound = round
        units[unit].leftAt = step
        units[unit].awaitsCommit = units[unit].seats.count
        let leader = units[unit].seats.first
        for seat in units[unit].seats {
            let start = max(standIns[seat].arrival, notBefore)
            let encoded = standIns[seat].clock + outcome.encoding
            let arrival = min(max(encoded, outcome.firstArrival), start)
            standIns[seat].book(\.encode, outcome.encoding)
            standIns[seat].book(\.wait, arrival - encoded)
            standIns[seat].book(\.transfer, start - max(encoded, arrival))
            standIns[seat].book(\.apply, absorption)
            standIns[seat].clock = start + absorption
            say(
                .report(round: round, tokens: tokens), from: seat, at: standIns[seat].clock)
            if isByRegion { tellStep(seat, step) }
            let isLeader = configuration.schedule.inner == .none || seat == leader
            afterRound(seat, round: round, step: step, isLeader: isLeader)
        }
        if step < configuration.steps { beginStep(unit) }
    }

    /// Evaluation by the first member of a replica, and the regular checkpoint.
    private func afterRound(_ seat: Int, round: UInt32, step: UInt32, isLeader: Bool) {
        let evaluation = configuration.training.evaluateEvery
        let isDue = evaluation > 0 && step / evaluation > standIns[seat].lastEvaluated / evaluation
        if isLeader, isDue || step == configuration.steps {
            standIns[seat].lastEvaluated = step
            let nominal = standIns[seat].nominalStep
            let whole = nominal == .zero ? cost.defaultStep : nominal
            let time = Int64(Double(whole.nanoseconds) * cost.evaluationShare)
            standIns[seat].book(\.apply, time)
            standIns[seat].clock += time
        }
        let every = configuration.training.checkpointEvery
        if every > 0, round % every == 0, step < configuration.steps {
            let time = cost.time(20 * Int(parameters), at: cost.stateRate)
            standIns[seat].book(\.recover, time)
            standIns[seat].clock += time
        }
    }

    func learnCommit(_ seat: Int, _ round: UInt32) {
        let unit = standIns[seat].unit
        guard round == units[unit].appliedRound, units[unit].awaitsCommit > 0 else { return }
        units[unit].awaitsCommit -= 1
        guard units[unit].awaitsCommit == 0 else { return }
        switch units[unit].block {
        case .step:
            units[unit].block = nil
            for member in units[unit].seats where standIns[member].clock < now {
                standIns[member].book(\.wait, now - standIns[member].clock)
                standIns[member].clock = now
            }
            finishStep(unit)
        case .mean(let place):
            units[unit].block = nil
            apply(unit, place, notBefore: now)
        case nil: break
        }
    }
}
