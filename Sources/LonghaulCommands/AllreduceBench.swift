import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// A run of `longhaul bench allreduce`: this process coordinates, one process per seat exchanges.
struct AllreduceBench: Sendable {
    /// How it is measured.
    struct Method: Sendable {
        var repeats: Int
        var isPlain: Bool
        /// All-reduces under way at once.
        var inFlight: Int
        /// Of the regions' TCP in packet mode.
        var congestion: String?
        /// nil: as the cluster file says.
        var sameHost: Topology.SameHost?
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
        cluster = try clusterFile.map { try ClusterFile.load(path: $0) }
        var topology = Self.unpaced(
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
        topology.sameHost = method.sameHost ?? topology.sameHost
        self.topology = topology
        configuration = Self.configuration(
            method, isLocal: topology.regions.count == 1, wire: wire)
    }

    private static func configuration(
        _ method: Method, isLocal: Bool, wire: TransformID
    ) -> RunConfiguration {
        var training = RunConfiguration.Training.standard
        // States on disk are no part of an exchange.
        training.checkpointEvery = 0
        // Whole intervals, as a cluster file must have them.
        let least = ExchangeWorker.warmup + method.repeats + method.cooldown
        let steps = UInt32((least + method.fragments - 1) / method.fragments * method.fragments)
        var model = RunConfiguration.Model.standard
        model.layers = max(model.layers, method.fragments)
        let fragments = UInt32(method.fragments)
        return RunConfiguration(
            name: "bench-allreduce", seed: 1, steps: steps, model: model, training: training,
            schedule: fragments > 1
                // One fragment leaves after each step; means are due one by one as others leave.
                ? RunConfiguration.Schedule(
                    inner: .none, outer: .streaming, syncEvery: fragments, outerLearningRate: 1,
                    outerMomentum: 0, fragments: method.fragments,
                    overlap: UInt32(method.inFlight) - 1)
                // One region: every step is one all-reduce. Several: every step's mean is over the pool.
                : RunConfiguration.Schedule(
                    inner: .everyStep, outer: isLocal ? .diloco : .everyStep,
                    syncEvery: isLocal ? steps : 1, outerLearningRate: 1, outerMomentum: 0),
            wire: RunConfiguration.Wire(
                insideRegion: isLocal ? wire : .fp32,
                betweenRegions: isLocal && fragments == 1 ? .fp32 : wire,
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
        return try summary(try operate(folder.path, links, interrupt))
    }

    /// All exchanges; what each worker measured.
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
            parameterCount: UInt64(elements * method.fragments), run: WallClock.runID())
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
            "--elements", String(elements * method.fragments), "--repeats",
            String(method.repeats), "--fragments", String(method.fragments),
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
    /// One more than are under way: a fragment leaves again when its last exchange is committed, which takes
    /// a message to the coordinator and one back.
    var fragments: Int { inFlight > 1 ? inFlight + 1 : 1 }

    /// Exchanges after the last one that counts, so that as many are under way when it ends.
    var cooldown: Int { inFlight > 1 ? inFlight + 2 : 0 }
}
