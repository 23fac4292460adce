import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import Synchronization
import ZeroMQ

/// A run of `longhaul bench allreduce`: this process coordinates, one process per seat exchanges.
struct AllreduceBench: Sendable {
    /// How it is measured.
    struct Method: Sendable {
        var repeats: Int
        var isPlain: Bool
        /// All-reduces at once: each has coordinator and workers of its own, on the same links.
        var inFlight: Int
        /// Of the regions' TCP in packet mode.
        var congestion: String?
    }

    let topology: Topology
    let configuration: RunConfiguration
    let elements: Int
    let method: Method
    let cluster: ClusterFile?

    init(
        workers: Int, clusterFile: String?, elements: Int, wire: TransformID, method: Method
    ) throws {
        self.elements = elements
        self.method = method
        let steps = UInt32(ExchangeWorker.warmup + method.repeats + method.cooldown)
        cluster = try clusterFile.map { try ClusterFile.load(path: $0) }
        topology = Self.unpaced(
            cluster?.topology
                ?? Topology(
                    regions: [
                        Topology.Region(
                            name: "here",
                            workers: (0..<workers).map {
                                Topology.Worker(
                                    name: "w\($0)", microBatch: 1, nominalStep: .zero)
                            })
                    ], links: [], coordinatorRegion: RegionID(0)))
        let isLocal = topology.regions.count == 1
        var training = RunConfiguration.Training.standard
        // States on disk are no part of an exchange.
        training.checkpointEvery = 0
        configuration = RunConfiguration(
            name: "bench-allreduce", seed: 1, steps: steps, model: .standard, training: training,
            // One region: every step is one all-reduce. Several: every step's mean is over the pool.
            schedule: RunConfiguration.Schedule(
                inner: .everyStep, outer: isLocal ? .diloco : .everyStep,
                syncEvery: isLocal ? steps : 1, outerLearningRate: 1, outerMomentum: 0),
            wire: RunConfiguration.Wire(
                insideRegion: isLocal ? wire : .fp32, betweenRegions: isLocal ? .fp32 : wire,
                errorFeedback: false),
            deadlines: .standard, data: RunConfiguration.Data(path: "/dev/null"))
    }

    private static func unpaced(_ topology: Topology) -> Topology {
        var topology = topology
        for region in topology.regions.indices {
            for worker in topology.regions[region].workers.indices {
                topology.regions[region].workers[worker].nominalStep = .zero
            }
        }
        return topology
    }

    func run() throws -> Result {
        let folder = try ScratchFolder("longhaul-bench")
        defer { folder.remove() }
        let links = try startLinks(folder.path)
        defer { links?.terminate() }
        let interrupt = try Interrupt()
        interrupt.install()
        guard method.inFlight > 1 else {
            return try summary([try operate("\(folder.path)", links, interrupt)])
        }
        let outcomes = Mutex<[Swift.Result<[ExchangeResult], any Error>]>([])
        // Each in a thread of its own, because a coordinator's loop belongs to one.
        let ended = DispatchSemaphore(value: 0)
        for index in 0..<method.inFlight {
            let thread = Thread { [self] in
                let outcome = Swift.Result {
                    let path = "\(folder.path)/\(index)"
                    try FileManager.default.createDirectory(
                        atPath: path, withIntermediateDirectories: true)
                    return try operate(path, links, interrupt)
                }
                outcomes.withLock { $0.append(outcome) }
                ended.signal()
            }
            thread.start()
        }
        for _ in 0..<method.inFlight { ended.wait() }
        return try summary(try outcomes.withLock { try $0.map { try $0.get() } })
    }

    /// One series of exchanges; what each worker measured.
    private func operate(
        _ directory: String, _ links: LocalLinks?, _ interrupt: Interrupt
    ) throws -> [ExchangeResult] {
        let keys = try CurveKeyPair.generate()
        var allowed: [CurvePublicKey: String] = [:]
        for seat in topology.seats {
            let pair = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(pair, to: "\(directory)/\(seat.worker.name).key")
            allowed[pair.publicKey] = seat.worker.name
        }
        let home = topology.coordinatorRegion
        let host = links?.address(home) ?? "127.0.0.1"
        let options = CoordinatorOptions(
            configuration: configuration, topology: topology, keys: keys,
            listen: "tcp://\(host):*", allowed: allowed, enrolment: nil,
            parameterCount: UInt64(elements), run: WallClock.runID())
        func makeCoordinator() throws -> CoordinatorNode {
            try CoordinatorNode(options, interrupt: interrupt) { event in
                if case .violation(let culprit, let what) = event.event {
                    Console.error("longhaul: \(culprit): \(what)")
                }
            }
        }
        let coordinator = try links?.inside(home, makeCoordinator) ?? makeCoordinator()
        var children: [ChildProcess] = []
        defer { for child in children where child.isRunning { child.forceEnd() } }
        for seat in topology.seats {
            children.append(
                try start(seat.worker, seat.region, coordinator.endpoint, keys, directory, links))
        }
        let outcome = try coordinator.run(.note(source: "bench", text: "allreduce")) { _ in
            try BenchWatch.check(children)
        }
        guard outcome.code == .ok else {
            throw Failure(outcome.code, "the run ended: \(outcome.reason)")
        }
        return try children.map { try result(of: $0) }
    }

    private func startLinks(_ directory: String) throws -> LocalLinks? {
        guard let cluster else { return nil }
        guard method.congestion == nil || cluster.emulation == .packet else {
            throw Failure(
                .usage, "--congestion needs a cluster file with `emulate: packet`",
                hint: "relays end every TCP connection on this machine's loopback")
        }
        return try LocalLinks(
            cluster, directory: directory, binaries: UpCommand.binaries(),
            congestion: method.congestion, started: { _ in })
    }

    private func start(
        _ worker: Topology.Worker, _ region: RegionID, _ endpoint: String, _ keys: CurveKeyPair,
        _ directory: String, _ links: LocalLinks?
    ) throws -> ChildProcess {
        var flags = [
            "bench", "allreduce-worker", "--coordinator", endpoint,
            "--coordinator-key=\(keys.publicKey.z85)", "--name", worker.name, "--region",
            topology.regions[region.index].name, "--key", "\(directory)/\(worker.name).key",
            "--elements", String(elements), "--repeats", String(method.repeats),
        ]
        if method.isPlain { flags.append("--plain") }
        flags += (links?.listenFlags(region) ?? []) + (links?.proxyFlags(region) ?? [])
        let executable = "\(try UpCommand.binaries())/longhaul"
        return try links?.start(
            name: worker.name, executable: executable, in: region, arguments: flags)
            ?? ChildProcess(name: worker.name, executable: executable, arguments: flags)
    }

    private func result(of child: ChildProcess) throws -> ExchangeResult {
        let output = child.remainingOutput()
        guard let result = try? JSONDecoder().decode(ExchangeResult.self, from: output) else {
            throw Failure(.unavailable, "worker '\(child.name)' measured nothing")
        }
        return result
    }
}

extension AllreduceBench.Method {
    /// Exchanges after the last one that counts: while one operation measures, the others are under way,
    /// also those that began later.
    var cooldown: Int { inFlight > 1 ? 3 : 0 }
}
