import Foundation
import Glibc
import Testing

extension SystemTests {
    /// A signal to a command that has started runs ends those too.
    @Suite("Stopping a measurement") struct Stopping {
        /// `up`, coordinator and workers of a run in `directory`.
        private func isUnderWay(_ directory: String, workers: Int) -> Bool {
            processes(with: directory + "/worker-").count >= workers
        }

        @Test(
            "a signal to measure ends its runs in order, and what had finished stays",
            arguments: [SIGTERM, SIGINT])
        func measure(signal: Int32) async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let directory = scratch.path("m")
                let program = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "200", "--repetitions", "1", "--dir", directory,
                        "--json",
                    ],
                    in: scratch)
                try await program.waitUntil("all workers as one site") {
                    isUnderWay("\(directory)/1-one-site", workers: 4)
                }
                program.signal(signal)
                try await #expect(
                    program.ending() == .code(128 + signal), "\(program.errors)")
                #expect(processes(with: directory) == [])
                let failure = try program.failure()
                #expect(failure.code == 128 + signal)
                #expect(failure.message.contains("'\(directory)'"), "\(failure.message)")
                #expect(failure.hint.contains("--dir \(directory)"), "\(failure.hint)")
                for region in ["north", "south"] {
                    #expect(
                        FileManager.default.fileExists(atPath: "\(directory)/1-\(region)/run.json"))
                }
                let log = try String(contentsOfFile: "\(directory)/1-one-site.log", encoding: .utf8)
                #expect(log.contains("stopping in order"), "\(log.suffix(500))")

                // The seed was the file's, which need not have one.
                #expect(failure.hint.contains("--seed 7 goes on"), "\(failure.hint)")
                let again = try Program(
                    "longhaul",
                    [
                        "measure", file, "--steps", "200", "--repetitions", "1", "--dir", directory,
                        "--seed", "7",
                    ],
                    in: scratch)
                for region in ["north", "south"] {
                    try await again.waitUntil("the run of \(region)") {
                        again.errors.contains("\(directory)/1-\(region) is there already")
                    }
                }
                again.signal(signal)
                try await #expect(again.ending() == .code(128 + signal), "\(again.errors)")
            }
        }

        /// A measurement whose runs of `regions` alone are under way, and its directory.
        private func measuring(
            _ regions: [String], in scratch: Scratch
        ) async throws -> (Program, String) {
            let file = try SmallCluster().write(to: scratch)
            let directory = scratch.path("m")
            let program = try Program(
                "longhaul",
                ["measure", file, "--steps", "2000", "--repetitions", "1", "--dir", directory],
                in: scratch)
            try await program.waitUntil("the regions alone") {
                regions.allSatisfy { isUnderWay("\(directory)/1-\($0)", workers: 2) }
            }
            return (program, directory)
        }

        /// A run that had not heard of the first took the second for it, and stayed to end in order.
        @Test("a second signal right after the first ends the runs at once")
        func twice() async throws {
            try await withScratch { scratch in
                let (program, directory) = try await measuring(["north", "south"], in: scratch)
                program.signal(SIGTERM)
                usleep(20_000)
                program.signal(SIGTERM)
                try await #expect(program.ending() == .code(143), "\(program.errors)")
                try await program.waitUntil("their end") { processes(with: directory) == [] }
                for region in ["north", "south"] {
                    #expect(
                        !FileManager.default.fileExists(
                            atPath: "\(directory)/1-\(region)/run.json"))
                }
            }
        }

        /// SIGKILL cannot be heard: the runs end because their standard input does.
        @Test("a measurement that is killed takes its runs along")
        func killed() async throws {
            try await withScratch { scratch in
                let (program, directory) = try await measuring(["north"], in: scratch)
                program.signal(SIGKILL)
                try await #expect(program.ending() == .signal(SIGKILL))
                try await program.waitUntil("their end") { processes(with: directory) == [] }
            }
        }

        @Test("a signal to predict ends its run; it says where that is")
        func predict() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let directory = scratch.path("p")
                let program = try Program(
                    "longhaul", ["predict", file, "--steps", "2000", "--dir", directory, "--json"],
                    in: scratch)
                let state = "\(directory)/worker-south-2.safetensors"
                try await program.waitUntil("a saved state") {
                    isUnderWay(directory, workers: 4)
                        && FileManager.default.fileExists(atPath: state)
                }
                program.signal(SIGTERM)
                try await #expect(program.ending() == .code(143), "\(program.errors)")
                #expect(processes(with: directory) == [])
                let failure = try program.failure()
                #expect(failure.message.contains("'\(directory)'"), "\(failure.message)")
                #expect(failure.hint.contains("--seed 7 --steps 2000"), "\(failure.hint)")
                #expect(failure.hint.contains("--resume \(directory)"), "\(failure.hint)")
                let resumed = try hinted(failure, in: scratch)
                try await resumed.waitUntil("the run again") { isUnderWay(directory, workers: 4) }
                resumed.signal(SIGTERM)
                try await #expect(resumed.ending() == .code(143), "\(resumed.errors)")
            }
        }

        /// It ended as if by Ctrl-C.
        @Test("predict whose output nobody reads any more says so with its code")
        func unread() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let directory = scratch.path("p")
                let code = scratch.path("code")
                let command =
                    "\(Binaries.path("longhaul")) predict \(file) --steps 2000 --dir \(directory)"
                let shell = try Program(
                    "/bin/sh", ["-c", "{ \(command); echo $? >\(code); } | sleep 1"], in: scratch)
                try await #expect(shell.ending() == .code(0), "\(shell.errors)")
                try #expect(String(contentsOfFile: code, encoding: .utf8) == "69\n")
                #expect(shell.errors.contains("nobody reads this command's output"))
                #expect(processes(with: directory) == [])
            }
        }

        /// The command that a hint begins with.
        private func hinted(_ failure: ErrorObject, in scratch: Scratch) throws -> Program {
            let words = failure.hint.split(separator: " ").map(String.init)
            let end = try #require(
                words.firstIndex { ["goes", "compares"].contains($0) }, "\(failure.hint)")
            try #require(words.first == "longhaul", "\(failure.hint)")
            return try Program("longhaul", Array(words[1..<end]), in: scratch)
        }

        /// The run it compares with is over; what took signals for that run must not take this one.
        @Test("a signal to predict ends the runs of single regions too")
        func predictAlone() async throws {
            try await withScratch { scratch in
                // Where every step is a round it does not tell how long sharing one takes.
                var cluster = SmallCluster()
                (cluster.outer, cluster.syncEvery) = ("every-step", 1)
                let file = try cluster.write(to: scratch)
                let directory = scratch.path("p")
                let program = try Program(
                    "longhaul", ["predict", file, "--steps", "20", "--dir", directory, "--json"],
                    in: scratch, environment: ["TMPDIR": scratch.directory])
                let alone = scratch.path("longhaul-predict-\(program.pid)")
                try await program.waitUntil("the regions alone") {
                    isUnderWay("\(alone)/north", workers: 2)
                }
                program.signal(SIGINT)
                try await #expect(program.ending() == .code(130), "\(program.errors)")
                #expect(processes(with: alone) == [])
                let failure = try program.failure()
                #expect(failure.message.contains("'\(directory)'"), "\(failure.message)")
                #expect(failure.hint.contains("--from \(directory)"), "\(failure.hint)")
                // It has keys, and nobody was told of it.
                #expect(!FileManager.default.fileExists(atPath: alone))
                let compared = try hinted(failure, in: scratch)
                try await #expect(compared.ending() == .code(0), "\(compared.errors)")
                #expect(compared.output.contains("real run: \(directory)"), "\(compared.output)")
            }
        }
    }
}
