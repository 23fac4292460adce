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
            }
        }

        /// SIGKILL cannot be heard: the runs end because their standard input does.
        @Test("a measurement that is killed takes its runs along")
        func killed() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster().write(to: scratch)
                let directory = scratch.path("m")
                let program = try Program(
                    "longhaul",
                    ["measure", file, "--steps", "2000", "--repetitions", "1", "--dir", directory],
                    in: scratch)
                try await program.waitUntil("the regions alone") {
                    isUnderWay("\(directory)/1-north", workers: 2)
                }
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
                try await program.waitUntil("the run") { isUnderWay(directory, workers: 4) }
                program.signal(SIGTERM)
                try await #expect(program.ending() == .code(143), "\(program.errors)")
                #expect(processes(with: directory) == [])
                let failure = try program.failure()
                #expect(failure.message.contains("'\(directory)'"), "\(failure.message)")
                #expect(failure.hint.contains("--resume \(directory)"), "\(failure.hint)")
            }
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
            }
        }
    }
}
