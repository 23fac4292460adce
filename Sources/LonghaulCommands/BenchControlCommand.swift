import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime
import Synchronization
import ZeroMQ

/// `longhaul bench control`: one coordinator, many real connections.
struct BenchControlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control",
        abstract: "One coordinator with many CURVE connections: round trips, rate, memory.",
        discussion: """
            This process is the shipped coordinator; a second one holds the connections. As many as a \
            plan can hold are members that heartbeat; the rest are guests whose heartbeats are refused. \
            With --saturate an all-reduce of two more processes takes what it can get of the processors \
            and of loopback all the while.

            EXAMPLES
              longhaul bench control --members 2000 --json
              longhaul bench control --members 2000 --saturate --json
            """)

    @Option(help: "Connections, 1 to 8000.")
    var members = 2_000

    @Option(help: "Seconds of each of the two phases.")
    var seconds = 10

    @Flag(help: "An all-reduce of 16 MiB, back to back, runs beside it.")
    var saturate = false

    @Flag(help: "Print one JSON object.")
    var json = false

    /// Members of the plan, at most: their seats must fit WELCOME, and they PLAN.
    static let seats = 256

    struct Result: Encodable {
        var load: ControlLoad
        /// Whether an all-reduce ran from before the first connection to after the last message.
        var saturated: Bool
        var evictions: Int
        var violations: Int
        var coordinatorPeakBytes: UInt64
        var coordinatorCpuSeconds: Double
    }

    func validate() throws {
        guard (1...8_000).contains(members), (1...600).contains(seconds) else {
            throw ValidationError("--members 1 to 8000, --seconds 1 to 600")
        }
    }

    func run() throws {
        let folder = try ScratchFolder("longhaul-control")
        defer { folder.remove() }
        let topology = Self.topology(min(members, Self.seats))
        let keys = try CurveKeyPair.generate()
        var allowed: [CurvePublicKey: String] = [:]
        for name in topology.seats.map(\.worker.name) + ["guest"] {
            let pair = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(pair, to: "\(folder.path)/\(name).key")
            allowed[pair.publicKey] = name
        }
        let data = try saturate ? Self.startExchanges() : nil
        defer { data?.forceEnd() }
        let interrupt = try Interrupt()
        interrupt.install()
        let counts = Mutex((evictions: 0, violations: 0))
        let isOver = Atomic<Bool>(false)
        let coordinator = try CoordinatorNode(
            CoordinatorOptions(
                configuration: Self.configuration(topology), topology: topology, keys: keys,
                listen: "tcp://127.0.0.1:*", allowed: allowed, enrolment: nil, parameterCount: 1,
                run: WallClock.runID()), interrupt: interrupt
        ) { event in
            guard !isOver.load(ordering: .acquiring) else { return }
            if case .workerEvicted = event.event { counts.withLock { $0.evictions += 1 } }
            if case .violation = event.event { counts.withLock { $0.violations += 1 } }
        }
        let child = try ChildProcess(
            name: "clients", executable: "\(try UpCommand.binaries())/longhaul",
            arguments: [
                "bench", "control-clients", "--coordinator", coordinator.endpoint,
                "--coordinator-key=\(keys.publicKey.z85)", "--folder", folder.path,
                "--seats", String(topology.seats.count), "--connections", String(members),
                "--seconds", String(seconds),
            ])
        defer { child.forceEnd() }
        let line = Mutex<String?>(nil)
        let reader = ChildReader(child) { text in
            isOver.store(true, ordering: .releasing)
            line.withLock { $0 = text }
            interrupt.raise()
        }
        _ = try withExtendedLifetime(reader) {
            try coordinator.run(.note(source: "bench", text: "control")) { _ in
                try BenchWatch.checkReaders()
            }
        }
        guard let text = line.withLock({ $0 }),
            let load = try? JSONDecoder().decode(ControlLoad.self, from: Data(text.utf8))
        else { throw Failure(.unavailable, "the clients measured nothing") }
        if let data, !data.isRunning {
            throw Failure(
                .unavailable, "the all-reduce beside it ended too soon")
        }
        let found = counts.withLock { $0 }
        try show(
            Result(
                load: load, saturated: data != nil, evictions: found.evictions,
                violations: found.violations,
                coordinatorPeakBytes: ProcessMemory.peakBytes(),
                coordinatorCpuSeconds: ProcessTime.cpuSeconds()))
    }

    /// More exchanges than fit in any measurement; its workers end with it.
    private static func startExchanges() throws -> ChildProcess {
        try ChildProcess(
            name: "exchanges", executable: "\(try UpCommand.binaries())/longhaul",
            arguments: ["bench", "allreduce", "--repeats", "100000", "--json"])
    }

    private func show(_ result: Result) throws {
        guard !json else { return try Console.printJSON(result) }
        let load = result.load
        print(
            "\(load.connections) connections (\(load.members) members) in "
                + "\(load.secondsToConnect) s; one a second each: p99 "
                + "\(load.paced?.millisecondsP99 ?? 0) ms; flooded: "
                + "\(Int(load.flooded?.messagesPerSecond ?? 0)) messages/s, members' p99 "
                + "\(load.memberMillisecondsP99WhileFlooded) ms; \(result.evictions) evictions; "
                + "\(result.coordinatorPeakBytes >> 20) MiB")
    }

    private static func topology(_ seats: Int) -> Topology {
        Topology(
            regions: [
                Topology.Region(
                    name: "here",
                    workers: (0..<seats).map {
                        Topology.Worker(name: "w\($0)", microBatch: 1, nominalStep: .zero)
                    })
            ], links: [], coordinatorRegion: RegionID(0))
    }

    private static func configuration(_ topology: Topology) -> RunConfiguration {
        var deadlines = RunConfiguration.Deadlines.standard
        deadlines.minimumWorkers = topology.seats.count
        deadlines.gathering = .seconds(120)
        return RunConfiguration(
            name: "bench-control", seed: 1, steps: 1, model: .standard, training: .standard,
            schedule: RunConfiguration.Schedule(
                inner: .everyStep, outer: .diloco, syncEvery: 1, outerLearningRate: 1,
                outerMomentum: 0),
            wire: RunConfiguration.Wire(insideRegion: .fp32, betweenRegions: .fp32),
            deadlines: deadlines, data: RunConfiguration.Data(path: "/dev/null"))
    }
}

