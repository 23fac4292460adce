import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// `longhaul bench state`: a state from several peers, worker processes on this machine.
struct BenchStateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state",
        abstract: "A joiner takes over a state from several worker processes.",
        discussion: """
            Coordinator and workers are the shipped ones with CURVE; only the trainer is replaced by one \
            that never trains. The state has five vectors of --elements values. The time runs from the \
            first description of the state to the last digest compared. With \
            --cluster the last worker of the file takes the state over and the first ones are sources.

            EXAMPLES
              longhaul bench state --elements 8388608 --sources 3 --json
              longhaul bench state --elements 2097152 --sources 3 \\
                --cluster docs/benchmarks/state-sources.yaml --json
              longhaul bench state --sources 3 --cluster docs/benchmarks/state-sources.yaml \\
                --kill-after 1.5 --json
            """)

    @Option(help: "Parameters of the model.")
    var elements = 4_194_304

    @Option(help: "Processes that hold the state, 1 to 16.")
    var sources = 2

    @Option(help: "Cluster file: its regions, links emulated by relays.")
    var cluster: String?

    @Option(help: "Kill the first source so many seconds after the plan; the others go on.")
    var killAfter: Double?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (1...16).contains(sources), (1...(1 << 28)).contains(elements) else {
            throw ValidationError("--sources 1 to 16, --elements 1 to 2^28")
        }
        if let killAfter {
            guard killAfter > 0, sources > 1 else {
                throw ValidationError("--kill-after is above 0 and needs two sources or more")
            }
        }
    }

    func run() throws {
        let result = try StateBench(
            elements: elements, sources: sources, clusterFile: cluster, killAfter: killAfter
        ).run()
        guard !json else { return try Console.printJSON(result) }
        let from = result.sources.map { "\($0.name) \(Figures.bytes(Double($0.bytes)))" }
        print(
            "\(Figures.bytes(Double(result.bytes))) in \(Figures.duration(result.seconds)), "
                + "\(Int(result.megabytesPerSecond)) MB/s, from \(from.joined(separator: ", "))"
                + (result.killed.map {
                    "; \($0) was killed, \(Figures.bytes(Double(result.resumedBytes))) stayed in place"
                } ?? "") + (result.emulated ? "; links are emulated" : ""))
    }
}

/// One worker of it; started by the command above.
struct BenchStateWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state-worker", abstract: "One worker of 'bench state'.",
        shouldDisplay: false)

    @OptionGroup var worker: BenchWorkerOptions
    @Flag var source = false

    func run() throws {
        let (options, interrupt) = try worker.prepare()
        let label = worker.name
        try StateWorker.run(
            options, elements: worker.elements, isSource: source, interrupt: interrupt
        ) { line in Console.error("[\(label)] \(line)") }
    }
}
