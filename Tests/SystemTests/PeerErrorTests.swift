import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing
import ZeroMQ

extension SystemTests {
    /// Debian's interpreter with python3-zmq.
    static let python = "/usr/bin/python3"
    static var hasPython: Bool {
        let process = Process()
        process.executableURL = URL(filePath: python)
        process.arguments = ["-c", "import zmq"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    /// A coordinator with an allow-list, and key files for strangers and friends.
    struct AllowList {
        let directory: String
        let coordinator: Program
        let endpoint: String
        let server: CurvePublicKey

        init(_ scratch: Scratch, names: [String]) async throws {
            let file = try SmallCluster.oneRegion(steps: 60).write(to: scratch)
            directory = scratch.path("coordinator")
            var keys: [String: String] = [:]
            for name in names {
                let pair = try CurveKeyPair.generate()
                try CurveKeyFile.writeSecret(pair, to: scratch.path("\(name).key"))
                keys[name] = pair.publicKey.z85
            }
            let list = scratch.path("allowed.json")
            try JSONEncoder().encode(keys).write(to: URL(filePath: list))
            let program = try Program(
                "longhaul-coordinator",
                [file, "--dir", directory, "--allow", list, "--machine-readable"], in: scratch)
            coordinator = program
            try await program.waitUntil("endpoint") {
                program.output.contains("\n") || !program.isRunning
            }
            let line = try JSONDecoder().decode(
                [String: String].self, from: Data(program.output.utf8))
            endpoint = try #require(line["endpoint"], "\(program.errors)")
            server = try CurveKeyFile.readSecret("\(directory)/coordinator.key").publicKey
            try CurveKeyFile.writePublic(server, to: scratch.path("server.pub"))
        }

        func worker(_ scratch: Scratch, _ name: String, key: String, server: String? = nil) throws
            -> Program
        {
            try Program(
                "longhaul-worker",
                [
                    "--coordinator", endpoint, "--coordinator-key", server ?? self.server.z85,
                    "--name", name, "--key", key, "--dir", scratch.path("state-\(name)"), "--json",
                ], in: scratch)
        }

        /// Says HELLO with the independent implementation; its answer and exit code.
        func hello(
            _ scratch: Scratch, _ name: String, _ more: [String] = []
        ) async throws -> (code: Program.Ending, answer: [String: Any]) {
            let program = try Program(
                SystemTests.python,
                [
                    "\(Binaries.package)/Protocols/python/hello.py", "--endpoint", endpoint,
                    "--server-key", scratch.path("server.pub"), "--key",
                    scratch.path("\(name).key"), "--worker", name,
                ] + more, in: scratch)
            let code = try await program.ending()
            let object = try? JSONSerialization.jsonObject(with: Data(program.output.utf8))
            return (code, object as? [String: Any] ?? [:])
        }
    }

    @Suite("Peers that are wrong") struct Peers {
        @Test("a key that is not on the allow-list, another server's key, another seat's key")
        func keys() async throws {
            try await withScratch { scratch in
                let run = try await AllowList(scratch, names: ["north-1", "north-2"])
                let stranger = scratch.path("stranger.key")
                try CurveKeyFile.writeSecret(try CurveKeyPair.generate(), to: stranger)
                let unknown = try run.worker(scratch, "north-1", key: stranger)
                try await #expect(unknown.ending() == .code(77))
                #expect(try unknown.failure().message.contains("does not know this worker's key"))

                let friend = scratch.path("north-1.key")
                let elsewhere = try run.worker(
                    scratch, "north-1", key: friend,
                    server: try CurveKeyPair.generate().publicKey.z85)
                try await #expect(elsewhere.ending() == .code(77))
                #expect(try elsewhere.failure().message.contains("key is not the expected one"))

                let other = try run.worker(scratch, "north-2", key: friend)
                try await #expect(other.ending() == .code(77), "\(other.errors)")
                #expect(try other.failure().message.contains("refused by the coordinator"))

                // Also one that begins like an option, as one key in 85 does.
                for server in ["not a key", "-ot a key"] {
                    let unreadable = try run.worker(
                        scratch, "north-1", key: friend, server: server)
                    try await #expect(unreadable.ending() == .code(78), "\(unreadable.errors)")
                }
                #expect(run.coordinator.isRunning)
            }
        }

        @Test(
            "another version, a truncated and a bit-flipped frame: refused, and the run goes on",
            .enabled(if: SystemTests.hasPython, "python3-zmq is not installed"))
        func frames() async throws {
            try await withScratch { scratch in
                let run = try await AllowList(scratch, names: ["north-1", "north-2"])
                let cases: [(more: [String], code: Int, says: String)] = [
                    (["--versions", "2-3"], 1, "versions 2...3"),
                    (["--damage", "version"], 1, "unsupportedVersion"),
                    (["--damage", "truncated"], 8, "truncated"),
                    (["--damage", "flipped"], 8, "checksum"),
                ]
                for wanted in cases {
                    let (code, answer) = try await run.hello(scratch, "north-1", wanted.more)
                    #expect(code == .code(1), "\(wanted)")
                    #expect(answer["type"] as? String == "REFUSE", "\(wanted): \(answer)")
                    let fields = try #require(answer["fields"] as? [String: Any])
                    #expect(fields["code"] as? Int == wanted.code, "\(fields)")
                    #expect(
                        (fields["reason"] as? String)?.contains(wanted.says) == true, "\(fields)")
                }
                // Strangers without a key, and such as send no ZMTP at all.
                let port = try #require(
                    run.endpoint.split(separator: ":").last.flatMap { UInt16($0) })
                for bytes in [[UInt8](repeating: 0x41, count: 4_096), [0xFF], []] {
                    try TCPConnection(port: port).send(bytes)
                }
                let (code, answer) = try await run.hello(scratch, "north-1")
                #expect(code == .code(0) && answer["type"] as? String == "WELCOME")
                // The whole run, after all that.
                for name in ["north-1", "north-2"] {
                    _ = try run.worker(scratch, name, key: scratch.path("\(name).key"))
                }
                try await #expect(run.coordinator.ending() == .code(0), "\(run.coordinator.errors)")
                let events = try RunLogReader(path: "\(run.directory)/run.sqlite").events()
                #expect(events.commits.count == 60)
                let violations = events.filter {
                    if case .violation("north-1", _) = $0.event { true } else { false }
                }
                #expect(violations.count == 3)
            }
        }
    }

