import ClusterModel
import Simulation
import Testing

/// Experts kept by who computes them, through all machines. The checkers know whose contribution a mean is.
@Suite struct KeptExpertTests {
    private func scenario(workers: [Int] = [2, 1, 3], steps: UInt32 = 40) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: workers, microBatches: [1, 3])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: steps, inner: .everyStep, outer: .diloco, syncEvery: 4, experts: 4)
        scenario.configuration.model.experts?.topK = 2
        scenario.configuration.model.experts?.spread = .region
        scenario.configuration.model.experts?.keep = .holder
        scenario.options.occurrenceLimit = 1_000_000
        return scenario
    }

    private func values(_ result: SimulationResult) -> UInt64 {
        result.events.reduce(0) {
            if case .traffic(_, let traffic) = $1.event { $0 + traffic.values } else { $0 }
        }
    }

    @Test func regionsAllReduceWhatIsNobodys() {
        let kept = scenario().simulator().run()
        #expect(kept.findings.isEmpty, "\(kept.findings)")
        #expect(kept.code == .ok)
        var everywhere = scenario()
        everywhere.configuration.model.experts?.keep = .everywhere
        let usual = everywhere.simulator().run()
        #expect(usual.findings.isEmpty)
        #expect(values(kept) < values(usual))
        #expect(scenario().simulator().run().traceHash == kept.traceHash)
    }

    @Test(arguments: 1...8)
    func aDeathAtAnyMoment(tenth: Int) {
        for worker in [0, 1, 4] {
            var scenario = scenario()
            scenario.fault(0.4 * Double(tenth) + 0.1 * Double(worker), .crash(worker: worker))
            let result = scenario.simulator().run()
            #expect(result.findings.isEmpty, "\(tenth) \(worker): \(result.findings)")
            #expect(result.code == .ok, "\(tenth) \(worker)")
        }
    }

    @Test(arguments: [1, 3, 5])
    func aWorkerThatComesBack(seat: Int) {
        var scenario = scenario()
        scenario.fault(1 + 0.3 * Double(seat), .restart(worker: seat, resume: false))
        let result = scenario.simulator().run()
        #expect(result.findings.isEmpty, "\(result.findings)")
        #expect(result.code == .ok)
    }
}
