import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime

/// `longhaul link up`: the regions of a cluster file for any program.
struct LinkUpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up", abstract: "Run any program over a cluster file's regions (packet mode).",
        discussion: """
            One network namespace per region, joined by the file's links; kernel TCP really crosses \
            them. The command runs once, outside the regions, or inside one with --region, or in all \
            of them at once with --each. It is told, with '-' and '.' of names as '_':
              LONGHAUL_ADDRESS_name  the region's IPv4 address
              LONGHAUL_ENTER_name    prefix that runs a command in the region
              LONGHAUL_HOSTS         a file with lines of address and name
              LONGHAUL_REGION        the region it runs in, with --region and --each
            Its exit code is this command's. Namespaces end with it, however it ends.

            EXAMPLES
              longhaul link up Cluster/shanghai-jinan.yaml -- sh -c \\
                '$LONGHAUL_ENTER_jinan iperf3 -s -1 & sleep 1
                 $LONGHAUL_ENTER_shanghai iperf3 -c $LONGHAUL_ADDRESS_jinan'
              longhaul link up FILE --region shanghai -- ping -c 3 10.77.2.1
              longhaul link up FILE --each -- python3 train.py
            """)

    @Argument(help: "Cluster file (YAML); its regions and links are used.")
    var file: String

    @Option(help: "Run the command in this region.")
    var region: String?

    @Flag(help: "Run the command in every region at once; the first failure is the exit code.")
    var each = false

    @Option(help: "TCP congestion control inside the regions: cubic, bbr, reno.")
    var congestion: String?

    @Option(help: "Seed of jitter and loss.")
    var seed: UInt64 = 1

    @Flag(
        help: "When the command has ended, print what crossed the links as JSON on standard error.")
    var json = false

    @Argument(parsing: .postTerminator, help: "The command, after '--'.")
    var command: [String] = []

    func validate() throws {
        if command.isEmpty { throw ValidationError("No command; it stands after '--'.") }
        if each, region != nil { throw ValidationError("--each and --region exclude each other.") }
    }

    func run() throws {
        let cluster = try ClusterFile.load(path: file)
        let names = cluster.topology.regions.map(\.name)
        let chosen = try region.map { name in
            guard let index = names.firstIndex(of: name) else {
                throw Failure(
                    .usage, "no region '\(name)' in \(file)",
                    hint: "one of " + names.joined(separator: ", "))
            }
            return index
        }
        try PacketMode.check()
        var configuration = PacketConfiguration(topology: cluster.topology, seed: seed)
        configuration.congestionControl = congestion
        let network = try PacketNetwork(configuration)
        let interrupt = try Interrupt()
        interrupt.install()
        let hosts = try writeHosts(network, names)
        let environment = environment(network, names, hosts: hosts)
        let places: [Int?] = each ? names.indices.map { $0 } : [chosen]
        var processes: [Process] = []
        for place in places {
            processes.append(try start(in: place, network, names, environment))
        }
        wait(for: processes, interrupt)
        network.stop()
        try? FileManager.default.removeItem(atPath: hosts)
        try report(network, cluster.topology)
        let codes = processes.map {
            $0.terminationReason == .exit ? $0.terminationStatus : 128 + $0.terminationStatus
        }
        // The command's own code, which is none of ours.
        Foundation.exit(codes.first { $0 != 0 } ?? 0)
    }

    private func start(
        in place: Int?, _ network: PacketNetwork, _ names: [String], _ environment: [String: String]
    ) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        process.environment = environment
        guard let place else {
            try process.run()
            return process
        }
        process.environment?["LONGHAUL_REGION"] = names[place]
        // A process starts in the namespace of the thread that starts it.
        try network.namespaces[place].inside { try process.run() }
        return process
    }

    private func environment(
        _ network: PacketNetwork, _ names: [String], hosts: String
    ) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        for (index, name) in names.enumerated() {
            let key = String(name.map { "-.".contains($0) ? "_" : $0 })
            environment["LONGHAUL_ADDRESS_\(key)"] = network.address(ofRegion: index)
            environment["LONGHAUL_ENTER_\(key)"] =
                "nsenter --net=/proc/\(ProcessInfo.processInfo.processIdentifier)/fd/"
                + "\(network.namespaces[index].descriptor)"
        }
        environment["LONGHAUL_HOSTS"] = hosts
        return environment
    }

    private func writeHosts(_ network: PacketNetwork, _ names: [String]) throws -> String {
        let path =
            NSTemporaryDirectory()
            + "longhaul-hosts-\(ProcessInfo.processInfo.processIdentifier)"
        try names.enumerated().map { "\(network.address(ofRegion: $0)) \($1)\n" }.joined()
            .write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Until all have ended; a signal is passed on once, and the second one ends them.
    private func wait(for processes: [Process], _ interrupt: Interrupt) {
        var isPassedOn = false
        while processes.contains(where: \.isRunning) {
            if interrupt.isRaised, !isPassedOn {
                isPassedOn = true
                for process in processes where process.isRunning { process.interrupt() }
            }
            usleep(20_000)
        }
    }

    private func report(_ network: PacketNetwork, _ topology: Topology) throws {
        let directions = network.directions
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            Console.error(String(decoding: try encoder.encode(directions), as: UTF8.self))
            return
        }
        Console.error(
            TextTable.render(
                ["link", "packets", "bytes", "lost", "queue full", "longest queue", "late by"],
                directions.map { direction in
                    [
                        "\(direction.from) -> \(direction.to)",
                        Figures.grouped(direction.segments),
                        Figures.bytes(Double(direction.bytesDelivered)),
                        Figures.grouped(direction.packetsLost ?? 0),
                        Figures.grouped(direction.packetsDropped ?? 0),
                        Figures.bytes(Double(direction.peakQueueBytes)),
                        Figures.duration(Double(direction.worstLatenessNanoseconds) / 1e9),
                    ]
                }))
    }
}
