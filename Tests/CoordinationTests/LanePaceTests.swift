import ClusterModel
import Coordination
import Testing

@Suite("Pace of lanes") struct LanePaceTests {
    private static func topology(rate: UInt64) -> Topology {
        var topology = Fixtures.topology([2, 2])
        topology.links = [
            Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 0,
                oneWayDelay: .milliseconds(15), rate: rate, jitter: .zero, queueBytes: 1 << 20)
        ]
        return topology
    }

    private func pace(
        _ topology: Topology, from: Int = 0, to: Int = 1, members: Int = 1, lanes: Int = 1
    ) -> UInt64? {
        LanePace.bytesPerSecond(
            over: topology, from: RegionID(from), to: RegionID(to), members: members, lanes: lanes)
    }

    @Test("all lanes of a region together send what the link carries, and no more")
    func together() throws {
        let topology = Self.topology(rate: 500_000_000)
        let payload = 500e6 / 8 * 1448 / 1500
        for (members, lanes) in [(1, 1), (2, 1), (2, 4), (5, 3)] {
            let each = try #require(pace(topology, members: members, lanes: lanes))
            let all = Double(each) * Double(members * lanes)
            #expect(all <= payload && all > 0.98 * payload, "\(members) x \(lanes): \(each)")
        }
        #expect(pace(topology, from: 1, to: 0) == pace(topology))
    }

    @Test("none inside a region, over no link, or at a rate that nobody has stated")
    func unknown() {
        #expect(pace(Self.topology(rate: 500_000_000), to: 0) == nil)
        #expect(pace(Self.topology(rate: 0)) == nil)
        #expect(pace(Fixtures.topology([2, 2])) == nil)
    }
}
