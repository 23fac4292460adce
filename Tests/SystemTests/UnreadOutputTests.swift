import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("Measurements that nobody waits for") struct Unread {
        /// Far more exchanges than anybody waits for here.
        private static let bench = [
            "bench", "allreduce", "--workers", "2", "--elements", "65536", "--repeats", "100000",
            "--plain", "--json",
        ]

        /// The first reader is gone before anybody says anything, the second when everything has been said.
        @Test(
            "one whose output lost its reader ends, and so do its workers",
            arguments: ["head -c0", "sleep 4"])
        func readerGone(reader: String) async throws {
            try await withScratch { scratch in
                let status = scratch.path("status")
                let command = "timeout -s KILL 50 \"$0\" \"$@\"; echo $? > \(status)"
                let pipeline = try Program(
                    "/bin/sh",
                    ["-c", "(\(command)) 2>&1 | \(reader)", Binaries.path("longhaul")] + Self.bench,
                    in: scratch, environment: ["TMPDIR": scratch.directory])
                try await #expect(pipeline.ending() == .code(0))
                let code = try String(contentsOfFile: status, encoding: .utf8)
                    .trimmingCharacters(in: .whitespacesAndNewlines)
                // 137: `timeout` had to kill it.
                #expect(code != "137" && code != "0", "\(code)")
                let key = scratch.path("longhaul-bench-")
                try await pipeline.waitUntil("its workers end") { processes(with: key).isEmpty }
            }
        }

        @Test("one that lost a worker says so and ends")
        func workerGone() async throws {
            try await withScratch { scratch in
                let program = try Program(
                    "longhaul", Self.bench, in: scratch, environment: ["TMPDIR": scratch.directory])
                let key = scratch.path("longhaul-bench-\(program.pid)/w1.key")
                try await program.waitUntil("worker w1") {
                    program.errors.contains("'w1' has seat")
                }
                for pid in processes(with: key) { kill(pid, SIGKILL) }
                try await #expect(program.ending() == .code(69), "\(program.errors)")
                try #expect(
                    program.failure().message.contains("worker 'w1' was killed by signal 9"))
            }
        }
    }
}
