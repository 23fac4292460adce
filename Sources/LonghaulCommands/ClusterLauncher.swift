import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import ZeroMQ

/// Starts links, coordinator and workers of one cluster file on this machine, waits for them, and adds
/// the links' counts to the record.
struct ClusterLauncher {
    let cluster: ClusterFile
    let directory: String
    let binaries: String
    let arguments: [String]
    let isResumed: Bool
    /// Where all processes append their machines' events; nil: nowhere.
    var recordPath: String?
    /// Data lanes are not encrypted.
    var isPlain = false
    /// The run leaves when standard input ends.
    var leavesWithParent = false

    private var topology: Topology { cluster.topology }

    /// Returns how the run ended: the coordinator's word, or what can be said without it.
    ///
    /// - Parameter signals: of a command that goes on afterwards; nil: those of this run alone.
    /// - Throws: `Failure` of a process that could not start or join; all others are stopped then.
    func run(
        _ signals: StopSignals? = nil, _ say: @escaping (String) -> Void
    ) throws -> (code: ClusterModel.ExitCode, reason: String) {
        let signals = try signals ?? StopSignals()
        let (interrupt, children) = (signals.interrupt, signals.children)
        if leavesWithParent { interrupt.watchParent() }
        let links = try LocalLinks(cluster, directory: directory, binaries: binaries) {
            children.add($0)
        }
        defer { links.terminate() }
        let keys = try makeKeys()
        let (coordinator, endpoint) = try startCoordinator(keys, links)
        children.add(coordinator)
        var workers: [ChildProcess] = []
        for seat in topology.seats {
            workers.append(try startWorker(seat, endpoint, keys, links))
            children.add(workers[workers.count - 1])
        }
        say(
            "coordinator pid \(coordinator.pid), "
                + zip(topology.seats, workers).map { "\($0.worker.name) pid \($1.pid)" }
                .joined(separator: ", "))
        var readings = LinkReadings(links.counted)
        let watch = ClusterWatch(
            coordinator: coordinator, workers: workers, logPath: "\(directory)/run.sqlite",
            interrupt: interrupt, say: say)
        let failure = watch.run { readings.readIfDue() }
        links.terminate()
        waitForEnd(links.processes, seconds: 5)
        readings.read()
        try record(readings)
        for child in [coordinator] + workers + links.processes { children.remove(child) }
        if let failure { throw failure }
        return ending(coordinator)
    }

    // MARK: Starting

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
        _ keys: [String: CurvePublicKey], _ links: LocalLinks
    ) throws -> (ChildProcess, String) {
        let process = try links.start(
            name: "coordinator", executable: "\(binaries)/longhaul-coordinator",
            in: topology.coordinatorRegion,
            arguments: arguments + links.listenFlags(topology.coordinatorRegion) + [
                "--json", "--dir", directory, "--allow", "\(directory)/allowed.json",
                "--machine-readable", "--shared-machine",
                "--exit-with-parent", "--reported-command",
                CommandLine.arguments.filter { $0 != UpCommand.parentFlag }
                    .joined(separator: " "),
            ] + (topology.links.isEmpty ? [] : ["--emulated"]) + recordFlags + plainFlag)
        let line = Data((process.readLine() ?? "").utf8)
        guard let object = try? JSONDecoder().decode([String: String].self, from: line),
            let endpoint = object["endpoint"]
        else { throw process.failureAtStart("the coordinator", said: line) }
        return (process, endpoint)
    }

    private func startWorker(
        _ seat: (id: WorkerID, region: RegionID, worker: Topology.Worker), _ endpoint: String,
        _ keys: [String: CurvePublicKey], _ links: LocalLinks
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
            ] + recordFlags + links.listenFlags(seat.region) + links.proxyFlags(seat.region)
        if isResumed { flags.append("--resume") }
        if seat.worker.dialsOut == true { flags.append("--dial-out") }
        flags += plainFlag
        return try links.start(
            name: name, executable: "\(binaries)/longhaul-worker", in: seat.region,
            arguments: flags)
    }

    private var plainFlag: [String] { isPlain ? ["--plain"] : [] }

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
