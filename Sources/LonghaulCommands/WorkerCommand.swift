package import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime
import Training
import ZeroMQ

/// `longhaul-worker`: trains, exchanges and reduces for one seat of a run.
package struct WorkerCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "longhaul-worker",
        abstract: "Join a training run as one worker.",
        discussion: """
            EXAMPLES
              longhaul-worker --token-file join.token --region jinan --dir state \\
                --listen 'tcp://0.0.0.0:*' --advertise worker7.example.org
              longhaul-worker --token-file - --dir state < join.token      all on one machine
              longhaul-worker --token-file join.token --dir state --resume
              longhaul-worker --token-file join.token --dir state --dial-out     behind NAT
            """,
        version: Longhaul.version)

    @Option(help: "File with the join token; '-' reads it from standard input.")
    var tokenFile: String?

    @Option(help: "Coordinator's endpoint, instead of a token.")
    var coordinator: String?

    // Unconditional: one key in 85 begins with a hyphen.
    @Option(parsing: .unconditional, help: "Coordinator's public key (Z85), with --coordinator.")
    var coordinatorKey: String?

    @Option(help: "This worker's secret key file (0600); made if it does not exist.")
    var key: String?

    @Option(help: "Seat to take; any free one if not given.")
    var name: String?

    @Option(help: "Region the seat must be in.")
    var region = ""

    @Option(help: "Where peers connect for gradients.")
    var listen = "tcp://127.0.0.1:*"

    @Option(help: "Host name that peers dial, if it is not the listening address.")
    var advertise: String?

    @Flag(
        help: """
            Nobody can dial this worker: offer no port, dial all others and answer on those connections. \
            Two such workers need a third that both can dial.
            """)
    var dialOut = false

    @Option(help: "Directory for state, keys and the model.")
    var dir = "runs/worker"

    @Flag(help: "Start from the state in --dir, if there is one.")
    var resume = false

    @Option(help: "Text on this machine, instead of the path in the run's configuration.")
    var data: String?

    @Option(help: "SOCKS5 proxy for a region's workers: REGION=HOST:PORT. Repeatable.")
    var via: [String] = []

    @Flag(help: "Data lanes without encryption, to measure its cost; all workers of a run alike.")
    var plain = false

    @Option(help: "SOCKS5 proxy for the coordinator: HOST:PORT.")
    var viaCoordinator: String?

    @Option(help: "Append what the machine is told and wants to this file (longhaul replay).")
    var record: String?

    @Flag(help: "Leave when standard input ends (a parent process died).")
    var exitWithParent = false

    @Flag(help: "On failure, print the error as JSON on standard output.")
    var json = false

    package init() {}

    package func run() throws {
        if dialOut {
            guard advertise == nil else {
                throw Failure(
                    .usage, "--dial-out and --advertise contradict each other",
                    hint: "--advertise names a host that others dial; with --dial-out nobody does")
            }
        } else {
            try Reachability.check(listen: listen, advertise: advertise)
        }
        BlasLibrary.reexecIfMisdetected { Console.error("longhaul-worker: \($0)") }
        BlasLibrary.setThreads(1)
        ProcessMemory.keepFreed()
        try FileManager.default.createDirectory(
            atPath: dir, withIntermediateDirectories: true)
        let keys = try loadKeys()
        let interrupt = try Interrupt()
        interrupt.install()
        let contact = try findCoordinator(keys, interrupt)
        if exitWithParent { interrupt.watchParent() }
        let label = contact.name
        var options = WorkerOptions(
            name: contact.name, region: region, coordinator: contact.endpoint,
            coordinatorKey: contact.serverKey, keys: keys, listen: listen,
            advertiseHost: advertise, directory: dir, resume: resume, proxies: try proxies(),
            controlProxy: viaCoordinator, dataPath: data)
        options.dialsOut = dialOut
        options.isPlain = plain
        let recorder = try record.map { try MachineRecorder(path: $0) }
        let node = try WorkerNode(options, interrupt: interrupt, recorder: recorder) { line in
            Console.error("[\(label)] \(line)")
        }
        let outcome = try node.run()
        guard outcome.code == .ok else {
            Console.error("[\(label)] left: \(outcome.reason) (code \(outcome.code.rawValue))")
            throw EndOfRun(code: outcome.code, failure: Failure(outcome.code, outcome.reason))
        }
    }

    private struct Contact {
        var endpoint: String
        var serverKey: CurvePublicKey
        var name: String
    }

    private func findCoordinator(
        _ keys: CurveKeyPair, _ interrupt: Interrupt
    ) throws -> Contact {
        if (coordinator == nil) != (coordinatorKey == nil) {
            throw Failure(.usage, "--coordinator and --coordinator-key belong together")
        }
        if let coordinator, let coordinatorKey {
            guard let name else {
                throw Failure(.usage, "--coordinator needs --name, the seat of the allow-list")
            }
            return Contact(
                endpoint: coordinator, serverKey: try CurvePublicKey(z85: coordinatorKey),
                name: name)
        }
        guard let tokenFile else {
            throw Failure(
                .usage, "which run? give --token-file",
                hint: "longhaul-coordinator prints a join token when it starts")
        }
        let token = try JoinToken(file: tokenFile)
        // A new coordinator process knows no seats: a worker that comes back asks for its own again.
        let seatPath = "\(dir)/seat"
        var remembered: String?
        if let text = try? String(contentsOfFile: seatPath, encoding: .utf8),
            text.contains(token.serverKey.z85)
        {
            remembered = text.split(separator: "\n").first.map(String.init)
        }
        let enrolment = EnrolmentRequest(
            endpoint: token.endpoint, serverKey: token.serverKey,
            tokenKeys: try CurveKeyPair(secretZ85: token.secret), keys: keys,
            name: name ?? remembered ?? "", region: region, proxy: viaCoordinator)
        let seat = try enrolment.run(interrupt)
        try "\(seat)\n\(token.serverKey.z85)\n".write(
            toFile: seatPath, atomically: true, encoding: .utf8)
        return Contact(endpoint: token.endpoint, serverKey: token.serverKey, name: seat)
    }

    private func loadKeys() throws -> CurveKeyPair {
        let path = key ?? "\(dir)/worker.key"
        if FileManager.default.fileExists(atPath: path) {
            return try CurveKeyFile.readSecret(path)
        }
        let keys = try CurveKeyPair.generate()
        try CurveKeyFile.writeSecret(keys, to: path)
        return keys
    }

    private func proxies() throws -> [String: String] {
        var proxies: [String: String] = [:]
        for entry in via {
            let parts = entry.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[1].contains(":") else {
                throw Failure(
                    .usage, "--via \(entry) is not REGION=HOST:PORT",
                    hint: "for example --via jinan=127.0.0.1:41000")
            }
            proxies[String(parts[0])] = String(parts[1])
        }
        return proxies
    }
}
