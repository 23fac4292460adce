import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime

/// The emulated links of a cluster on this machine: a relay process for each pair of regions, or the
/// namespaces of packet mode, in which processes are started then.
final class LocalLinks: @unchecked Sendable {
    // Nothing changes after `init`; processes are started from several threads.

    /// A relay: its process, where to dial it, where it counts.
    private struct LocalRelay {
        let link: Topology.Link
        let process: ChildProcess
        let ports: RelayPorts
        let report: String
    }

    private let topology: Topology
    private var relays: [LocalRelay] = []
    private var network: PacketNetwork?

    /// - Parameters:
    ///   - congestion: TCP congestion control of packet mode's regions; nil: the kernel's.
    ///   - started: told of each relay's process.
    init(
        _ cluster: ClusterFile, directory: String, binaries: String, congestion: String? = nil,
        started: (ChildProcess) -> Void
    ) throws {
        topology = cluster.topology
        guard !topology.links.isEmpty else { return }
        switch cluster.emulation {
        case .packet:
            try PacketMode.check()
            var configuration = PacketConfiguration(
                topology: topology, seed: cluster.configuration.seed)
            configuration.congestionControl = congestion
            network = try PacketNetwork(configuration)
        case .relay:
            // Paths over a region need the relays of its links.
            let direct = topology.links.filter { $0.via == nil }
            for link in direct + topology.links.filter({ $0.via != nil }) {
                let relay = try startRelay(
                    link, seed: cluster.configuration.seed, directory, binaries)
                relays.append(relay)
                started(relay.process)
            }
        }
    }

    var processes: [ChildProcess] { relays.map(\.process) }

    func terminate() {
        for relay in relays { relay.process.terminate() }
        network?.stop()
    }

    // MARK: - Processes

    /// Starts a process of a region; it ends with this one.
    func start(
        name: String, executable: String, in region: RegionID, arguments: [String]
    ) throws -> ChildProcess {
        try inside(region) {
            try ChildProcess(name: name, executable: executable, arguments: arguments)
        }
    }

    /// In packet mode, the address by which a region is dialled.
    func address(_ region: RegionID) -> String? { network?.address(ofRegion: region.index) }

    /// Runs `body` where processes of the region run: sockets made there stay there.
    func inside<Value>(_ region: RegionID, _ body: () throws -> Value) rethrows -> Value {
        guard let network else { return try body() }
        return try network.namespaces[region.index].inside(body)
    }

    /// Sets the congestion control of a region's connections from now on; packet mode only.
    ///
    /// - Returns: false where the kernel does not have it.
    func setCongestionControl(_ name: String, of region: RegionID) -> Bool {
        network?.namespaces[region.index].set("ipv4/tcp_congestion_control", name) ?? false
    }

    /// In packet mode peers dial the region's own address.
    func listenFlags(_ region: RegionID) -> [String] {
        address(region).map { ["--listen", "tcp://\($0):*"] } ?? []
    }

    /// With relays, the proxy for each other region.
    func proxyFlags(_ region: RegionID) -> [String] {
        var flags: [String] = []
        for relay in relays where relay.link.a == region || relay.link.b == region {
            let isA = relay.link.a == region
            let other = isA ? relay.link.b : relay.link.a
            let proxy = "127.0.0.1:\(isA ? relay.ports.aPort : relay.ports.bPort)"
            flags += ["--via", "\(topology.regions[other.index].name)=\(proxy)"]
            // Control of other regions crosses the link to the coordinator's region too.
            if other == topology.coordinatorRegion { flags += ["--via-coordinator", proxy] }
        }
        return flags
    }

    // MARK: - Counting

    /// Every link with a way to read what crossed it. Paths over a region are counted by its links.
    var counted: [CountedLink] {
        let direct = topology.links.filter { $0.via == nil }
        if let network {
            return direct.map { link in
                let a = topology.regions[link.a.index].name
                let b = topology.regions[link.b.index].name
                return CountedLink(link: link, name: "link \(a)-\(b)") {
                    network.report(between: link.a.index, and: link.b.index)
                }
            }
        }
        return relays.filter { $0.link.via == nil }.map { relay in
            CountedLink(link: relay.link, name: relay.process.name) {
                FileManager.default.contents(atPath: relay.report).flatMap {
                    try? JSONDecoder().decode(RelayReport.self, from: $0)
                }
            }
        }
    }

    // MARK: - Relays

    /// The port at which diallers of a region reach another one directly.
    private func port(_ from: RegionID, _ to: RegionID) -> UInt16? {
        let relay = relays.first {
            $0.link.via == nil && [$0.link.a, $0.link.b].contains(from)
                && [$0.link.a, $0.link.b].contains(to)
        }
        return relay.map { $0.link.a == from ? $0.ports.aPort : $0.ports.bPort }
    }

    private func startRelay(
        _ link: Topology.Link, seed: UInt64, _ directory: String, _ binaries: String
    ) throws -> LocalRelay {
        let a = topology.regions[link.a.index].name
        let b = topology.regions[link.b.index].name
        var configuration = RelayConfiguration(
            regionA: a, regionB: b, aToB: link.parameters(from: link.a),
            bToA: link.parameters(from: link.b), seed: seed)
        configuration.aToBSchedule = link.schedule(from: link.a)
        configuration.bToASchedule = link.schedule(from: link.b)
        configuration.resets = link.resets
        if let via = link.via {
            // The links on the way have rate and delay; this one only leads there.
            let open = LinkParameters(
                bitsPerSecond: 0, oneWayNanoseconds: 0, queueLimitBytes: link.queueBytes)
            configuration.aToB = open
            configuration.bToA = open
            configuration.chainFromA = [port(link.a, via), port(via, link.b)].compactMap(\.self)
            configuration.chainFromB = [port(link.b, via), port(via, link.a)].compactMap(\.self)
        }
        let report = "\(directory)/link-\(a)-\(b).json"
        configuration.reportPath = report
        configuration.concealsRefusals = true
        configuration.exitWithParent = true
        let file = "\(directory)/relay-\(a)-\(b).json"
        try JSONEncoder().encode(configuration).write(to: URL(filePath: file))
        let process = try ChildProcess(
            name: "link \(a)-\(b)", executable: "\(binaries)/longhaul", arguments: ["relay", file])
        guard let line = process.readLine(),
            let ports = try? JSONDecoder().decode(RelayPorts.self, from: Data(line.utf8))
        else { throw process.failureAtStart("the relay of link \(a)-\(b)") }
        return LocalRelay(link: link, process: process, ports: ports, report: report)
    }
}