    @Suite("State on disk") struct State {
        @Test(
            "a damaged, a truncated and a foreign state: 65, nobody waits, nothing is overwritten")
        func damaged() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let run = try Run(scratch, file, ["--steps", "20"])
                try await #expect(run.program.ending() == .code(0))
                let path = "\(run.directory)/worker-south-1.safetensors"
                let sound = try Data(contentsOf: URL(filePath: path))
                var flipped = sound
                flipped[sound.count / 2] ^= 0x10
                let broken: [(Data, String)] = [
                    (flipped, "do not match their digest"), (sound.prefix(sound.count / 2), path),
                    (Data("no safetensors".utf8), path), (Data(), path),
                ]
                for (bytes, says) in broken {
                    try bytes.write(to: URL(filePath: path))
                    let again = try Run(scratch, file, ["--steps", "40"], isResumed: true)
                    try await #expect(
                        again.program.ending() == .code(65), "\(again.program.errors)")
                    let failure = try again.program.failure()
                    #expect(failure.name == "data" && failure.message.contains(says))
                    #expect(failure.message.contains("worker 'south-1'"), "\(failure.message)")
                    #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
                }
                try sound.write(to: URL(filePath: path))
                let seeded = try Run(
                    scratch, file, ["--steps", "40", "--seed", "8"], isResumed: true)
                try await #expect(seeded.program.ending() == .code(65))
                #expect(try seeded.program.failure().message.contains("seed 7"))
                // After all that the sound state still is one.
                let last = try Run(scratch, file, ["--steps", "40"], isResumed: true)
                try await #expect(last.program.ending() == .code(0), "\(last.program.errors)")
                #expect(try last.summary().pool.lastStep == 40)
            }
        }

        @Test("a full disk at a checkpoint: training goes on, the log says so, the old state stays")
        func fullDisk() async throws {
            try await withScratch { scratch in
                guard let disk = try scratch.mountSmallDisk(kilobytes: 2_048) else {
                    print("skipped: mounting a small disk needs root")
                    return
                }
                var cluster = SmallCluster.oneRegion(steps: 300, batches: [2])
                cluster.checkpointEvery = 20
                let run = try await HandStarted(scratch, try cluster.write(to: scratch))
                let log = "\(run.directory)/run.sqlite"
                let worker = try Program(
                    "longhaul-worker", ["--token-file", run.tokenFile, "--dir", disk], in: scratch)
                func events() throws -> [RunEvent] {
                    try RunLogReader(path: log).events().map(\.event)
                }
                try await worker.waitUntil("the first checkpoint") {
                    try events().contains {
                        if case .checkpointWritten = $0 { true } else { false }
                    }
                }
                Self.fill(disk)
                func failures() throws -> Int {
                    try events().count {
                        if case .checkpointFailed = $0 { true } else { false }
                    }
                }
                try await worker.waitUntil("a failed checkpoint") { try failures() >= 1 }
                let path = "\(disk)/worker-north-1.safetensors"
                let kept = try Data(contentsOf: URL(filePath: path))
                #expect(kept.count > 4 * 30_432)
                try await worker.waitUntil("another failed checkpoint") { try failures() >= 2 }
                #expect(try Data(contentsOf: URL(filePath: path)) == kept)
                #expect(worker.errors.contains("failed, training goes on"), "\(worker.errors)")
                #expect(worker.errors.contains("No space left"), "\(worker.errors)")
                // The last state cannot be written either: the worker says so with its code.
                try await #expect(worker.ending() == .code(75), "\(worker.errors)")
                try await #expect(run.coordinator.ending() == .code(0))
                #expect(try RunLogReader(path: log).events().commits.count == 300)
                let names = try FileManager.default.contentsOfDirectory(atPath: disk)
                #expect(!names.contains { $0.contains("tmp") || $0.contains("part") }, "\(names)")
            }
        }

        @Test("a full disk under the record: training goes on, and the coordinator says so")
        func fullRecord() async throws {
            try await withScratch { scratch in
                guard let disk = try scratch.mountSmallDisk(kilobytes: 512) else {
                    print("skipped: mounting a small disk needs root")
                    return
                }
                let file = try SmallCluster.oneRegion(steps: 200, batches: [2]).write(to: scratch)
                let coordinator = try Program(
                    "longhaul-coordinator", [file, "--dir", disk], in: scratch)
                try await coordinator.waitUntil("join token") {
                    coordinator.output.contains("each worker:") || !coordinator.isRunning
                }
                Self.fill(disk)
                let token = scratch.path("token")
                let line = coordinator.output.split(separator: "\n").first { $0.hasPrefix("lh1_") }
                try #require(line).write(toFile: token, atomically: true, encoding: .utf8)
                let worker = try Program(
                    "longhaul-worker", ["--token-file", token, "--dir", scratch.path("w1")],
                    in: scratch)
                try await #expect(worker.ending() == .code(0), "\(worker.errors)")
                // The run is trained; its record is not whole, and that is an error.
                try await #expect(coordinator.ending() == .code(65), "\(coordinator.errors)")
                #expect(coordinator.errors.contains("the run goes on"), "\(coordinator.errors)")
            }
        }

        private static func fill(_ disk: String) {
            let path = "\(disk)/filler"
            _ = FileManager.default.createFile(atPath: path, contents: nil)
            guard let file = FileHandle(forWritingAtPath: path) else { return }
            let block = Data(repeating: 1, count: 4_096)
            while (try? file.write(contentsOf: block)) != nil {}
            try? file.close()
        }
    }
}
