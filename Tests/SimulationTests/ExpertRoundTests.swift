import ClusterModel
import Simulation
import Testing

/// Rarely used experts exchanged less often, through all machines; the checker knows from the specification
/// and from COMMIT frames what each round exchanges, and computes its mean and its step again.
@Suite struct ExpertRoundTests {
    private func scenario(
        inner: RunConfiguration.Schedule.Inner = .everyStep,
        outer: RunConfiguration.Schedule.Outer = .diloco, most: UInt32? = 4, steps: UInt32 = 48
    ) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [2, 1, 2], microBatches: [1, 3])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: steps, inner: inner, outer: outer, syncEvery: 2, experts: 4)
        scenario.configuration.schedule.expertRounds = most
        return scenario
    }

    /// Of the model's values, by round that a plan with periods was in force for.
    private func shares(_ result: SimulationResult) -> [(round: UInt32, share: Double)] {
        result.events.compactMap {
            if case .expertsExchanged(let round, let sent, let all) = $0.event {
                (round, Double(sent) / Double(all))
            } else {
                nil
            }
        }
    }

    private func digests(_ result: SimulationResult) -> [UInt64] {
        result.events.compactMap {
            if case .roundCommitted(_, let digest, _, _) = $0.event { digest } else { nil }
        }
    }

    private func bytes(_ result: SimulationResult) -> UInt64 {
        result.events.reduce(0) {
            if case .linkUse(let use) = $1.event { $0 + use.bytes } else { $0 }
        }
    }

    @Test(
        arguments: RunConfiguration.Schedule.Inner.allCases,
        [RunConfiguration.Schedule.Outer.localSGD, .diloco])
    func everyMeanIsTheReferences(
        inner: RunConfiguration.Schedule.Inner, outer: RunConfiguration.Schedule.Outer
    ) {
        let result = scenario(inner: inner, outer: outer).simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok && result.codes == [0, 0, 0, 0, 0])
        let shares = shares(result)
        #expect(shares.count >= 8)
        #expect(shares.contains { $0.share < 0.9 })
        #expect(shares.allSatisfy { $0.round < 24 || $0.share == 1 })
        let whole = scenario(inner: inner, outer: outer, most: nil).simulator().run()
        #expect(self.shares(whole).isEmpty)
        #expect(bytes(result) < bytes(whole))
        let a = digests(result)
        #expect(a.count == 24 && a.last != digests(whole).last)
        let again = scenario(inner: inner, outer: outer).simulator().run()
        #expect(digests(again) == a && again.traceHash == result.traceHash)
    }

    @Test(arguments: stride(from: 900, to: 5_200, by: 170).map(\.self))
    func aDeathAtAnyTime(millisecond: Int) {
        for inner in RunConfiguration.Schedule.Inner.allCases {
            var scenario = scenario(inner: inner)
            scenario.options.faults = [
                TimedFault(
                    at: .zero + .milliseconds(Int64(millisecond)),
                    fault: .crash(worker: millisecond % 5))
            ]
            let result = scenario.simulator().run()
            #expect(result.findings == [], "\(inner) at \(millisecond) ms: \(result.findings)")
            #expect(result.code == .ok)
        }
    }

    /// Alone in its region, or a replica by itself: what it takes over is somebody else's.
    @Test(arguments: stride(from: 1_000, to: 4_600, by: 310).map(\.self))
    func aJoinerThatIsAReplica(millisecond: Int) {
        for inner in RunConfiguration.Schedule.Inner.allCases {
            var scenario = scenario(inner: inner)
            scenario.options.supervision = .milliseconds(300)
            scenario.options.faults = [
                TimedFault(
                    at: .zero + .milliseconds(Int64(millisecond)), fault: .crash(worker: 2))
            ]
            let result = scenario.simulator().run()
            #expect(result.findings == [], "\(inner) at \(millisecond) ms: \(result.findings)")
            #expect(result.code == .ok)
            #expect(shares(result).contains { $0.share < 1 })
        }
    }

    /// Replicas train on alone, one to its last step: the rounds that follow are others than expected.
    @Test(arguments: [1_500, 2_600, 3_700, 4_400])
    func anOutage(millisecond: Int) {
        for seconds in [3, 8] {
            var scenario = scenario()
            scenario.fault(
                Double(millisecond) / 1_000,
                .partition(from: 0, to: 1, symmetric: true, .seconds(Int64(seconds))))
            let result = scenario.simulator().run()
            #expect(result.findings == [], "\(seconds) s at \(millisecond) ms: \(result.findings)")
            #expect(result.code == .ok)
        }
    }

    @Test func aRunThatGoesOnFromSavedStatesExchangesEverythingFirst() {
        var broken = scenario(steps: 96)
        broken.configuration.deadlines.coordinator = .seconds(1)
        broken.fault(2.9, .crashCoordinator)
        let lost = broken.simulator()
        let before = lost.run()
        #expect(before.findings == [] && before.committedRounds > 5)
        let result = scenario(steps: 96).simulator(resuming: lost.savedStates).run()
        #expect(result.findings == [])
        #expect(result.code == .ok)
        // All experts until loads are known again.
        let shares = shares(result)
        #expect(shares.contains { $0.share < 1 })
        #expect(shares.allSatisfy { $0.round > before.committedRounds + 4 })
    }
}
