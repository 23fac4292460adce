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
