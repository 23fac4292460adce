import ClusterModel
import Foundation
import Testing

extension SystemTests {
    @Suite("Mistakes on the command line") struct Mistakes {
        @Test("unknown options, commands and values")
        func usage() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                try await check(
                    scratch, ["up", file, "--bogus"], 2, "Unknown option '--bogus'",
                    hint: "longhaul up --help")
                try await check(scratch, ["up", file, "--seed", "x"], 2, "'x' is invalid")
                try await check(
                    scratch, ["up", file, "--steps", "0"], 2, "--steps 0", hint: "at least 1")
                try await check(scratch, ["bench", "train", "--steps", "0"], 2, "at least 1")
                try await check(
                    scratch, ["--dir", "state"], 2, "which run?", hint: "join token",
                    binary: "longhaul-worker")
                try await check(
                    scratch, [file, "--bogus"], 2, "Unknown option", binary: "longhaul-coordinator")
            }
        }

        @Test("a cluster file with mistakes, or none")
        func clusterFile() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let text = try String(contentsOfFile: file, encoding: .utf8)
                let misspelt = scratch.path("misspelt.yaml")
                try text.replacingOccurrences(of: "steps: 60", with: "stepz: 60")
                    .write(toFile: misspelt, atomically: true, encoding: .utf8)
                for command in ["up", "check"] {
                    try await check(
                        scratch, [command, misspelt], 78,
                        "misspelt.yaml:2: stepz: unknown key `stepz`; did you mean `steps`?")
                    try await check(
                        scratch, [command, "nowhere.yaml"], 78, "there is no such file")
                }
                try await check(
                    scratch, ["nowhere.yaml"], 78, "there is no such file",
                    binary: "longhaul-coordinator")
            }
        }

        @Test("a text that is missing, or too short")
        func trainingText() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                try await check(
                    scratch, ["up", file, "--data", "/nowhere.txt"], 65, "'/nowhere.txt'",
                    hint: "--data")
                let short = scratch.path("short.txt")
                try "too short".write(toFile: short, atomically: true, encoding: .utf8)
                // Only a worker notices: the launcher must not wait for the others for ever.
                try await check(
                    scratch, ["up", file, "--data", short, "--dir", scratch.path("run")], 65, short)
            }
        }

        @Test("a run directory that is missing, and a record that is damaged")
        func runDirectory() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                try await check(
                    scratch, ["up", file, "--resume", scratch.path("none")], 65, "to resume")
                try await check(
                    scratch, ["report", scratch.path("none")], 65, "no run record",
                    hint: "longhaul up")
                let damaged = scratch.path("damaged")
                try FileManager.default.createDirectory(
                    atPath: damaged, withIntermediateDirectories: true)
                try Data(repeating: 0x5A, count: 8_192)
                    .write(to: URL(filePath: "\(damaged)/run.sqlite"))
                try await check(scratch, ["report", damaged], 65, "run.sqlite")
                // A second run would be mixed with the first, and write over its checkpoints.
                for command in [["up"], ["predict"], ["simulate", "--train", "real"]] {
                    try await check(
                        scratch, command + [file, "--dir", damaged], 2, "another run",
                        hint: "--resume")
                }
                let record = try Data(contentsOf: URL(filePath: "\(damaged)/run.sqlite"))
                #expect(record == Data(repeating: 0x5A, count: 8_192))
            }
        }

        @Test("a port in use, a key file that others can read, and one that holds no key")
        func coordinatorStart() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster.oneRegion(steps: 5).write(to: scratch)
                let busy = try TCPListener()
                try await check(
                    scratch,
                    [
                        file, "--dir", scratch.path("busy"), "--listen",
                        "tcp://127.0.0.1:\(busy.port)",
                    ], 69, "127.0.0.1:\(busy.port)", hint: "the port is in use",
                    binary: "longhaul-coordinator")
                let directory = scratch.path("keys")
                try FileManager.default.createDirectory(
                    atPath: directory, withIntermediateDirectories: true)
                let key = "\(directory)/coordinator.key"
                try "no key\n".write(toFile: key, atomically: true, encoding: .utf8)
                let open: [FileAttributeKey: Any] = [.posixPermissions: 0o644]
                try FileManager.default.setAttributes(open, ofItemAtPath: key)
                try await check(
                    scratch, [file, "--dir", directory], 77, key, binary: "longhaul-coordinator")
                let own: [FileAttributeKey: Any] = [.posixPermissions: 0o600]
                try FileManager.default.setAttributes(own, ofItemAtPath: key)
                try await check(
                    scratch, [file, "--dir", directory], 78, key, binary: "longhaul-coordinator")
                try await check(
                    scratch, [file, "--dir", scratch.path("x"), "--allow", "nowhere.json"], 78,
                    "allow-list", binary: "longhaul-coordinator")
            }
        }

        @Test("a binary that is missing beside 'longhaul'")
        func missingBinaries() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let folder = scratch.path("bin")
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true)
                for (copied, missing) in [
                    ("longhaul", "longhaul-coordinator"),
                    ("longhaul-coordinator", "longhaul-worker"),
                ] {
                    try FileManager.default.copyItem(
                        atPath: Binaries.path(copied), toPath: "\(folder)/\(copied)")
                    try await check(
                        scratch, ["up", file, "--dir", scratch.path("run-\(missing)")], 69,
                        "cannot start \(folder)/\(missing)", hint: "make build",
                        binary: "\(folder)/longhaul")
                }
            }
        }
    }
}
