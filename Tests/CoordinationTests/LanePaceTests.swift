import ClusterModel
import Coordination
import Testing
import WireProtocol

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
        _ topology: Topology, from: Int = 0, to: Int = 1, share: Double = 1, lanes: Int = 1
    ) -> UInt64? {
        LanePace.bytesPerSecond(
            over: topology, from: RegionID(from), to: RegionID(to), share: share, lanes: lanes)
    }

    @Test("all lanes of a region together send what the link carries, and no more")
    func together() throws {
        let topology = Self.topology(rate: 500_000_000)
        let payload = 500e6 / 8 * 1448 / 1500
        for (share, lanes) in [(1.0, 1), (0.5, 1), (0.5, 4), (0.2, 3)] {
            let each = try #require(pace(topology, share: share, lanes: lanes))
            let all = Double(each) * Double(lanes) / share
            #expect(all <= payload && all > 0.98 * payload, "\(share) x \(lanes): \(each)")
        }
        #expect(pace(topology, from: 1, to: 0) == pace(topology))
    }

    @Test("a link that becomes faster is not held at the rate that it begins with")
    func changes() throws {
        var topology = Self.topology(rate: 100_000_000)
        var faster = LinkChange(at: .seconds(5))
        faster.rate = 400_000_000
        faster.from = RegionID(0)
        topology.links[0].changes = [faster]
        #expect(pace(topology) == pace(Self.topology(rate: 400_000_000)))
        #expect(pace(topology, from: 1, to: 0) == pace(Self.topology(rate: 100_000_000)))
    }

    @Test("none inside a region, over no link, or at a rate that nobody has stated")
    func unknown() {
        #expect(pace(Self.topology(rate: 500_000_000), to: 0) == nil)
        #expect(pace(Self.topology(rate: 0)) == nil)
        #expect(pace(Fixtures.topology([2, 2])) == nil)
    }

    private func shares(
        _ sizes: [Int], inner: RunConfiguration.Schedule.Inner = .everyStep,
        outer: RunConfiguration.Schedule.Outer = .diloco
    ) throws -> [Int: [Int: Double]] {
        let configuration = Fixtures.configuration(outer: outer, inner: inner)
        let regions = sizes.enumerated().flatMap { Array(repeating: $0, count: $1) }
        var plan = Fixtures.plan(
            seats: Array(regions.indices.map { $0 % 4 }), elements: 1_200_000,
            configuration: configuration)
        for index in regions.indices {
            plan.members[index].workerID = WorkerID(index)
            plan.members[index].region = RegionID(regions[index])
        }
        var found: [Int: [Int: Double]] = [:]
        for index in regions.indices {
            let active = try #require(
                ActivePlan(
                    epoch: Epoch(rawValue: 1), plan: plan, schedule: configuration.schedule,
                    worker: WorkerID(index)))
            found[index] = Dictionary(
                uniqueKeysWithValues: active.laneShares.map { (Int($0.key.rawValue), $0.value) })
        }
        return found
    }

    @Test("what each sends to each is its share of what its region sends there")
    func byBytes() throws {
        #expect(
            try shares([2, 2])
                == [0: [2: 0.5], 1: [3: 0.5], 2: [0: 0.5], 3: [1: 0.5]])
        // Of eight one sends what the single one owns; all send their own means.
        let unequal = try shares([8, 1])
        #expect(abs((unequal[0]?[8] ?? 0) - 2 / 9) < 1e-6)
        for member in 1..<8 {
            #expect(abs((unequal[member]?[8] ?? 0) - 1 / 9) < 1e-6)
            #expect(abs((unequal[8]?[member] ?? 0) - 1 / 9) < 1e-6)
        }
        #expect(abs((unequal[8]?[0] ?? 0) - 2 / 9) < 1e-6)
    }

    @Test(
        "shares of a region make one", arguments: [[1, 1], [3, 2], [2, 1, 3]],
        [RunConfiguration.Schedule.Inner.everyStep, .none])
    func whole(sizes: [Int], inner: RunConfiguration.Schedule.Inner) throws {
        for outer in [RunConfiguration.Schedule.Outer.diloco, .decoupled] {
            let shares = try shares(sizes, inner: inner, outer: outer)
            let regions = sizes.enumerated().flatMap { Array(repeating: $0, count: $1) }
            for from in sizes.indices {
                for to in sizes.indices where from != to {
                    var sum = 0.0
                    for sender in regions.indices where regions[sender] == from {
                        for receiver in regions.indices where regions[receiver] == to {
                            sum += shares[sender]?[receiver] ?? 0
                        }
                    }
                    #expect(abs(sum - 1) < 1e-9, "\(from) -> \(to), \(outer)")
                }
            }
        }
    }
}
