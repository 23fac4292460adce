import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// `longhaul bench allreduce`: the real data plane, worker processes on this machine.
struct BenchAllreduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allreduce",
        abstract: "All-reduce between worker processes: encode, send, reduce, send, decode.",
        discussion: """
            Coordinator and workers are the shipped ones; only the trainer is replaced by one that does \
            nothing between two exchanges, and chunks are not compressed after their transform. A time \
            runs from the gradient in memory to the mean in its place; seconds_median is the slowest \
            worker's.

            EXAMPLES
              longhaul bench allreduce --workers 4 --elements 4194304 --json
              longhaul bench allreduce --workers 4 --elements 16777216 --wire int8 --plain --json
              longhaul bench allreduce --cluster Cluster/every-step.yaml --elements 1048576 --json
              longhaul bench allreduce --cluster packet.yaml --in-flight 2 --congestion bbr --json
            """)

    @Option(help: "Worker processes, 1 to 64; with --cluster the file decides.")
    var workers = 2

    @Option(help: "Values each worker contributes.")
    var elements = 4_194_304

    @Option(help: "fp32, bf16, fp16, int8, int4 or e3m0.")
    var wire = "fp32"

    @Option(help: "Measured exchanges; \(ExchangeWorker.warmup) more go before them.")
    var repeats = 31

    @Option(help: "Cluster file: its regions, links emulated as it says (relay or packet).")
    var cluster: String?

    @Option(
        help: """
            All-reduces under way at once, 1 to 4: each is of a fragment of its own, and leaves while the \
            others are on their way.
            """)
    var inFlight = 1

    @Option(help: "TCP congestion control of packet mode's regions: cubic, bbr, reno.")
    var congestion: String?

    @Option(
        help: """
            How workers of a region reach each other: tcp, ipc (Unix sockets), memory (shared); tcp, or as \
            the cluster file says.
            """)
    var sameHost: Topology.SameHost?

    @Flag(help: "Plain sockets between workers: no CURVE.")
    var plain = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (1...64).contains(workers), (1...(1 << 28)).contains(elements),
            (1...100_000).contains(repeats), (1...4).contains(inFlight)
        else {
            throw ValidationError(
                "--workers 1 to 64, --elements 1 to 2^28, --repeats 1 to 100000, --in-flight 1 to 4"
            )
        }
        guard congestion == nil || cluster != nil else {
            throw ValidationError("--congestion is for a --cluster with `emulate: packet`.")
        }
    }

    func run() throws {
        guard let transform = TransformID.allCases.first(where: { "\($0)" == wire }) else {
            let known = TransformID.allCases.map { "\($0)" }.joined(separator: ", ")
            throw Failure(.usage, "unknown wire '\(wire)'", hint: known)
        }
        let bench = try AllreduceBench(
            workers: workers, clusterFile: cluster, elements: elements, wire: transform,
            method: AllreduceBench.Method(
                repeats: repeats, isPlain: plain, inFlight: inFlight, congestion: congestion,
                sameHost: sameHost))
        let result = try bench.run()
        guard !json else { return try Console.printJSON(result) }
        print(
            "\(result.workers) workers, \(result.elements) values, \(wire), "
                + "\(plain ? "plain" : "CURVE"): median \(result.secondsMedian * 1e3) ms "
                + "[\(result.secondsMin * 1e3)...\(result.secondsMax * 1e3)], "
                + "\(Int(result.algorithmMegabytesPerSecond)) MB/s, "
                + "\(result.bytesOnWire) bytes on the wire, \(result.cpuSeconds) CPU seconds each, "
                + "digest \(result.digest)")
    }
}

/// One worker of it; started by the command above.
struct BenchAllreduceWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allreduce-worker", abstract: "One worker of 'bench allreduce'.",
        shouldDisplay: false)

    @OptionGroup var worker: BenchWorkerOptions
    @Option var repeats: Int
    @Option var fragments: Int

    func run() throws {
        let (options, interrupt) = try worker.prepare()
        let label = worker.name
        let result = try ExchangeWorker.run(
            options, elements: worker.elements, repeats: repeats, fragments: fragments,
            interrupt: interrupt
        ) { line in Console.error("[\(label)] \(line)") }
        print(String(decoding: try JSONEncoder().encode(result), as: UTF8.self))
    }
}
