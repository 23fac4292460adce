import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime
import Training
import WireProtocol
import ZeroMQ

extension Topology.SameHost: ExpressibleByArgument {}

/// `longhaul bench dispatch`: tokens to experts and back, worker processes on this machine.
struct BenchDispatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispatch",
        abstract: "Tokens to the experts of other worker processes, and their sums back.",
        discussion: """
            Coordinator, workers and lanes are the shipped ones; the trainer is replaced by one whose \
            experts multiply by a constant. Every worker has --tokens tokens, routed at random to --top-k \
            of --experts experts, which are spread over the workers. A time runs from the tokens in \
            memory to the sums in memory: dispatch, experts, combine; seconds_median is the slowest \
            worker's. A token travels once to each worker that holds any of its experts.

            EXAMPLES
              longhaul bench dispatch --workers 2 --tokens 4096 --width 512 --top-k 2 --plain --json
              longhaul bench dispatch --workers 4 --wire int8 --plain --json
              longhaul bench dispatch --workers 4 --same-host memory --plain --json
            """)

    @Option(help: "Worker processes, 2 to 16.")
    var workers = 2

    @Option(help: "Tokens of each worker.")
    var tokens = 4_096

    @Option(help: "Values of a token, a multiple of 8.")
    var width = 512

    @Option(help: "Experts in all, at least one for each worker.")
    var experts = 8

    @Option(help: "Experts a token goes to.")
    var topK = 2

    @Option(help: "fp32, bf16, fp16 or int8.")
    var wire = "fp32"

    @Option(help: "Measured exchanges; \(DispatchWorker.warmup) more go before them.")
    var repeats = 31

    @Option(help: "Hand frames to the trainer in an order of this seed: the digest stays as it is.")
    var order: UInt64?

    @Option(help: "How workers reach each other: tcp, ipc (Unix sockets), memory (shared).")
    var sameHost = Topology.SameHost.tcp

    @Flag(help: "No CURVE between workers.")
    var plain = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (2...16).contains(workers), (1...65_536).contains(tokens),
            (8...16_384).contains(width), width % 8 == 0, (1...100_000).contains(repeats)
        else {
            throw ValidationError(
                "--workers 2 to 16, --tokens 1 to 65536, --width a multiple of 8 to 16384, "
                    + "--repeats 1 to 100000")
        }
        guard (workers...1_024).contains(experts), (1...min(64, experts)).contains(topK) else {
            throw ValidationError(
                "--experts \(workers) (one for each worker) to 1024, --top-k 1 to 64 of them")
        }
    }

    func run() throws {
        let result = try DispatchBench(
            workers: workers,
            request: DispatchWorker.Request(
                shape: DispatchRun.Shape(
                    tokens: tokens, width: width, experts: experts, topK: topK),
                transform: try Self.transform(wire), repeats: repeats, order: order),
            isPlain: plain, sameHost: sameHost
        ).run()
        guard !json else { return try Console.printJSON(result) }
        let bytes = Figures.bytes(result.bytes)
        print(
            "\(workers) workers, \(tokens) tokens of \(width), top-\(topK), \(wire), "
                + "\(plain ? "plain" : "CURVE"), \(sameHost.rawValue): "
                + "median \(result.secondsMedian * 1e3) ms "
                + "[\(result.secondsMin * 1e3)...\(result.secondsMax * 1e3)], \(bytes) both ways "
                + "(a row for each choice: \(Figures.bytes(Double(result.bytesByChoice)))), "
                + "error \(result.error)")
    }

    static func transform(_ wire: String) throws -> TransformID {
        let known = TransformID.allCases.filter(Tokens.permits)
        guard let transform = known.first(where: { "\($0)" == wire }) else {
            throw Failure(
                .usage, "tokens do not travel as '\(wire)'",
                hint: known.map { "\($0)" }.joined(separator: ", "))
        }
        return transform
    }
}

/// One worker of it; started by the command above.
struct BenchDispatchWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispatch-worker", abstract: "One worker of 'bench dispatch'.",
        shouldDisplay: false)

    @Option var coordinator: String
    @Option var coordinatorKey: String
    @Option var name: String
    @Option var key: String
    @Option var tokens: Int
    @Option var width: Int
    @Option var experts: Int
    @Option var topK: Int
    @Option var wire: String
    @Option var repeats: Int
    @Option var order: UInt64?
    @Flag var plain = false

    func run() throws {
        ProcessMemory.keepFreed()
        let interrupt = try Interrupt()
        interrupt.install()
        interrupt.watchParent()
        var options = WorkerOptions(
            name: name, region: "here", coordinator: coordinator,
            coordinatorKey: try CurvePublicKey(z85: coordinatorKey),
            keys: try CurveKeyFile.readSecret(key),
            directory: URL(filePath: key).deletingLastPathComponent().path)
        options.isPlain = plain
        let label = name
        let request = DispatchWorker.Request(
            shape: DispatchRun.Shape(tokens: tokens, width: width, experts: experts, topK: topK),
            transform: try BenchDispatchCommand.transform(wire), repeats: repeats, order: order)
        let result = try DispatchWorker.run(options, request, interrupt: interrupt) { line in
            Console.error("[\(label)] \(line)")
        }
        print(String(decoding: try JSONEncoder().encode(result), as: UTF8.self))
    }
}
