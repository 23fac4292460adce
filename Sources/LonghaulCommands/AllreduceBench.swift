import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// A run of `longhaul bench allreduce`: this process coordinates, one process per seat exchanges.
struct AllreduceBench {
    /// What is printed. Bytes are of whole frames before encryption, summed over all workers.
    struct Result: Encodable {
        var workers: Int
        var elements: Int
        var wire: String
        var curve: Bool
        var repeats: Int
        var secondsMedian: Double
        var secondsMin: Double
        var secondsMax: Double
        /// Wall time from one exchange to the next, the slowest worker's mean.
        var secondsBackToBack: Double
        /// fp32 bytes of one worker's values over `secondsMedian`.
        var algorithmMegabytesPerSecond: Double
        var bytesOnWire: Double
        /// Of them between regions.
        var bytesBetweenRegions: Double
        var framesOnWire: Double
        /// Frame buffers taken from the system during the measured exchanges, all workers.
        var buffersAllocated: Int
        /// Most frame buffers one worker had in use, in bytes.
        var bufferBytesPeak: Int
        /// Processor seconds of one exchange, mean over the workers.
        var cpuSeconds: Double
        var digest: String
        /// Largest deviation from the known mean, as a share of its largest value.
        var error: Double
    }

    private let topology: Topology
    private let configuration: RunConfiguration
    private let elements: Int
    private let repeats: Int
    private let isPlain: Bool
    private let cluster: ClusterFile?

    init(
        workers: Int, clusterFile: String?, elements: Int, wire: TransformID, repeats: Int,
        isPlain: Bool
    ) throws {
        self.elements = elements
        self.repeats = repeats
        self.isPlain = isPlain
        let steps = UInt32(ExchangeWorker.warmup + repeats)
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
        configuration = RunConfiguration(
            name: "bench-allreduce", seed: 1, steps: steps, model: .standard, training: .standard,
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
        let directory = folder.path
        let keys = try CurveKeyPair.generate()
        var allowed: [CurvePublicKey: String] = [:]
        for seat in topology.seats {
            let pair = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(pair, to: "\(directory)/\(seat.worker.name).key")
            allowed[pair.publicKey] = seat.worker.name
        }
        let interrupt = try Interrupt()
        interrupt.install()
        let coordinator = try CoordinatorNode(
            CoordinatorOptions(
                configuration: configuration, topology: topology, keys: keys,
                listen: "tcp://127.0.0.1:*", allowed: allowed, enrolment: nil,
                parameterCount: UInt64(elements), run: WallClock.runID()),
            interrupt: interrupt
        ) { event in
            if case .violation(let culprit, let what) = event.event {
                Console.error("longhaul: \(culprit): \(what)")
            }
        }
        let links = try startLinks(directory)
        defer { links?.terminate() }
        var children: [ChildProcess] = []
        defer { for child in children where child.isRunning { child.forceEnd() } }
        for seat in topology.seats {
            children.append(
                try start(seat.worker, seat.region, coordinator.endpoint, keys, directory, links))
        }
        let outcome = try coordinator.run(
            .note(source: "bench", text: "allreduce"), tick: { _ in })
        guard outcome.code == .ok else {
            throw Failure(outcome.code, "the run ended: \(outcome.reason)")
        }
        return try summary(try children.map { try result(of: $0) })
    }

    /// The relays of a cluster file; the coordinator is in this process, outside any namespace.
    private func startLinks(_ directory: String) throws -> LocalLinks? {
        guard let cluster else { return nil }
        guard cluster.emulation == .relay else {
            throw Failure(
                .configuration, "bench allreduce crosses relays only, not `emulate: packet`",
                hint: "use longhaul up with this file, or leave `emulate` out")
        }
        return try LocalLinks(
            cluster, directory: directory, binaries: UpCommand.binaries(), started: { _ in })
    }

    private func start(
        _ worker: Topology.Worker, _ region: RegionID, _ endpoint: String, _ keys: CurveKeyPair,
        _ directory: String, _ links: LocalLinks?
    ) throws -> ChildProcess {
        var flags = [
            "bench", "allreduce-worker", "--coordinator", endpoint,
            "--coordinator-key=\(keys.publicKey.z85)", "--name", worker.name, "--region",
            topology.regions[region.index].name, "--key", "\(directory)/\(worker.name).key",
            "--elements", String(elements),
        ]
        if isPlain { flags.append("--plain") }
        flags += links?.proxyFlags(region) ?? []
        return try ChildProcess(
            name: worker.name, executable: "\(try UpCommand.binaries())/longhaul",
            arguments: flags)
    }

    private func result(of child: ChildProcess) throws -> ExchangeResult {
        let output = child.remainingOutput()
        guard let result = try? JSONDecoder().decode(ExchangeResult.self, from: output) else {
            throw Failure(.unavailable, "worker '\(child.name)' measured nothing")
        }
        return result
    }

    private func summary(_ results: [ExchangeResult]) throws -> Result {
        let digests = Set(results.map(\.digest))
        guard let digest = digests.first, digests.count == 1 else {
            throw Failure(.digestMismatch, "workers hold unlike means: \(digests.sorted())")
        }
        let formats = configuration.wire
        let wire = topology.regions.count == 1 ? formats.insideRegion : formats.betweenRegions
        let slowest = results.max { median($0.seconds) < median($1.seconds) }?.seconds ?? []
        let seconds = median(slowest)
        return Result(
            workers: results.count, elements: elements,
            wire: "\(wire)",
            curve: !isPlain, repeats: repeats, secondsMedian: seconds,
            secondsMin: slowest.min() ?? 0, secondsMax: slowest.max() ?? 0,
            secondsBackToBack: results.map(\.secondsBackToBack).max() ?? 0,
            algorithmMegabytesPerSecond: Double(elements) * 4 / seconds / 1e6,
            bytesOnWire: results.reduce(0) { $0 + $1.bytesSent },
            bytesBetweenRegions: results.reduce(0) { $0 + $1.bytesAcross },
            framesOnWire: results.reduce(0) { $0 + $1.framesSent },
            buffersAllocated: results.reduce(0) { $0 + $1.buffersAllocated },
            bufferBytesPeak: (results.map(\.buffersPeak).max() ?? 0) * FramePool.bufferBytes,
            cpuSeconds: results.reduce(0) { $0 + $1.cpuSeconds } / Double(results.count),
            digest: digest, error: results.map(\.error).max() ?? 0)
    }

    private func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }
}
