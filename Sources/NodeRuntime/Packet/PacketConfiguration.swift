package import ClusterModel

/// Regions and the links between them, as packets cross them.
package struct PacketConfiguration: Sendable {
    /// One direction of a link.
    package struct Path: Sendable {
        package var from: Int
        package var to: Int
        package var link: LinkParameters
        package var schedule: LinkSchedule?

        package init(
            from: Int, to: Int, link: LinkParameters, schedule: LinkSchedule? = nil
        ) {
            self.from = from
            self.to = to
            self.link = link
            self.schedule = schedule
        }
    }

    /// A pair of regions that reach each other over a third.
    package struct Transit: Sendable {
        package var from: Int
        package var to: Int
        package var via: Int
    }

    package var regions: [String]
    package var transits: [Transit] = []
    package var paths: [Path]
    package var seed: UInt64
    /// Congestion control of the namespaces; nil leaves the kernel's.
    package var congestionControl: String?

    package init(regions: [String], paths: [Path], seed: UInt64) {
        self.regions = regions
        self.paths = paths
        self.seed = seed
    }

    /// Regions at both ends of every link of a topology.
    package init(topology: Topology, seed: UInt64) {
        regions = topology.regions.map(\.name)
        transits = topology.links.flatMap { link in
            (link.via.map { [$0] } ?? []).flatMap { via in
                [
                    Transit(from: link.a.index, to: link.b.index, via: via.index),
                    Transit(from: link.b.index, to: link.a.index, via: via.index),
                ]
            }
        }
        paths = topology.links.filter { $0.via == nil }.flatMap { link in
            [(link.a, link.b), (link.b, link.a)].map { from, to in
                Path(
                    from: from.index, to: to.index, link: link.parameters(from: from),
                    schedule: link.schedule(from: from))
            }
        }
        self.seed = seed
    }
}

/// Every limit of packet mode, with its reason.
enum PacketLimits {
    /// Links are looked through for the next delivery: 16 regions have 240 directions.
    static let regions = 16
    /// What Ethernet carries; TCP has 1,448 bytes of it with time stamps.
    static let packetBytes: Int32 = 1500
    /// Memory for packets in flight on a link without a rate.
    static let unlimitedBytes = 64 << 20
    /// Memory of one direction at most: 10 Gbit/s over 300 ms and as much queue.
    static let directionBytes = 1 << 30
    /// Reads from one device before deliveries are looked at again: at most 64 KiB each, some 0.1 ms.
    static let packetsPerTurn = 16
    static let reportInterval: Int64 = 1_000_000_000
    /// 10.77.0.0/16, of which region r has 10.77.(r + 1).0/24.
    static let network: UInt32 = 10 << 24 | 77 << 16
    static let mask: UInt32 = 0xffff_0000

    static func address(ofRegion index: Int) -> UInt32 { network | UInt32(index + 1) << 8 | 1 }

    /// The region an address belongs to; nil for one of another network.
    static func region(of address: UInt32) -> Int? {
        guard address & mask == network else { return nil }
        let index = Int(address >> 8 & 0xff) - 1
        return index >= 0 ? index : nil
    }

    /// What can be in flight and queued at once, in the widest phase, and some for wrapping; a quarter
    /// for what the kernel says of each packet, 10 bytes of a bare acknowledgement's 62.
    static func bytes(_ link: LinkParameters, _ schedule: LinkSchedule?) -> Int {
        let flow = RelayLimits.flowBytes(link, schedule)
        guard flow != RelayLimits.unlimitedFlowBytes else { return unlimitedBytes }
        return min(directionBytes, flow + flow / 4 + PacketBuffer.size)
    }
}
