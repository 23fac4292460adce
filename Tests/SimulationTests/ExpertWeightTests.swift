import ClusterModel
import Simulation
import Testing

/// Experts weighted by the tokens they saw, through all machines; the checker computes every mean again.
@Suite struct ExpertWeightTests {
    private func scenario(
        outer: RunConfiguration.Schedule.Outer = .diloco,
        inner: RunConfiguration.Schedule.Inner = .everyStep, fragments: Int = 1
    ) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2, 1, 2], microBatches: [1, 3])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 12, inner: inner, outer: outer, syncEvery: 4, fragments: fragments,
            overlap: outer == .streaming ? 1 : 0, experts: 3)
        return scenario
    }

    private func digests(_ result: SimulationResult) -> [UInt64] {
        result.events.compactMap {
            if case .roundCommitted(_, let digest, _, _) = $0.event { digest } else { nil }
        }
    }

    @Test(
        arguments: RunConfiguration.Schedule.Inner.allCases,
        [RunConfiguration.Schedule.Outer.localSGD, .diloco, .streaming])
    func everyMeanIsTheReferences(
        inner: RunConfiguration.Schedule.Inner, outer: RunConfiguration.Schedule.Outer
    ) {
        let result = scenario(
            outer: outer, inner: inner, fragments: outer == .streaming ? 2 : 1
        ).simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok && result.codes == [0, 0, 0, 0, 0])
    }

    @Test func weightsChangeWhatIsCommittedAndNothingElse() {
        let byTokens = scenario().simulator().run()
        var plain = scenario()
        plain.configuration.schedule.expertWeights = .mean
        let byMean = plain.simulator().run()
        #expect(byMean.findings == [] && byTokens.findings == [])
        let (a, b) = (digests(byTokens), digests(byMean))
        #expect(a.count == 3 && b.count == 3)
        #expect(zip(a, b).allSatisfy { $0 != $1 })
        #expect(digests(scenario().simulator().run()) == a)
    }

    @Test(arguments: stride(from: 300, to: 1_300, by: 90).map(\.self))
    func aDeathLosesNoExpert(millisecond: Int) {
        for outer in [RunConfiguration.Schedule.Outer.diloco, .streaming] {
            var scenario = scenario(outer: outer, fragments: outer == .streaming ? 2 : 1)
            scenario.options.faults = [
                TimedFault(
                    at: .zero + .milliseconds(Int64(millisecond)), fault: .crash(worker: 3))
            ]
            let result = scenario.simulator().run()
            #expect(result.findings == [], "\(outer) at \(millisecond) ms: \(result.findings)")
            #expect(result.code == .ok)
        }
    }

    @Test func aJoinerCountsFromTheBoundaryLikeTheOthers() {
        var scenario = scenario()
        scenario.options.starts = [.zero, .zero, .zero, .zero, .milliseconds(500)]
        scenario.configuration.deadlines.gathering = .milliseconds(200)
        let result = scenario.simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
    }
}
