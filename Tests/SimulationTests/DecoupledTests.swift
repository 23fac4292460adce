import ClusterModel
import Simulation
import Testing

/// Rounds that the coordinator closes, through all machines: nobody waits, nothing is lost.
@Suite struct DecoupledTests {
    private func scenario(
        workers: [Int] = [2, 2], inner: RunConfiguration.Schedule.Inner = .everyStep,
        every: UInt32 = 4, steps: UInt32 = 24, quorum: Int = 1, slow: [Int: Int64] = [:]
    ) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: workers)
        for (region, factor) in slow {
            for worker in scenario.topology.regions[region].workers.indices {
                scenario.topology.regions[region].workers[worker].nominalStep =
                    .milliseconds(100 * factor)
            }
        }
        scenario.configuration = SampleCluster.configuration(
            seed: 1, steps: steps, inner: inner, outer: .decoupled, syncEvery: every)
        scenario.configuration.schedule.closing?.quorum = quorum
        scenario.configuration.training.evaluateEvery = 0
        scenario.configuration.training.checkpointEvery = 0
        return scenario
    }

    private func closed(_ result: SimulationResult) -> [RunEvent.RoundClosed] {
        result.events.compactMap { stamped in
            if case .roundClosed(let closed) = stamped.event { closed } else { nil }
        }
    }

    private func steps(_ result: SimulationResult, _ worker: Int) -> [(time: Double, step: UInt32)]
    {
        result.events.compactMap { stamped in
            if case .stepped(WorkerID(worker), let step, _, _, _) = stamped.event {
                return ((stamped.time - .zero).seconds, step)
            }
            return nil
        }
    }

    /// Share of the trainer's time before its last step in which it had nothing to do.
    private func idle(_ result: SimulationResult, _ worker: Int) -> Double {
        let taken = steps(result, worker)
        guard let first = taken.first, let last = taken.last else { return 1 }
        let step = taken.dropFirst().indices.map { taken[$0].time - taken[$0 - 1].time }.min() ?? 0
        return 1 - step * Double(taken.count - 1) / (last.time - first.time)
    }

    /// For a failure's reader.
    private func story(_ result: SimulationResult) -> String {
        closed(result).map(\.because).joined(separator: "\n")
    }

    private func expectGood(_ result: SimulationResult, _ comment: String = "") {
        #expect(result.findings == [], "\(comment) \(result.findings)")
        #expect(result.code == .ok, "\(comment) \(result.reason)")
        // Rounds are closed once each, in order, and all are committed.
        let rounds = closed(result).map(\.key.round)
        #expect(rounds.sorted() == rounds && Set(rounds).count == rounds.count, "\(comment)")
    }

    @Test(arguments: RunConfiguration.Schedule.Inner.allCases, [1, 2])
    func equalReplicasAreAllInEveryRound(inner: RunConfiguration.Schedule.Inner, quorum: Int) {
        let result = scenario(inner: inner, quorum: quorum).simulator().run()
        expectGood(result)
        #expect(result.committedRounds == 6)
        #expect(closed(result).allSatisfy { $0.late.isEmpty }, "\(story(result))")
        let tokens = closed(result).flatMap(\.taken).reduce(0) { $0 + $1.tokens }
        // 4 workers, 2 samples of 32 tokens a step: each counted once.
        #expect(tokens == 24 * 4 * 2 * 32)
    }

    @Test func aSlowRegionHoldsNobodyUp() throws {
        var scenario = scenario(workers: [2, 1], steps: 48, quorum: 1, slow: [1: 3])
        scenario.configuration.schedule.closing?.graceMost = .milliseconds(100)
        let result = scenario.simulator().run()
        expectGood(result)
        #expect(idle(result, 0) < 0.02 && idle(result, 2) < 0.02)
        let all = closed(result)
        // The first round waits as long as allowed; then it is known that waiting gains nothing.
        #expect(all.count { $0.late == ["r1"] } >= 6, "\(story(result))")
        let late = all.flatMap(\.taken).filter { $0.missed > 0 }
        #expect(!late.isEmpty && late.allSatisfy { $0.replica == "r1" })
        // Its work counts for less, and all of it counts.
        for part in late {
            let whole = part.tokens * part.tokens / part.steps
            #expect(part.weight == whole >> UInt64(part.missed))
        }
        let tokens = all.flatMap(\.taken).reduce(0) { $0 + $1.tokens }
        #expect(tokens == 48 * 3 * 2 * 32)
        let text = try #require(all.first { !$0.late.isEmpty }?.because)
        #expect(text.contains("missing: r1, merged next round at weight x 0.500"))
    }

    @Test func withDiLoCoTheSameRegionHoldsTheOtherUp() {
        var scenario = scenario(workers: [2, 1], steps: 48, slow: [1: 3])
        scenario.configuration.schedule.outer = .diloco
        scenario.configuration.schedule.closing = nil
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(idle(result, 0) > 0.6)
    }

    @Test(arguments: RunConfiguration.Schedule.Inner.allCases)
    func aDeathAtAnyMomentLosesNothingOfTheOthers(inner: RunConfiguration.Schedule.Inner) {
        for millisecond in stride(from: 300, to: 1_100, by: 40) {
            for victim in [1, 3] {
                var scenario = scenario(inner: inner, quorum: 1, slow: [1: 2])
                scenario.options.faults = [
                    TimedFault(
                        at: .zero + .milliseconds(Int64(millisecond)),
                        fault: .crash(worker: victim))
                ]
                expectGood(scenario.simulator().run(), "\(victim) at \(millisecond) ms:")
            }
        }
    }

    @Test(arguments: RunConfiguration.Schedule.Inner.allCases)
    func aLateJoinerTakesPart(inner: RunConfiguration.Schedule.Inner) {
        var scenario = scenario(inner: inner, steps: 48, slow: [1: 2])
        scenario.options.starts = [.zero, .zero, .zero, .seconds(2)]
        scenario.configuration.deadlines.gathering = .seconds(1)
        let result = scenario.simulator().run()
        expectGood(result)
        let joined = result.events.contains { stamped in
            if case .epochStarted(_, let members, _) = stamped.event { return members.count == 4 }
            return false
        }
        #expect(joined)
        #expect(steps(result, 3).last?.step == 48)
    }

    /// The checker looks at what it begins with.
    @Test(arguments: [RunConfiguration.Schedule.Outer.decoupled, .streaming, .diloco])
    func aReplicaOfItsOwnBeginsFromTheOuterCopy(outer: RunConfiguration.Schedule.Outer) {
        for inner in RunConfiguration.Schedule.Inner.allCases {
            var scenario = scenario(workers: [2, 1], inner: inner, steps: 48)
            scenario.configuration = SampleCluster.configuration(
                seed: 1, steps: 48, inner: inner, outer: outer, syncEvery: 4,
                fragments: outer == .streaming ? 3 : 1, overlap: outer == .streaming ? 1 : 0)
            // A region that was evicted as a whole and comes back, and one of two workers.
            scenario.fault(1, .restart(worker: 2, resume: false))
            scenario.fault(2.5, .restart(worker: 1, resume: false))
            let result = scenario.simulator().run()
            expectGood(result, "\(inner)")
            #expect(result.count { if case .stateTaken = $0 { true } else { false } } == 2)
        }
    }

    @Test func aRegionThatIsCutOffLosesNothingAndStopsNobody() {
        var scenario = scenario(steps: 400, quorum: 1)
        scenario.options.faults = [
            TimedFault(
                at: .zero + .seconds(8),
                fault: .partition(from: 0, to: 1, symmetric: true, .seconds(20)))
        ]
        let result = scenario.simulator().run()
        expectGood(result)
        #expect(result.count { if case .workerEvicted = $0 { true } else { false } } == 0)
        for worker in 0..<4 {
            let during = steps(result, worker).count { $0.time > 9 && $0.time < 28 }
            // 19 s of steps of 100 ms: all seen from outside keep training.
            #expect(worker >= 2 || during > 180, "worker \(worker): \(during)")
            #expect(idle(result, worker) < 0.03, "worker \(worker)")
        }
        let tokens = closed(result).flatMap(\.taken).reduce(0) { $0 + $1.tokens }
        #expect(tokens == 400 * 4 * 2 * 32)
    }

    @Test func aStoppedWorkerStopsNobody() {
        var scenario = scenario(workers: [1, 1, 1], inner: .none, steps: 300, quorum: 2)
        scenario.options.faults = [
            TimedFault(at: .zero + .seconds(5), fault: .pause(worker: 2, .seconds(10)))
        ]
        let result = scenario.simulator().run()
        expectGood(result)
        #expect(idle(result, 0) < 0.03 && idle(result, 1) < 0.03)
        #expect(result.count { if case .workerEvicted = $0 { true } else { false } } == 0)
    }

    @Test func anOutageOfTheCoordinatorDelaysRoundsOnly() {
        var scenario = scenario(steps: 120)
        scenario.options.faults = [
            TimedFault(at: .zero + .seconds(3), fault: .pause(worker: nil, .seconds(5)))
        ]
        let result = scenario.simulator().run()
        expectGood(result)
        #expect((0..<4).allSatisfy { idle(result, $0) < 0.03 })
        #expect((10...25).contains(result.committedRounds), "\(story(result))")
    }

    @Test func aRunGoesOnFromWhatWasSaved() {
        var scenario = scenario(steps: 40, slow: [1: 2])
        scenario.configuration.training.checkpointEvery = 1
        scenario.options.faults = [
            TimedFault(at: .zero + .seconds(2), fault: .crashCoordinator)
        ]
        let simulator = scenario.simulator()
        let first = simulator.run()
        #expect(first.findings == [], "\(first.findings)")
        scenario.options.faults = []
        expectGood(scenario.simulator(resuming: simulator.savedStates).run())
    }
}
