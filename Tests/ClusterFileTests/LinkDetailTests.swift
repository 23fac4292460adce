import ClusterFile
import ClusterModel
import Testing

/// Directions, loss and schedules of a link.
struct LinkDetailTests {
    private func link(_ more: String, packet: Bool = false) throws -> Topology.Link {
        let yaml = try Sample.twoRegions(
            replacing: "rate: 20 Mbit/s", with: "rate: 20 Mbit/s" + more)
        let file = try ClusterFile.read(
            yaml: yaml + (packet ? "\nemulate: packet" : ""), file: "test.yaml")
        #expect(file.emulation == (packet ? .packet : .relay))
        return try #require(file.topology.links.first)
    }

    private func issues(_ more: String, packet: Bool = false) throws -> [ClusterFileError.Issue] {
        let yaml = try Sample.twoRegions(
            replacing: "rate: 20 Mbit/s", with: "rate: 20 Mbit/s" + more)
        return Sample.issues(yaml + (packet ? "\nemulate: packet" : ""))
    }

    @Test func directionsMayDiffer() throws {
        let link = try link(", from: {west: {rate: 2 Mbit/s, one_way: 25 ms}}")
        #expect(link.parameters(from: RegionID(0)).bitsPerSecond == 20_000_000)
        #expect(link.parameters(from: RegionID(1)).bitsPerSecond == 2_000_000)
        #expect(link.parameters(from: RegionID(1)).oneWayNanoseconds == 25_000_000)
        #expect(link.parameters(from: RegionID(0)).oneWayNanoseconds == 15_000_000)
        let other = try self.link(", from: {east: {rate: 2 Mbit/s}}")
        #expect(other.rate == 2_000_000)
        #expect(other.parameters(from: RegionID(1)).bitsPerSecond == 20_000_000)
    }

    @Test func lossIsForPacketMode() throws {
        #expect(try link(", loss: 0.01 %", packet: true).loss == .random(perBillion: 100_000))
        #expect(
            try link(", loss: 2 %, loss_burst: 8", packet: true).loss
                == .bursts(perBillion: 20_000_000, meanLength: 8))
        let refused = try issues(", loss: 1 %")
        #expect(refused.map(\.keyPath) == ["links[0].loss"])
        #expect(refused.first?.expected.contains("emulate: packet") == true)
    }

    @Test func schedulesAreRead() throws {
        let link = try link(
            """
            , schedule: [{at: 60 s, for: 20 s, outage: true}, \
            {at: 2 min, rate: 5 Mbit/s, one_way: 40 ms, from: west}, \
            {at: 10 s, every: 1 s, reset: one}]
            """)
        #expect(link.changes?.count == 3)
        #expect(link.schedule(from: RegionID(0))?.phases.count == 3)
        #expect(link.schedule(from: RegionID(1))?.phases.count == 4)
        #expect(link.resets.map(\.every) == [.seconds(1)])
    }

    @Test(arguments: [
        (", schedule: [{at: 1 s}]", "links[0].schedule[0].at", "nothing changes"),
        (", schedule: [{outage: true}]", "links[0].schedule[0].at", "missing"),
        (", schedule: [{at: 1 s, otage: true}]", "links[0].schedule[0].otage", "`outage`"),
        (
            ", schedule: [{at: 1 s, outage: true, reset: all}]", "links[0].schedule[0].at",
            "several"
        ),
        (
            ", schedule: [{at: 1 s, every: 2 s, outage: true}]", "links[0].schedule[0].every",
            "only resets"
        ),
        (
            ", schedule: [{at: 1 s, outage: true, from: wst}]", "links[0].schedule[0].from",
            "did you mean `west`?"
        ),
        (", from: {north: {rate: 1 Mbit/s}}", "links[0].from.north", "no end"),
        (", from: {west: {rate: fast}}", "links[0].from.west.rate", "found `fast`"),
    ])
    func mistakesAreNamed(more: String, keyPath: String, says: String) throws {
        let issues = try issues(more)
        #expect(issues.contains { $0.keyPath == keyPath && $0.problem.contains(says) }, "\(issues)")
    }

    @Test func resetsNeedConnections() throws {
        let issues = try issues(", schedule: [{at: 1 s, reset: all}]", packet: true)
        #expect(issues.map(\.keyPath) == ["links[0].schedule[0].reset"])
    }

    @Test func onlyKnownEmulations() {
        let issues = Sample.issues(Sample.twoRegions + "\nemulate: paket")
        #expect(issues.map(\.keyPath) == ["emulate"])
    }

    private static let threeRegions = """
        name: test
        steps: 60
        coordinator: a
        regions:
          a: {workers: [{name: a1, batch: 1}]}
          b: {workers: [{name: b1, batch: 1}]}
          c: {workers: [{name: c1, batch: 1}]}
        links:
          - {between: [a, c], via: b}
          - {between: [a, b], one_way: 10 ms, rate: 100 Mbit/s}
          - {between: [c, b], one_way: 5 ms, rate: 40 Mbit/s, from: {c: {rate: 4 Mbit/s}}}
        schedule: {inner: every-step, outer: diloco, sync_every: 30}
        wire: {inside: fp32, between: int8}
        """

    @Test func aPathOverARegionHasWhatItsLinksHave() throws {
        let topology = try ClusterFile.read(yaml: Self.threeRegions, file: "test.yaml").topology
        let path = try #require(topology.link(between: RegionID(0), and: RegionID(2)))
        #expect(path.via == RegionID(1))
        #expect(path.oneWayDelay == .milliseconds(15))
        #expect(path.parameters(from: RegionID(0)).bitsPerSecond == 40_000_000)
        #expect(path.parameters(from: RegionID(2)).bitsPerSecond == 4_000_000)
    }

    @Test(arguments: [
        ("via: b", "via: b, rate: 1 Mbit/s", "links[0].rate", "no `rate` of its own"),
        ("via: b", "via: d", "links[0].via", "found `d`"),
        ("via: b", "via: c", "links[0].via", "no link of its own"),
    ])
    func mistakesOfPathsAreNamed(old: String, new: String, keyPath: String, says: String) {
        let issues = Sample.issues(Self.threeRegions.replacing(old, with: new))
        #expect(issues.contains { $0.keyPath == keyPath && $0.problem.contains(says) }, "\(issues)")
    }
}
