import ClusterModel
import Coordination
import Testing

@Suite("Lane windows") struct LaneWindowTests {
    private func window(_ rate: UInt64, _ oneWay: Interval, pairs: Int = 1) -> UInt64 {
        CoordinationLimits.laneWindow(
            over: Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 1, oneWayDelay: oneWay,
                rate: rate, jitter: .zero, queueBytes: 0), pairs: pairs)
    }

    /// What all pairs may have under way takes a slow link a fifth of the silence that evicts, or two
    /// chunks each: one is for means.
    @Test(arguments: [1, 4, 16])
    func `a slow link's windows stand for three seconds together`(pairs: Int) {
        for rate in [200_000, 1_000_000, 5_000_000, 20_000_000, 100_000_000] as [UInt64] {
            let together = UInt64(pairs) * window(rate, .milliseconds(15), pairs: pairs)
            let standing = Double(together) / Double(rate) * 8
            #expect(standing <= max(3, Double(pairs) * 524_288 * 8 / Double(rate)))
            #expect(window(rate, .milliseconds(15), pairs: pairs) >= 524_288)
        }
        #expect(window(200_000, .milliseconds(15), pairs: pairs) == 524_288)
    }

    /// The three seconds lower the floor only: many pairs over a long way have more together, and lanes add
    /// up to two chunks each.
    @Test("twice the bandwidth-delay product stays, whatever the pairs")
    func longWay() {
        let window = window(5_000_000, .milliseconds(200), pairs: 16)
        #expect(window == 524_288)
        #expect(self.window(5_000_000, .milliseconds(300), pairs: 16) == 750_000)
        #expect(CoordinationLimits.laneShare(of: window, lanes: 4) == 2 << 18)
    }

    /// A mean can always leave, and so can a contribution when nothing is under way.
    @Test func `contributions leave one chunk to means, and have one`() {
        for rate in [200_000, 5_000_000, 100_000_000, 10_000_000_000] as [UInt64] {
            for (pairs, lanes) in [(1, 1), (4, 4), (16, 16)] as [(Int, UInt16)] {
                let share = CoordinationLimits.laneShare(
                    of: window(rate, .milliseconds(15), pairs: pairs), lanes: lanes)
                let kept = CoordinationLimits.creditForMeans(of: share)
                #expect(kept == 262_144)
                #expect(share - kept >= 262_144)
            }
        }
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
