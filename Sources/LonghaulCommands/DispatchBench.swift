import ClusterModel
import Foundation
import NodeRuntime
import Training
import WireProtocol
import ZeroMQ

/// A run of `longhaul bench dispatch`: this process coordinates, each worker is a process of its own.
struct DispatchBench: Sendable {
    let workers: Int
    let request: DispatchWorker.Request
    let isPlain: Bool
    let sameHost: Topology.SameHost

    /// What is printed. Bytes are payloads of tokens, both ways, summed over all workers.
    struct Result: Encodable {
        var workers: Int
        var tokens: Int
        var width: Int
        var experts: Int
        var topK: Int
        var wire: String
        var curve: Bool
        /// How workers reached each other: tcp, ipc, memory.
        var sameHost: String
        var repeats: Int
        /// From the tokens in memory to the sums in memory; the slowest worker's median.
        var secondsMedian: Double
        var secondsMin: Double
        var secondsMax: Double
        /// Rows that left a worker, summed: a token once to each other worker with any of its experts.
        var rowsSent: Int
        /// What they would be with a row for each choice.
        var rowsByChoice: Int
        var bytes: Double
        /// By the rule: rows x (values there + choices + values back).
        var bytesExpected: Int
        /// A row for each choice, both ways, in the same format and without choices.
        var bytesByChoice: Int
        var cpuSeconds: Double
        /// Of all workers' sums.
        var digest: String
        /// Largest deviation from the known sums, as a share of their largest value.
        var error: Double
    }

    private var topology: Topology {
        var topology = Topology(
            regions: [
                Topology.Region(
                    name: "here",
                    workers: (0..<workers).map {
                        Topology.Worker(name: "w\($0)", microBatch: 1, nominalStep: .zero)
                    })
            ], links: [], coordinatorRegion: RegionID(0))
        topology.sameHost = sameHost
        return topology
    }

    private var configuration: RunConfiguration {
        let steps = UInt32(DispatchWorker.warmup + request.repeats)
        var training = RunConfiguration.Training.standard
        // States on disk are no part of an exchange.
        training.checkpointEvery = 0
        return RunConfiguration(
            name: "bench-dispatch", seed: 1, steps: steps, model: .standard, training: training,
            schedule: RunConfiguration.Schedule(
                inner: .everyStep, outer: .diloco, syncEvery: steps, outerLearningRate: 1,
                outerMomentum: 0),
            wire: RunConfiguration.Wire(
                insideRegion: .fp32, betweenRegions: .fp32, errorFeedback: false),
            deadlines: .standard, data: RunConfiguration.Data(path: "/dev/null"))
    }

    func run() throws -> Result {
        let folder = try ScratchFolder("longhaul-bench")
        defer { folder.remove() }
        let interrupt = try Interrupt()
        interrupt.install()
        let keys = try CurveKeyPair.generate()
        var allowed: [CurvePublicKey: String] = [:]
        for seat in topology.seats {
            let pair = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(pair, to: "\(folder.path)/\(seat.worker.name).key")
            allowed[pair.publicKey] = seat.worker.name
        }
        let coordinator = try CoordinatorNode(
            CoordinatorOptions(
                configuration: configuration, topology: topology, keys: keys,
                listen: "tcp://127.0.0.1:*", allowed: allowed, enrolment: nil,
                parameterCount: UInt64(DispatchWorker.elements), run: WallClock.runID()),
            interrupt: interrupt
        ) { event in
            if case .violation(let culprit, let what) = event.event {
                Console.error("longhaul: \(culprit): \(what)")
            }
        }
        var children: [ChildProcess] = []
        defer { for child in children where child.isRunning { child.forceEnd() } }
        for seat in topology.seats {
            children.append(
                try start(seat.worker.name, coordinator.endpoint, keys, folder.path))
        }
        let outcome = try coordinator.run(.note(source: "bench", text: "dispatch")) { _ in
            try BenchWatch.check(children)
        }
        guard outcome.code == .ok else {
            throw Failure(outcome.code, "the run ended: \(outcome.reason)")
        }
        return try summary(try children.map { try result(of: $0) })
    }

    private func start(
        _ name: String, _ endpoint: String, _ keys: CurveKeyPair, _ directory: String
    ) throws -> ChildProcess {
        let shape = request.shape
        var flags = [
            "bench", "dispatch-worker", "--coordinator", endpoint,
            "--coordinator-key=\(keys.publicKey.z85)", "--name", name, "--key",
            "\(directory)/\(name).key", "--tokens", String(shape.tokens), "--width",
            String(shape.width), "--experts", String(shape.experts), "--top-k",
            String(shape.topK), "--wire", "\(request.transform)", "--repeats",
            String(request.repeats),
        ]
        if let order = request.order { flags += ["--order", String(order)] }
        if isPlain { flags.append("--plain") }
        return try ChildProcess(
            name: name, executable: "\(try UpCommand.binaries())/longhaul", arguments: flags)
    }

    private func result(of child: ChildProcess) throws -> DispatchWorker.Result {
        let output = child.remainingOutput()
        guard let result = try? JSONDecoder().decode(DispatchWorker.Result.self, from: output)
        else { throw Failure(.unavailable, "worker '\(child.name)' measured nothing") }
        return result
    }

    private func summary(_ results: [DispatchWorker.Result]) throws -> Result {
        let shape = request.shape
        let medians = results.map { Self.median($0.exchange.seconds) }
        let slowest = medians.indices.max { medians[$0] < medians[$1] } ?? 0
        let seconds = results[slowest].exchange.seconds
        let words = 2 * shape.topK
        let expected = results.flatMap(\.rowsAway).reduce(0) {
            $0 + bytes(rows: $1, words: words) + bytes(rows: $1, words: 0)
        }
        // Each worker's choices of experts elsewhere, seeded: all but those of its own experts.
        let byChoice = results.reduce(0) { $0 + $1.choicesAway }
        return Result(
            workers: workers, tokens: shape.tokens, width: shape.width, experts: shape.experts,
            topK: shape.topK, wire: "\(request.transform)", curve: !isPlain,
            sameHost: sameHost.rawValue,
            repeats: request.repeats, secondsMedian: medians[slowest],
            secondsMin: seconds.min() ?? 0, secondsMax: seconds.max() ?? 0,
            rowsSent: results.flatMap(\.rowsAway).reduce(0, +), rowsByChoice: byChoice,
            bytes: results.reduce(0) { $0 + $1.tokenBytes }, bytesExpected: expected,
            bytesByChoice: 2 * bytes(rows: byChoice, words: 0),
            cpuSeconds: results.reduce(0) { $0 + $1.exchange.cpuSeconds } / Double(workers),
            digest: results.map(\.exchange.digest).joined(separator: " "),
            error: results.map(\.exchange.error).max() ?? 0)
    }

    /// Payload of so many rows to one worker, frame by frame.
    private func bytes(rows: Int, words: Int) -> Int {
        let width = request.shape.width
        let most = Tokens.rowsPerFrame(request.transform, width: width, words: words)
        return stride(from: 0, to: rows, by: most).reduce(0) {
            $0
                + Tokens.payloadBytes(
                    request.transform, rows: min(most, rows - $1), width: width, words: words)
        }
    }

    private static func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }
}
