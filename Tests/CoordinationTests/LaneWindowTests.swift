import ClusterModel
import Coordination
import Testing

@Suite("Lane windows") struct LaneWindowTests {
    private func window(_ rate: UInt64, _ oneWay: Interval) -> UInt64 {
        CoordinationLimits.laneWindow(
            over: Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 1, oneWayDelay: oneWay,
                rate: rate, jitter: .zero, queueBytes: 0))
    }

    @Test("twice the bandwidth-delay product between a floor and a cap")
    func bounds() {
        #expect(window(500_000_000, .milliseconds(15)) == 3_750_000)
        #expect(window(10_000_000, .milliseconds(15)) == 1 << 20)
        #expect(window(10_000_000_000, .milliseconds(75)) == 64 << 20)
        #expect(window(0, .milliseconds(15)) == 8 << 20)
        #expect(CoordinationLimits.laneWindow(over: nil) == 8 << 20)
    }
}
