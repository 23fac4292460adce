package import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import ZeroMQ

/// `longhaul-coordinator`: decides for one run and keeps its record.
package struct CoordinatorCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "longhaul-coordinator",
        abstract: "Coordinate a training run: membership, plans, rounds, record.",
        discussion: """
            EXAMPLES
              longhaul-coordinator Cluster/shanghai-jinan.yaml --listen tcp://0.0.0.0:7700 \\
                --advertise coordinator.example.org
                prints a join token; give it to every worker (longhaul-worker --token-file F)
              longhaul-coordinator run.yaml --dir runs/1 --seed 7
                goes on with a run whose workers start with --resume and the new token
            """,
        version: Longhaul.version)

    @OptionGroup var input: RunFile

    @Option(help: "Where workers connect.")
    var listen = "tcp://127.0.0.1:*"

    @Option(help: "Host name that workers dial, if it is not the listening address.")
    var advertise: String?

    @Option(help: "Directory for the record, the report and keys.")
    var dir = "runs/coordinator"

    @Option(help: "File with known workers' public keys: JSON {\"name\": \"Z85 key\"}.")
    var allow: String?

    @Flag(help: "Print one line of JSON with the endpoint instead of the join token.")
    var machineReadable = false

    @Option(help: "Append what the machine is told and wants to this file (longhaul replay).")
    var record: String?

    @Flag(help: "Leave when standard input ends (a parent process died).")
    var exitWithParent = false

    @Flag(help: "Relays between the regions emulate the links.")
    var emulated = false

    @Flag(help: "All workers run on this machine: the report says what they take of its cores.")
    var sharedMachine = false

    @Flag(
        help: "The workers' data lanes are not encrypted (longhaul-worker --plain): for the record."
    )
    var plain = false

    @Option(help: "Command line to be shown in the report.")
    var reportedCommand: String?

    @Flag(help: "On failure, print the error as JSON on standard output.")
    var json = false

    package init() {}

    package func run() throws {
        try Reachability.check(listen: listen, advertise: advertise)
        let cluster = try input.load()
        try FileManager.default.createDirectory(
            atPath: dir, withIntermediateDirectories: true)
        let keys = try loadKeys()
        let enrolment = allow == nil ? try CurveKeyPair.generate() : nil
        let log = try RunLog(path: "\(dir)/run.sqlite")
        let interrupt = try Interrupt()
        interrupt.install()
        var printer = ProgressPrinter(
            style: OutputStyle(
                isTerminal: Console.errorIsTerminal,
                environment: ProcessInfo.processInfo.environment),
            write: Console.write)
        let parameters = cluster.configuration.model.parameterCount
        let options = CoordinatorOptions(
            configuration: cluster.configuration, topology: cluster.topology, keys: keys,
            listen: listen, allowed: try loadAllowed(), enrolment: enrolment,
            parameterCount: parameters, run: WallClock.runID())
        var hasWarned = false
        let recorder = try record.map { try MachineRecorder(path: $0) }
        let node = try CoordinatorNode(options, interrupt: interrupt, recorder: recorder) { event in
            printer.consume(event)
            do {
                try log.record(event)
                hasWarned = false
            } catch {
                // The record suffers, not the run. The log keeps the latest events and tries again.
                guard !hasWarned else { return }
                hasWarned = true
                Console.error("longhaul-coordinator: \(error); the run goes on")
            }
        }
        try announce(node.endpoint, keys, enrolment)
        if exitWithParent { interrupt.watchParent() }
        let outcome = try node.run(
            .runStarted(started(cluster, options)),
            tick: { now in
                printer.tick(now: now)
                try? log.flush()
            })
        printer.finish()
        // A record that is not whole is an error, but never in the place of the run's own.
        var recordFailure: Failure?
        do {
            try log.close()
            if !machineReadable {
                try ReportFiles(directory: dir).write()
                print(try ReportFiles(directory: dir).text())
            }
        } catch {
            recordFailure = Failure(.data, "the record is incomplete: \(error)")
        }
        guard outcome.code == .ok else {
            Console.error("run ended: \(outcome.reason)")
            throw EndOfRun(code: outcome.code, failure: Failure(outcome.code, outcome.reason))
        }
        if let recordFailure { throw recordFailure }
    }

    private func started(
        _ cluster: ClusterFile, _ options: CoordinatorOptions
    ) -> RunEvent.RunStarted {
        var started = RunEvent.RunStarted(
            run: options.run, version: Longhaul.version,
            command: reportedCommand.map { [$0] } ?? CommandLine.arguments,
            configuration: cluster.configuration, topology: cluster.topology, emulated: emulated,
            curve: !plain, parameterCount: options.parameterCount,
            machine: MachineDescription.text)
        if emulated { started.emulation = cluster.emulation.rawValue }
        if sharedMachine { started.sharedCores = ProcessInfo.processInfo.activeProcessorCount }
        return started
    }

    /// The coordinator's key pair stays with the directory, so that workers know it after a restart.
    private func loadKeys() throws -> CurveKeyPair {
        let path = "\(dir)/coordinator.key"
        if FileManager.default.fileExists(atPath: path) {
            return try CurveKeyFile.readSecret(path)
        }
        let keys = try CurveKeyPair.generate()
        try CurveKeyFile.writeSecret(keys, to: path)
        return keys
    }

    private func loadAllowed() throws -> [CurvePublicKey: String] {
        guard let allow else { return [:] }
        guard let data = FileManager.default.contents(atPath: allow),
            let names = try? JSONDecoder().decode([String: String].self, from: data)
        else {
            throw Failure(
                .configuration, "cannot read the allow-list '\(allow)'",
                hint: "expected JSON: {\"worker name\": \"public key in Z85\"}")
        }
        var allowed: [CurvePublicKey: String] = [:]
        for (name, key) in names { allowed[try CurvePublicKey(z85: key)] = name }
        return allowed
    }

    private func announce(
        _ endpoint: String, _ keys: CurveKeyPair, _ enrolment: CurveKeyPair?
    ) throws {
        guard !machineReadable else {
            print("{\"endpoint\":\"\(endpoint)\"}")
            fflush(nil)
            return
        }
        let port = endpoint.split(separator: ":").last.map(String.init) ?? ""
        let dialled = advertise.map { "tcp://\($0):\(port)" } ?? endpoint
        let reachable = advertise == nil ? "" : " --listen 'tcp://0.0.0.0:*' --advertise ITS-HOST"
        guard let enrolment else {
            print(
                "each worker:  longhaul-worker --coordinator \(dialled) "
                    + "--coordinator-key='\(keys.publicKey.z85)' --name SEAT --key FILE --dir DIR"
                    + reachable)
            fflush(nil)
            return
        }
        let token = JoinToken(
            endpoint: dialled, serverKey: keys.publicKey, secret: enrolment.secretZ85)
        print("join token (secret; for every worker, until this coordinator ends):\n\(token.text)")
        print("each worker:  longhaul-worker --token-file FILE --dir DIR\(reachable)")
        fflush(nil)
    }
}
