import Foundation
import Glibc
import Testing

extension SystemTests {
    /// A process number says nothing of a process in a container that shares the folder: locks do.
    @Suite("Folders of measurements") struct ScratchFolders {
        private func bench(_ scratch: Scratch, seconds: Int) throws -> Program {
            try Program(
                "longhaul",
                ["bench", "control", "--members", "2", "--seconds", "\(seconds)", "--json"],
                in: scratch, environment: ["TMPDIR": scratch.directory])
        }

        private func folders(_ scratch: Scratch) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: scratch.directory)
                .filter { $0.hasPrefix("longhaul-control-") }.sorted()
        }

        /// Numbers beyond the kernel's largest: no process has them here.
        @Test(
            "one that a process holds stays, whatever its number; it goes when the process is dead")
        func heldElsewhere() async throws {
            try await withScratch { scratch in
                for number in ["4194305", "4194306"] {
                    try FileManager.default.createDirectory(
                        atPath: scratch.path("longhaul-control-\(number)"),
                        withIntermediateDirectories: false)
                }
                let held = scratch.path("longhaul-control-4194306")
                let holder = try Program(
                    "/usr/bin/flock",
                    ["--no-fork", held, "/bin/sh", "-c", "touch \(held)/is-held; exec sleep 100"],
                    in: scratch)
                try await holder.waitUntil("the lock") {
                    FileManager.default.fileExists(atPath: "\(held)/is-held")
                }
                let first = try bench(scratch, seconds: 1)
                try await #expect(first.ending() == .code(0), "\(first.errors)")
                try #expect(folders(scratch) == ["longhaul-control-4194306"])
                #expect(FileManager.default.fileExists(atPath: "\(held)/is-held"))
                holder.signal(SIGKILL)
                try await #expect(holder.ending() == .signal(SIGKILL))
                let second = try bench(scratch, seconds: 1)
                try await #expect(second.ending() == .code(0), "\(second.errors)")
                try #expect(folders(scratch) == [])
            }
        }

        @Test(
            "two measurements at a time leave each other's alone; a killed one's goes with the next"
        )
        func twoAtATime() async throws {
            try await withScratch { scratch in
                let long = try bench(scratch, seconds: 60)
                let own = "longhaul-control-\(long.pid)"
                try await long.waitUntil("its folder") { try folders(scratch) == [own] }
                let short = try bench(scratch, seconds: 1)
                try await #expect(short.ending() == .code(0), "\(short.errors)")
                try #expect(folders(scratch) == [own])
                #expect(long.isRunning)
                long.signal(SIGKILL)
                try await #expect(long.ending() == .signal(SIGKILL))
                let next = try bench(scratch, seconds: 1)
                try await #expect(next.ending() == .code(0), "\(next.errors)")
                try #expect(folders(scratch) == [])
            }
        }
    }
}
