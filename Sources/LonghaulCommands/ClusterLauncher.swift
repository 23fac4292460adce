import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import ZeroMQ

/// Starts relays, coordinator and workers of one cluster file on this machine, waits for them, and adds
/// the relays' counts to the record.
struct ClusterLauncher {
    let cluster: ClusterFile
    let directory: String
    let binaries: String
    let arguments: [String]
    let isResumed: Bool
    /// Where all processes append their machines' events; nil: nowhere.
    var recordPath: String?

    private var topology: Topology { cluster.topology }

    /// Returns how the run ended: the coordinator's word, or what can be said without it.
    ///
    /// - Throws: `Failure` of a process that could not start or join; all others are stopped then.
    func run(_ say: @escaping (String) -> Void) throws -> (
        code: ClusterModel.ExitCode, reason: String
    ) {
        let interrupt = try Interrupt()
        let children = ChildList()
        interrupt.install(atSecond: { children.forceEnd() })
        var relays: [LocalRelay] = []
        defer { for relay in relays { relay.process.terminate() } }
        for link in topology.links {
            relays.append(try startRelay(link))
            children.add(relays[relays.count - 1].process)
        }
        let keys = try makeKeys()
        let (coordinator, endpoint) = try startCoordinator(keys)
        children.add(coordinator)
        var workers: [ChildProcess] = []
        for seat in topology.seats {
            workers.append(try startWorker(seat, endpoint, keys, relays))
            children.add(workers[workers.count - 1])
        }
        say(
            "coordinator pid \(coordinator.pid), "
                + zip(topology.seats, workers).map { "\($0.worker.name) pid \($1.pid)" }
                .joined(separator: ", "))
        var readings = LinkReadings(relays)
        let watch = ClusterWatch(
            coordinator: coordinator, workers: workers, logPath: "\(directory)/run.sqlite",
            interrupt: interrupt, say: say)
        let failure = watch.run { readings.readIfDue() }
        for relay in relays { relay.process.terminate() }
        waitForEnd(relays.map(\.process), seconds: 5)
        readings.read()
        try record(readings)
        if let failure { throw failure }
        return ending(coordinator)
    }

    // MARK: Starting

    func startRelay(_ link: Topology.Link) throws -> LocalRelay {
        let a = topology.regions[link.a.index].name
        let b = topology.regions[link.b.index].name
        let parameters = LinkParameters(
            bitsPerSecond: link.rate, oneWayNanoseconds: link.oneWayDelay.nanoseconds,
            jitterNanoseconds: link.jitter.nanoseconds, queueLimitBytes: link.queueBytes)
        var configuration = RelayConfiguration(
            regionA: a, regionB: b, aToB: parameters, bToA: parameters,
            seed: cluster.configuration.seed)
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

    /// A key pair for every seat: files of mode 0600 in the run directory, made once.
    private func makeKeys() throws -> [String: CurvePublicKey] {
        var keys: [String: CurvePublicKey] = [:]
        for seat in topology.seats {
            let path = keyPath(seat.worker.name)
            let pair =
                FileManager.default.fileExists(atPath: path)
                ? try CurveKeyFile.readSecret(path) : try CurveKeyPair.generate()
            if !FileManager.default.fileExists(atPath: path) {
                try CurveKeyFile.writeSecret(pair, to: path)
            }
            keys[seat.worker.name] = pair.publicKey
        }
        let names = keys.mapValues(\.z85)
        try JSONEncoder().encode(names).write(to: URL(filePath: "\(directory)/allowed.json"))
        return keys
    }

    private func keyPath(_ name: String) -> String { "\(directory)/worker-\(name).key" }

    private func startCoordinator(
        _ keys: [String: CurvePublicKey]
    ) throws -> (ChildProcess, String) {
        let process = try ChildProcess(
            name: "coordinator", executable: "\(binaries)/longhaul-coordinator",
            arguments: arguments + [
                "--json", "--dir", directory, "--allow", "\(directory)/allowed.json",
                "--machine-readable",
                "--exit-with-parent", "--reported-command",
                CommandLine.arguments.joined(separator: " "),
            ] + (topology.links.isEmpty ? [] : ["--emulated"]) + recordFlags)
        let line = Data((process.readLine() ?? "").utf8)
        guard let object = try? JSONDecoder().decode([String: String].self, from: line),
            let endpoint = object["endpoint"]
        else { throw process.failureAtStart("the coordinator", said: line) }
        return (process, endpoint)
    }

    private func startWorker(
        _ seat: (id: WorkerID, region: RegionID, worker: Topology.Worker), _ endpoint: String,
        _ keys: [String: CurvePublicKey], _ relays: [LocalRelay]
    ) throws -> ChildProcess {
        let name = seat.worker.name
        let server = try CurveKeyFile.readSecret("\(directory)/coordinator.key").publicKey
        var flags =
            [
                "--coordinator", endpoint,
                // Z85 may begin with a hyphen, which would read as an option.
                "--coordinator-key=\(server.z85)", "--name", name, "--region",
                topology.regions[seat.region.index].name, "--key", keyPath(name), "--dir",
                directory,
                "--exit-with-parent", "--json",
            ] + recordFlags
        if isResumed { flags.append("--resume") }
        flags += Self.proxyFlags(seat.region, topology, relays)
        return try ChildProcess(
            name: name, executable: "\(binaries)/longhaul-worker", arguments: flags)
    }

    /// Where a worker of `region` finds the relays it dials through.
    static func proxyFlags(
        _ region: RegionID, _ topology: Topology, _ relays: [LocalRelay]
    ) -> [String] {
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

    private var recordFlags: [String] { recordPath.map { ["--record", $0] } ?? [] }

    // MARK: Ending

    private func waitForEnd(_ processes: [ChildProcess], seconds: Int) {
        for _ in 0..<(seconds * 20) where processes.contains(where: \.isRunning) { usleep(50_000) }
        for process in processes where process.isRunning { process.forceEnd() }
    }

    private func ending(
        _ coordinator: ChildProcess
    ) -> (code: ClusterModel.ExitCode, reason: String) {
        switch coordinator.ending {
        case .code(let code):
            return (ClusterModel.ExitCode(rawValue: code) ?? .unavailable, "the coordinator ended")
        case .signal(let number):
            let resume =
                "longhaul up \(arguments.joined(separator: " ")) --resume \(directory)"
            return (
                .unavailable,
                "the coordinator was killed by signal \(number); continue with: \(resume)"
            )
        case nil: return (.unavailable, "the coordinator still runs")
        }
    }

    // MARK: Recording

    /// What crossed the links, as the relays counted it, and this process's memory.
    private func record(_ readings: LinkReadings) throws {
        let log = try RunLog(path: "\(directory)/run.sqlite")
        for event in readings.events { try log.record(event) }
        let last = readings.events.last?.time ?? .zero
        try log.record(
            StampedEvent(
                time: last, source: "longhaul up",
                event: .peakMemory(process: "longhaul up", bytes: ProcessMemory.peakBytes())))
        try log.close()
    }
}
