import ClusterModel
import Simulation
import Testing

/// State from several peers, workers nobody can dial, pairs without a lane: under virtual time.
@Suite struct ReachTests {
    private func taken(_ result: SimulationResult) -> [RunEvent.StateTaken] {
        result.events.compactMap {
            if case .stateTaken(let taken) = $0.event { taken } else { nil }
        }
    }

    /// Four in one region; the last starts later and takes a state of 6 MB from the others.
    private func joining() -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [4], step: .milliseconds(300))
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 24, inner: .everyStep, outer: .diloco, syncEvery: 2)
        scenario.configuration.deadlines.gathering = .seconds(1)
        scenario.options.payloads = .tensors(elements: 300_000)
        scenario.options.localRate = 60_000_000
        scenario.options.starts = [.zero, .zero, .zero, .seconds(6)]
        return scenario
    }

    private let wholeState: UInt64 = 5 * 4 * 300_000

    @Test func `a joiner takes its state from every member of its region`() throws {
        let result = joining().simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        let taken = try #require(taken(result).first)
        #expect(Set(taken.sources.map(\.worker)) == Set([0, 1, 2].map { WorkerID($0) }))
        #expect(taken.bytes == wholeState)
        #expect(taken.sources.allSatisfy { $0.bytes > wholeState / 5 })
    }

    @Test(arguments: [0, 1, 2])
    func `a source dies in the middle, and no piece is fetched twice`(source: Int) throws {
        let undisturbed = joining().simulator().run()
        let end = try #require(
            undisturbed.events.first { if case .stateTaken = $0.event { true } else { false } })
        var scenario = joining()
        guard case .stateTaken(let first) = end.event else { return }
        let middle = end.time - Interval(nanoseconds: first.took.nanoseconds / 2)
        scenario.options.faults = [TimedFault(at: middle, fault: .crash(worker: source))]
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        let taken = try #require(taken(result).first)
        #expect(taken.bytes == wholeState, "fetched \(taken.bytes) of \(wholeState)")
        #expect(taken.resumedBytes > wholeState / 5)
        #expect(taken.round == first.round)
        print(
            "source \(source) died at half: \(taken.resumedBytes) bytes kept, state after",
            "\(taken.took.seconds) s instead of \(first.took.seconds) s")
    }

    @Test(arguments: [[1], [0, 3], [0, 1, 3]])
    func `workers that only dial out train with the others`(hidden: [Int]) {
        var scenario = Scenario()
        var topology = SampleCluster.topology(workers: [2, 2])
        for seat in hidden { topology.regions[seat / 2].workers[seat % 2].dialsOut = true }
        scenario.topology = topology
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [0, 0, 0, 0])
        #expect(result.committedRounds == 3)
        let plain = Scenario().simulator().run()
        #expect(result.digest == plain.digest)
    }

    /// Seed 922: members let a joiner in when they are at the boundary, which may take long.
    @Test func `a joiner whose peers are on their way to the boundary is not unreachable`() {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [1, 1, 1], step: .seconds(15))
        scenario.configuration = SampleCluster.configuration(
            seed: 922, steps: 8, inner: .everyStep, outer: .diloco, syncEvery: 1)
        scenario.configuration.deadlines.gathering = .seconds(1)
        scenario.options.starts = [.zero, .zero, .seconds(8)]
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [0, 0, 0])
        #expect(taken(result).count == 1)
    }

    /// Seeds 82, 593, 1191: the relay and one of the two are past the boundary before the other.
    @Test(arguments: 0..<8)
    func `a member that comes back finds relayed pairs where they were`(moment: Int) {
        var scenario = Scenario()
        var topology = SampleCluster.topology(
            workers: [1, 4, 3], oneWay: .milliseconds(75), rate: 100_000_000,
            jitter: .milliseconds(20), step: .milliseconds(300))
        topology.regions[0].workers[0].dialsOut = true
        topology.regions[1].workers[2].dialsOut = true
        topology.regions[2].workers[0].dialsOut = true
        scenario.topology = topology
        scenario.configuration = SampleCluster.configuration(
            seed: 82, steps: 30, inner: .none, outer: .diloco, syncEvery: 3)
        scenario.fault(8 + Double(moment) * 0.13, .restart(worker: 4, resume: true))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        #expect(
            result.count {
                if case .workerEvicted(_, let name, _) = $0 { name != "r1w3" } else { false }
            }
                == 0)
    }

    @Test func `a pair whose lanes are closed for good gets a detour`() {
        var scenario = Scenario()
        scenario.fault(0.001, .unreachable(from: 0, to: 2, .seconds(300)))
        scenario.fault(0.001, .unreachable(from: 2, to: 0, .seconds(300)))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [0, 0, 0, 0])
        let notes = result.count {
            guard case .note("coordinator", let text) = $0 else { return false }
            return text.contains("passes on")
        }
        #expect(notes == 1)
    }

    @Test func `a lane that closes in the middle of a run gets a detour`() {
        var scenario = Scenario()
        scenario.configuration.steps = 40
        scenario.fault(1.5, .unreachable(from: 0, to: 2, .seconds(300)))
        scenario.fault(1.5, .unreachable(from: 2, to: 0, .seconds(300)))
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.codes == [0, 0, 0, 0])
    }
}