/// Reads a child's first line on a thread of its own.
private final class ChildReader: @unchecked Sendable {
    // Used by that thread alone from here on.
    private let child: ChildProcess

    init(_ child: ChildProcess, _ take: @escaping @Sendable (String?) -> Void) {
        self.child = child
        let thread = Thread { [self] in
            take(self.child.readLine())
            // Its connections break: nobody waits for their farewell.
            self.child.forceEnd()
        }
        thread.name = "clients"
        thread.start()
    }
}

/// The connections; started by the command above.
struct BenchControlClientsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control-clients", abstract: "The connections of 'bench control'.",
        shouldDisplay: false)

    @Option var coordinator: String
    @Option var coordinatorKey: String
    @Option var folder: String
    @Option var seats: Int
    @Option var connections: Int
    @Option var seconds: Int

    func run() throws {
        let clients = try ControlClients(
            endpoint: coordinator, server: try CurvePublicKey(z85: coordinatorKey),
            connections: connections)
        let members = try (0..<seats).map {
            (name: "w\($0)", keys: try CurveKeyFile.readSecret("\(folder)/w\($0).key"))
        }
        let load = try clients.measure(
            members: members, guest: try CurveKeyFile.readSecret("\(folder)/guest.key"),
            seconds: seconds)
        print(String(decoding: try JSONEncoder().encode(load), as: UTF8.self))
        fflush(nil)
        // The connections stand until the parent has closed the book.
        while let data = try? FileHandle.standardInput.read(upToCount: 1), !data.isEmpty {}
    }
}
