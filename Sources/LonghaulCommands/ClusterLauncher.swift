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

    private var topology: Topology { cluster.topology }

    /// Returns how the run ended: the coordinator's word, or what can be said without it.
    func run(_ say: @escaping (String) -> Void) throws -> (
        code: ClusterModel.ExitCode, reason: String
    ) {
        let interrupt = try Interrupt()
        interrupt.install()
        var relays: [LocalRelay] = []
        defer { for relay in relays { relay.process.terminate() } }
        for link in topology.links { relays.append(try startRelay(link)) }
        let keys = try makeKeys()
        let (coordinator, endpoint) = try startCoordinator(keys)
        var workers: [ChildProcess] = []
        for seat in topology.seats {
            workers.append(try startWorker(seat, endpoint, keys, relays))
        }
        say(
            "coordinator pid \(coordinator.pid), "
                + zip(topology.seats, workers).map { "\($0.worker.name) pid \($1.pid)" }
                .joined(separator: ", "))
        var readings = LinkReadings(relays)
        watch(coordinator, workers, interrupt, &readings, say)
        for relay in relays { relay.process.terminate() }
        waitForEnd(relays.map(\.process), seconds: 5)
        readings.read()
        try record(readings)
        return ending(coordinator, workers)
    }

    // MARK: Starting

    private func startRelay(_ link: Topology.Link) throws -> LocalRelay {
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
        else { throw Failure(.unavailable, "the relay of link \(a)-\(b) did not start") }
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
                "--dir", directory, "--allow", "\(directory)/allowed.json", "--machine-readable",
                "--exit-with-parent", "--reported-command",
                CommandLine.arguments.joined(separator: " "),
            ] + (topology.links.isEmpty ? [] : ["--emulated"]))
        guard let line = process.readLine(),
            let object = try? JSONDecoder().decode([String: String].self, from: Data(line.utf8)),
            let endpoint = object["endpoint"]
        else { throw Failure(.unavailable, "the coordinator did not start; see above") }
        return (process, endpoint)
    }

    private func startWorker(
        _ seat: (id: WorkerID, region: RegionID, worker: Topology.Worker), _ endpoint: String,
        _ keys: [String: CurvePublicKey], _ relays: [LocalRelay]
    ) throws -> ChildProcess {
        let name = seat.worker.name
        let server = try CurveKeyFile.readSecret("\(directory)/coordinator.key").publicKey
        var flags = [
            "--coordinator", endpoint, "--coordinator-key", server.z85, "--name", name, "--region",
            topology.regions[seat.region.index].name, "--key", keyPath(name), "--dir", directory,
            "--exit-with-parent",
        ]
        if isResumed { flags.append("--resume") }
        for relay in relays where relay.link.a == seat.region || relay.link.b == seat.region {
            let isA = relay.link.a == seat.region
            let other = isA ? relay.link.b : relay.link.a
            let proxy = "127.0.0.1:\(isA ? relay.ports.aPort : relay.ports.bPort)"
            flags += ["--via", "\(topology.regions[other.index].name)=\(proxy)"]
            // Control of other regions crosses the link to the coordinator's region too.
            if other == topology.coordinatorRegion { flags += ["--via-coordinator", proxy] }
        }
        return try ChildProcess(
            name: name, executable: "\(binaries)/longhaul-worker", arguments: flags)
    }

    // MARK: Watching

    private func watch(
        _ coordinator: ChildProcess, _ workers: [ChildProcess], _ interrupt: Interrupt,
        _ readings: inout LinkReadings, _ say: (String) -> Void
    ) {
        var told: [String] = []
        while coordinator.isRunning || workers.contains(where: \.isRunning) {
            usleep(50_000)
            readings.readIfDue()
            if interrupt.isRaised, !interrupt.isHandled {
                interrupt.markHandled()
                say("stopping in order; once more stops at once")
                for child in coordinator.isRunning ? [coordinator] : workers { child.interrupt() }
            }
            for child in [coordinator] + workers where !told.contains(child.name) {
                guard let ending = child.ending else { continue }
                told.append(child.name)
                if case .signal(let number) = ending {
                    say("\(child.name) was killed by signal \(number)")
                }
            }
        }
    }

    private func waitForEnd(_ processes: [ChildProcess], seconds: Int) {
        for _ in 0..<(seconds * 20) where processes.contains(where: \.isRunning) { usleep(50_000) }
        for process in processes where process.isRunning { process.forceEnd() }
    }

    private func ending(
        _ coordinator: ChildProcess, _ workers: [ChildProcess]
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
