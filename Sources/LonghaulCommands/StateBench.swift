import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// A run of `longhaul bench state`: this process coordinates, one process per source holds a state, and one
/// more takes it over.
final class StateBench {
    /// What is printed. Bytes are of the state's values, without frames.
    struct Result: Encodable {
        struct Source: Encodable {
            var name: String
            var bytes: UInt64
        }
        var elements: Int
        var curve: Bool
        var emulated: Bool
        var bytes: UInt64
        /// From the first description of the state to the last digest compared.
        var seconds: Double
        var megabytesPerSecond: Double
        var sources: [Source]
        /// Bytes in place when the plan changed because a source was killed; not fetched again.
        var resumedBytes: UInt64
        var killed: String?
    }

    private let topology: Topology
    private let elements: Int
    private let cluster: ClusterFile?
    /// Seconds after the first plan, if a source is to be killed.
    private let killAfter: Double?
    private var taken: RunEvent.StateTaken?
    private var plannedAt: Instant?
    private var now = Instant.zero

    init(elements: Int, sources: Int, clusterFile: String?, killAfter: Double?) throws {
        self.elements = elements
        self.killAfter = killAfter
        cluster = try clusterFile.map { try ClusterFile.load(path: $0) }
        topology = try Self.topology(cluster, sources: sources)
    }

    /// The last worker of the file joins, the first ones are sources; the rest stays away.
    private static func topology(_ cluster: ClusterFile?, sources: Int) throws -> Topology {
        guard var topology = cluster?.topology else {
            let workers = (0...sources).map {
                Topology.Worker(name: "w\($0)", microBatch: 1, nominalStep: .zero)
            }
            return Topology(
                regions: [Topology.Region(name: "here", workers: workers)], links: [],
                coordinatorRegion: RegionID(0))
        }
        let seats = topology.seats
        guard sources < seats.count, let joiner = seats.last?.worker.name else {
            throw Failure(
                .usage, "--sources \(sources), and the file has \(seats.count) workers",
                hint: "the last worker takes the state over; all others can be sources")
        }
        let kept = seats.prefix(sources).map(\.worker.name) + [joiner]
        for region in topology.regions.indices {
            topology.regions[region].workers.removeAll { !kept.contains($0.name) }
        }
        return topology
    }

    private var configuration: RunConfiguration {
        var deadlines = RunConfiguration.Deadlines.standard
        // After a killed source the rest begins again at once.
        deadlines.gathering = .seconds(1)
        deadlines.minimumWorkers = killAfter == nil ? topology.seats.count : 2
        return RunConfiguration(
            name: "bench-state", seed: 1, steps: StateWorker.steps, model: .standard,
            training: .standard,
            schedule: RunConfiguration.Schedule(
                inner: .everyStep, outer: .diloco, syncEvery: 1, outerLearningRate: 1,
                outerMomentum: 0),
            wire: RunConfiguration.Wire(
                insideRegion: .fp32, betweenRegions: .fp32, errorFeedback: false),
            deadlines: deadlines, data: RunConfiguration.Data(path: "/dev/null"))
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
        ) { self.note($0) }
        let links = try startLinks(directory)
        defer { links?.terminate() }
        var children: [ChildProcess] = []
        defer { for child in children where child.isRunning { child.forceEnd() } }
        for seat in topology.seats {
            children.append(
                try start(seat, coordinator.endpoint, keys, directory, links))
        }
        var killed: String?
        let outcome = try coordinator.run(.note(source: "bench", text: "state")) { time in
            try BenchWatch.check(children.filter { $0.name != killed })
            guard let killAfter, let plannedAt, killed == nil,
                time - plannedAt >= Interval(seconds: killAfter)
            else { return }
            killed = children[0].name
            children[0].forceEnd()
        }
        guard outcome.code == .ok, let taken else {
            throw Failure(
                outcome.code == .ok ? .unavailable : outcome.code,
                "the run ended without a state taken over: \(outcome.reason)")
        }
        return summary(taken, killed)
    }

    private func note(_ stamped: StampedEvent) {
        switch stamped.event {
        case .stateTaken(let state): taken = state
        case .epochStarted: plannedAt = plannedAt ?? stamped.time
        case .violation(let culprit, let what):
            Console.error("longhaul: \(culprit): \(what)")
        default: break
        }
    }

    private func startLinks(_ directory: String) throws -> LocalLinks? {
        guard let cluster else { return nil }
        guard cluster.emulation == .relay else {
            throw Failure(
                .configuration, "bench state crosses relays only, not `emulate: packet`",
                hint: "leave `emulate` out of the file")
        }
        return try LocalLinks(
            cluster, directory: directory, binaries: UpCommand.binaries(), started: { _ in })
    }

    private func start(
        _ seat: (id: WorkerID, region: RegionID, worker: Topology.Worker), _ endpoint: String,
        _ keys: CurveKeyPair, _ directory: String, _ links: LocalLinks?
    ) throws -> ChildProcess {
        var flags = [
            "bench", "state-worker", "--coordinator", endpoint,
            "--coordinator-key=\(keys.publicKey.z85)", "--name", seat.worker.name, "--region",
            topology.regions[seat.region.index].name, "--key",
            "\(directory)/\(seat.worker.name).key", "--elements", String(elements),
        ]
        if Int(seat.id.rawValue) < topology.seats.count - 1 { flags.append("--source") }
        flags += links?.proxyFlags(seat.region) ?? []
        return try ChildProcess(
            name: seat.worker.name, executable: "\(try UpCommand.binaries())/longhaul",
            arguments: flags)
    }

    private func summary(_ taken: RunEvent.StateTaken, _ killed: String?) -> Result {
        let seats = topology.seats
        let seconds = taken.took.seconds
        return Result(
            elements: elements, curve: true, emulated: cluster != nil, bytes: taken.bytes,
            seconds: seconds, megabytesPerSecond: Double(taken.bytes) / seconds / 1e6,
            sources: taken.sources.map {
                Result.Source(name: seats[Int($0.worker.rawValue)].worker.name, bytes: $0.bytes)
            }, resumedBytes: taken.resumedBytes, killed: killed)
    }
}
