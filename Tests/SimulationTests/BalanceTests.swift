import ClusterModel
import Simulation
import Testing

/// Unlike splits of the same samples, and plans that change them in mid-run.
@Suite struct BalanceTests {
    private func scenario(_ microBatches: [Int], steps: UInt32 = 48) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2, 2], microBatches: microBatches)
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: steps, inner: .everyStep, outer: .diloco, syncEvery: 4)
        return scenario
    }

    /// Mean training loss of each step over all workers, by tokens.
    private func losses(_ result: SimulationResult) -> [UInt32: Double] {
        var sums: [UInt32: (loss: Double, tokens: Double)] = [:]
        for stamped in result.events {
            guard case .stepped(_, let step, let loss, let tokens, _) = stamped.event
            else { continue }
            let sum = sums[step] ?? (0, 0)
            sums[step] = (sum.loss + loss * Double(tokens), sum.tokens + Double(tokens))
        }
        return sums.mapValues { $0.loss / $0.tokens }
    }

    private func expectEqual(_ a: SimulationResult, _ b: SimulationResult) {
        let (left, right) = (losses(a), losses(b))
        #expect(left.count == 48 && right.count == 48)
        for step in 1...48 as ClosedRange<UInt32> {
            let (one, other) = (left[step] ?? 0, right[step] ?? 1)
            #expect(abs(one - other) <= 2e-5 * abs(other), "step \(step): \(one) and \(other)")
        }
    }

    private struct NewPlan {
        var time: Instant
        var reason: String
    }

    private func plans(_ result: SimulationResult) -> [NewPlan] {
        var found: [NewPlan] = []
        for stamped in result.events {
            if case .epochStarted(_, _, let reason) = stamped.event {
                found.append(NewPlan(time: stamped.time, reason: reason))
            }
        }
        return found
    }

    private func balances(_ result: SimulationResult) -> [NewPlan] {
        plans(result).filter { $0.reason.hasPrefix("balance:") }
    }

    /// When rounds were committed.
    private func commits(_ result: SimulationResult) -> [Instant] {
        var times: [Instant] = []
        for stamped in result.events {
            if case .roundCommitted = stamped.event { times.append(stamped.time) }
        }
        return times
    }

    @Test func unlikeWorkersLearnWhatEqualOnesLearn() {
        let equal = scenario([2, 2]).simulator().run()
        let unlike = scenario([1, 3]).simulator().run()
        #expect(equal.findings == [] && unlike.findings == [])
        expectEqual(unlike, equal)
    }

    /// One worker is slow from the sixth round on: the pool re-balances within two rounds of the first
    /// that shows it, and learns what it would have learnt.
    @Test func aSlowWorkerIsRelieved() {
        let undisturbed = scenario([4]).simulator().run()
        var slowed = scenario([4])
        slowed.configuration.schedule.adapts = true
        let onset = commits(undisturbed)[2]
        slowed.options.faults.append(
            TimedFault(at: onset, fault: .slowWorker(worker: 1, factor: 3, .seconds(300))))
        let result = slowed.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(result.committedRounds == 12)
        let found = balances(result)
        #expect(found.count == 1)
        #expect(found.first?.reason.contains("r0: 4 + 4 -> 6 + 2 sequences") == true)
        let known = found.first?.time ?? .zero
        let rounds = commits(result).filter { $0 > onset && $0 <= known }
        // Round 4 may have begun before it was slow; round 5 shows it. In force after round 7.
        #expect(rounds.count <= 2, "\(rounds.count) rounds")
        expectEqual(result, undisturbed)
    }

    /// A worker is stopped for longer than the silence that evicts, and comes back as a new life.
    @Test func aStoppedWorkerIsReplacedAndComesBack() {
        var scenario = scenario([4], steps: 400)
        scenario.configuration.schedule.adapts = true
        scenario.options.occurrenceLimit = 2_000_000
        scenario.fault(3, .pause(worker: 1, .seconds(20)))
        scenario.fault(40, .restart(worker: 1, resume: false))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        let reasons = plans(result).map(\.reason)
        #expect(reasons.contains { $0.hasPrefix("balance: r0: 4 -> 8 sequences") })
        #expect(reasons.contains { $0.contains("joined") })
        // Back at two alike: nothing to gain, so no further plan.
        #expect(balances(result).count == 1, "\(reasons)")
    }
}
