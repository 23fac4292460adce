import ClusterModel
import Simulation
import Testing

/// One test for each bug that a seed has found; docs/simulation.md lists them.
@Suite struct ScenarioTests {
    @Test(
        arguments: RunConfiguration.Schedule.Inner.allCases,
        RunConfiguration.Schedule.Outer.allCases)
    func `every schedule ends well without faults`(
        inner: RunConfiguration.Schedule.Inner, outer: RunConfiguration.Schedule.Outer
    ) {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2, 1, 2], microBatches: [1, 3])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 12, inner: inner, outer: outer, syncEvery: outer == .everyStep ? 1 : 4)
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(result.codes == [0, 0, 0, 0, 0])
        // Where rounds are closed by arrival there may be more of them.
        let rounds: UInt32 = outer == .everyStep ? 12 : 3
        #expect(
            outer == .decoupled
                ? result.committedRounds >= rounds : result.committedRounds == rounds)
    }

    @Test func `workers that part far from the coordinator do not spin`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 1, 1], oneWay: .milliseconds(200), rate: 200_000)
        scenario.options.occurrenceLimit = 20_000
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [0, 0, 0, 0])
    }

    @Test func `workers whose hello nobody answers say so and leave with 69`() {
        var scenario = Scenario()
        scenario.fault(0.001, .crashCoordinator)
        scenario.options.starts = Array(repeating: .seconds(1), count: 4)
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [69, 69, 69, 69])
        let reports = result.count {
            if case .waiting(_, let activity, _, _, _, _) = $0 {
                activity == "the coordinator's welcome"
            } else {
                false
            }
        }
        // In 60 s after 5, 15 and 35 of them.
        #expect(reports == 4 * 3)
    }

    @Test(arguments: [0.5, 0.65, 1.0, 1.3, 1.7, 2.2])
    func `a reset control connection costs nobody the run`(seconds: Double) {
        var scenario = Scenario()
        for worker in 0..<4 {
            scenario.fault(seconds + Double(worker) * 0.01, .resetControl(worker: worker))
        }
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
    }

    @Test func `a joiner that has to wait for another boundary keeps its lanes`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 2], oneWay: .milliseconds(200), rate: 200_000, jitter: .milliseconds(20))
        scenario.configuration = SampleCluster.configuration(
            seed: 623, steps: 20, inner: .everyStep, outer: .everyStep, syncEvery: 1)
        scenario.configuration.training.checkpointEvery = 0
        scenario.options.keepsUnsentFrames = true
        scenario.options.allowList = false
        scenario.fault(11.239261335, .restart(worker: 0, resume: true))
        scenario.fault(11.489924337, .restart(worker: 1, resume: true))
        scenario.fault(12.528308687, .restart(worker: 0, resume: true))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(result.committedRounds == 20)
    }

    @Test func `a resumed run that was over ends at once`() {
        let scenario = Scenario()
        let first = scenario.simulator()
        #expect(first.run().code == .ok)
        let second = scenario.simulator(resuming: first.savedStates).run()
        #expect(second.findings == [])
        #expect(second.code == .ok)
        #expect(second.committedRounds == 0)
    }

    @Test func `a finished replica without a slice takes part in the others' rounds`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 3, 4], oneWay: .milliseconds(200), rate: 100_000_000,
            jitter: .milliseconds(1))
        scenario.configuration = SampleCluster.configuration(
            seed: 45, steps: 20, inner: .everyStep, outer: .localSGD, syncEvery: 5)
        scenario.options.payloads = .tensors(elements: 3)
        scenario.options.cost.overhead = .milliseconds(20)
        scenario.fault(2.743904713, .crashCoordinator)
        let first = scenario.simulator()
        #expect(first.run().codes == Array(repeating: 69, count: 9))
        scenario.options.faults = []
        let second = scenario.simulator(resuming: first.savedStates).run()
        #expect(second.findings == [])
        #expect(second.code == .ok)
    }

    @Test func `a joiner is not asked for the report of a round it took over`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 2, 3, 4], oneWay: .milliseconds(75), step: .milliseconds(700))
        scenario.configuration = SampleCluster.configuration(
            seed: 1487, steps: 20, inner: .everyStep, outer: .everyStep, syncEvery: 1)
        scenario.configuration.deadlines.gathering = .seconds(5)
        scenario.options.cost.overhead = .milliseconds(20)
        scenario.options.starts = (0..<11).map { $0 == 2 ? .seconds(11) : .zero }
        for hundredth in 0..<40 {
            scenario.fault(
                12 + Double(hundredth) * 0.05, .corruptControl(worker: 6, back: false))
        }
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
    }

    @Test func `a run whose every holder died goes on from what was saved, and says so`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2])
        scenario.configuration = SampleCluster.configuration(
            seed: 402, steps: 40, inner: .none, outer: .diloco, syncEvery: 1)
        scenario.configuration.training.checkpointEvery = 0
        scenario.fault(1.0, .crash(worker: 0))
        scenario.fault(1.2, .restart(worker: 0, resume: false))
        scenario.fault(1.301, .restart(worker: 1, resume: false))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        let notes = result.count {
            if case .note(_, let text) = $0 { text.contains("the furthest saved") } else { false }
        }
        #expect(notes >= 1)
    }

    @Test func `a coordinator's loss ends in order`() {
        var scenario = Scenario()
        scenario.fault(1.5, .crashCoordinator)
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [69, 69, 69, 69])
    }

    /// Restarts at every thirtieth of a second, where seeds 206 and 284 found what an earlier life had
    /// left to the next one.
    @Test(arguments: 0..<4)
    func `a restart under the old identity leaves nothing of the earlier life`(worker: Int) {
        for moment in 0..<60 {
            var scenario = Scenario()
            scenario.topology = SampleCluster.topology(
                workers: [2, 2], oneWay: .milliseconds(75), rate: 20_000_000)
            scenario.options.keepsUnsentFrames = true
            scenario.options.acceptorNoticesReset = false
            scenario.options.cost.overhead = .milliseconds(20)
            scenario.fault(1 + Double(moment) / 30, .restart(worker: worker, resume: true))
            let result = scenario.simulator().run()
            #expect(result.findings == [], "restart \(moment)")
            #expect(result.code == .ok, "restart \(moment)")
        }
    }

    /// Seed 776: what a seat's earlier life left with counted for the next one, which trains round 1
    /// again because nobody else held it.
    @Test func `tokens of a round that is trained again are those of the second time`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2])
        scenario.configuration = SampleCluster.configuration(
            seed: 776, steps: 12, inner: .none, outer: .streaming, syncEvery: 3, overlap: 1)
        scenario.configuration.training.checkpointEvery = 0
        // Both have left with round 1 when the first is lost, and the second holds nothing either.
        scenario.fault(0.75, .restart(worker: 0, resume: false))
        scenario.fault(0.85, .restart(worker: 1, resume: false))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        let rounds = result.events.compactMap { timed -> UInt32? in
            if case .roundCommitted(let key, _, _, _) = timed.event { key.round } else { nil }
        }
        #expect(rounds.filter { $0 == 1 }.count == 2, "round 1 was not trained twice: \(rounds)")
    }

    /// Control has connections of its own: behind lanes full of chunks it waits for the link's queue, not
    /// for what is still in the lanes' sockets. (Large payloads below 5 Mbit/s; a worker was evicted.)
    @Test func `heartbeats pass chunks that wait at their senders`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2, 1], rate: 200_000)
        scenario.configuration = SampleCluster.configuration(
            seed: 198, steps: 4, inner: .everyStep, outer: .localSGD, syncEvery: 2)
        scenario.options.payloads = .tensors(elements: 270_000)
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(result.count { if case .workerEvicted = $0 { true } else { false } } == 0)
        #expect(result.virtualTime - .zero > .seconds(60), "the link was not slow enough to matter")
        let waits = result.count {
            if case .waiting(_, "a sign of life", _, _, _, _) = $0 { true } else { false }
        }
        #expect(waits == 0)
    }

    /// Seed 5983: the state of a joiner fills a queue as long as any file may ask for, and the heartbeats
    /// of the one who sends it wait behind it.
    @Test func `the last holder of a round is not evicted while its state is on a slow link`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [1, 1], rate: 200_000, queueBytes: 4 << 20)
        scenario.configuration = SampleCluster.configuration(
            seed: 5983, steps: 16, inner: .everyStep, outer: .localSGD, syncEvery: 2)
        scenario.configuration.training.checkpointEvery = 0
        scenario.options.payloads = .tensors(elements: 60_000)
        scenario.fault(15, .restart(worker: 0, resume: false))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(
            result.count { if case .workerEvicted(_, "r1w0", _) = $0 { true } else { false } } == 0)
        let waits = result.count {
            if case .waiting(_, "a sign of life", ["r1w0"], _, _, _) = $0 { true } else { false }
        }
        #expect(waits >= 3, "the link was not slow enough to matter")
        #expect(
            result.count {
                if case .note(_, let text) = $0 { text.contains("furthest saved") } else { false }
            } == 0)
    }
}
