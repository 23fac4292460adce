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
        _ outer: RunConfiguration.Schedule.Outer, syncEvery: UInt32, rate: Double
    ) -> Double {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [1, 1], oneWay: .zero, rate: UInt64(rate))
        for link in scenario.topology.links.indices {
            scenario.topology.links[link].queueBytes = 1 << 30
        }
        scenario.configuration = SampleCluster.configuration(
            seed: 1, steps: syncEvery * 6, inner: .none, outer: outer, syncEvery: syncEvery)
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
        let commits = result.events.compactMap { stamped -> Int64? in
            if case .roundCommitted = stamped.event { stamped.time.nanoseconds } else { nil }
        }
        let span = Double(commits[commits.count - 1] - commits[0]) / 1e9
        return Double(commits.count - 1) * Double(syncEvery) * Self.step / span
    }

    @Test(
        arguments: RunConfiguration.Schedule.Outer.allCases,
        [2e6, 2e7, 1e8, 1e9])
    func `the engine needs the link that the model says`(
        outer: RunConfiguration.Schedule.Outer, rate: Double
    ) {
        let syncEvery: UInt32 = outer == .everyStep ? 1 : 10
        // One layer: nothing overlaps, as in the schedules that exist.
        let model = BandwidthModel(
            parameters: Double(Self.parameters), layers: 1, stepTime: Self.step,
            method: outer == .everyStep ? .dataParallel : .diloco, syncEvery: Int(syncEvery),
            bits: 16)
        let expected = model.utilisation(rate: rate)
        let found = engine(outer, syncEvery: syncEvery, rate: rate)
        #expect(abs(found / expected - 1) < 0.01, "engine \(found), model \(expected)")
    }
}
