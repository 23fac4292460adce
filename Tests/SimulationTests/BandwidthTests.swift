import ClusterModel
import Simulation
import Testing

@Suite struct BandwidthTests {
    private func within(_ steps: Int, bits: Double) -> Int {
        StreamingTable.distances(bits: bits).flatMap { $0 }.count { abs($0) <= steps }
    }

    @Test func `all 75 cells of table 4 within one grid step with the fitted constant`() {
        #expect(StreamingTable.rows.count == 15)
        #expect(within(1, bits: StreamingTable.fittedBits) == 75)
        #expect(within(0, bits: StreamingTable.fittedBits) >= 69)
    }

    @Test func `73 cells within one grid step with the nominal 16 bits`() {
        #expect(within(1, bits: StreamingTable.nominalBits) >= 73)
    }

    @Test func `the grid is the paper's`() {
        #expect(BandwidthGrid.paperRates.count == 50)
        #expect(abs(BandwidthGrid.paperRates[0] - 0.1) < 1e-12)
        #expect(abs(BandwidthGrid.paperRates[49] - 1_000) < 1e-9)
    }

    @Test func `synchronous training needs a rate that can be computed by hand`() {
        // One layer: forward and backward take the step, the transfer follows: W = V / (T / CU - T).
        let model = BandwidthModel(
            parameters: 1e6, layers: 1, stepTime: 1, method: .dataParallel, syncEvery: 1)
        let rate = model.rate(utilisation: 0.5) ?? 0
        #expect(abs(rate - 16e6) < 16e6 * 1e-6)
    }

    @Test func `a full utilisation has no rate and none has zero`() {
        let model = BandwidthModel(
            parameters: 1e6, layers: 4, stepTime: 1, method: .diloco, syncEvery: 1)
        #expect(model.rate(utilisation: 1) == nil)
        #expect(model.rate(utilisation: 0) == 0)
    }

    @Test func `more synchronisation never needs less`() {
        for every in [1, 10, 100] {
            let often = BandwidthModel(
                parameters: 1e9, layers: 24, stepTime: 0.1, method: .diloco, syncEvery: every)
            let seldom = BandwidthModel(
                parameters: 1e9, layers: 24, stepTime: 0.1, method: .diloco, syncEvery: 2 * every)
            #expect(often.rate(utilisation: 0.9)! >= seldom.rate(utilisation: 0.9)!)
        }
    }
}

/// The event engine against the model it does not know: schedules that block, over a link without delay,
/// with everything but compute and the link free.
@Suite struct BandwidthAgreementTests {
    private static let parameters: UInt64 = 1_000_000
    private static let step: Double = 0.1

    private func engine(
        _ outer: RunConfiguration.Schedule.Outer, syncEvery: UInt32, rate: Double,
        fragments: Int = 1, overlap: UInt32 = 0
    ) -> Double {
        let rounds: UInt32 = fragments > 1 ? 16 : 6
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [1, 1], oneWay: .zero, rate: UInt64(rate))
        for link in scenario.topology.links.indices {
            scenario.topology.links[link].queueBytes = 1 << 30
        }
        scenario.configuration = SampleCluster.configuration(
            seed: 1, steps: syncEvery * rounds, inner: .none, outer: outer, syncEvery: syncEvery,
            fragments: fragments, overlap: overlap)
        scenario.configuration.training.evaluateEvery = 0
        scenario.configuration.training.checkpointEvery = 0
        scenario.configuration.wire.betweenRegions = .bf16
        scenario.options = SimulationOptions(
            seed: 1, payloads: .modelled(parameters: Self.parameters))
        scenario.options.checks = false
        scenario.options.cost = CostModel(
            defaultStep: .milliseconds(100), stepSpread: 0, encodeRate: 1e15, reduceRate: 1e15,
            absorbRate: 1e15, stateRate: 1e15, overhead: .zero, evaluationShare: 0)
        let result = scenario.simulator().run()
        #expect(result.code == .ok)
        // Fragment 0's rounds are a period apart; its last one leaves with the last step.
        let commits = result.events.compactMap { stamped -> Int64? in
            guard case .roundCommitted(let key, _, _, _) = stamped.event,
                key.fragment == FragmentID(0)
            else { return nil }
            return stamped.time.nanoseconds
        }
        let span = Double(commits[commits.count - 2] - commits[0]) / 1e9
        return Double(commits.count - 2) * Double(syncEvery) * Self.step / span
    }

    @Test(
        arguments: [0, 1, 3] as [UInt32], [6e5, 1.2e6, 2e6, 4e6, 1e7, 1e8])
    func `streaming needs the link that the model of whole steps says`(
        overlap: UInt32, rate: Double
    ) {
        // 16 Mbit of values in 4 fragments every 1.2 s: the link is full at 13.3 Mbit/s.
        let rate = rate * 10
        let model = BandwidthModel(
            parameters: Double(Self.parameters), layers: 4, stepTime: Self.step,
            method: .streaming, syncEvery: 12, fragmentLayers: 1, overlap: Int(overlap), bits: 16,
            granularity: .step, periods: 60)
        let expected = model.utilisation(rate: rate)
        let found = engine(
            .streaming, syncEvery: 12, rate: rate, fragments: 4, overlap: overlap)
        #expect(abs(found / expected - 1) < 0.02, "engine \(found), model \(expected)")
    }

    @Test(arguments: [0, 1, 3])
    func `fragments of whole steps need at least the paper's link`(overlap: Int) {
        // What leaves after the step and not within it has less to hide behind; never more than a step.
        for rate in [1e7, 2e7, 5e7, 1e8, 1e9] {
            func utilisation(_ granularity: BandwidthModel.Granularity, _ overlap: Int) -> Double {
                BandwidthModel(
                    parameters: 1e6, layers: 8, stepTime: 0.1, method: .streaming, syncEvery: 24,
                    fragmentLayers: 1, overlap: overlap, granularity: granularity, periods: 20
                ).utilisation(rate: rate)
            }
            #expect(utilisation(.step, overlap) <= utilisation(.layer, overlap) + 0.01)
            #expect(utilisation(.step, overlap + 1) >= utilisation(.layer, overlap) - 0.01)
        }
    }

    @Test(
        arguments: [RunConfiguration.Schedule.Outer.everyStep, .localSGD, .diloco],
        [2e6, 2e7, 1e8, 1e9])
    func `the engine needs the link that the model says`(
        outer: RunConfiguration.Schedule.Outer, rate: Double
    ) {
        let syncEvery: UInt32 = outer == .everyStep ? 1 : 10
        // One layer: nothing overlaps, as in the schedules that block.
        let model = BandwidthModel(
            parameters: Double(Self.parameters), layers: 1, stepTime: Self.step,
            method: outer == .everyStep ? .dataParallel : .diloco, syncEvery: Int(syncEvery),
            bits: 16)
        let expected = model.utilisation(rate: rate)
        let found = engine(outer, syncEvery: syncEvery, rate: rate)
        #expect(abs(found / expected - 1) < 0.01, "engine \(found), model \(expected)")
    }
}
