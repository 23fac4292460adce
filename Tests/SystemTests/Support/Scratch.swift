import Foundation
import Glibc

/// A temporary folder of one test, and the processes it started: both are gone when it ends.
final class Scratch {
    let directory: String
    private var programs: [Program] = []
    private var others: [Int32] = []
    private var mounts: [String] = []
    private var number = 0

    init() throws {
        let base = FileManager.default.temporaryDirectory
        directory = base.appending(path: "longhaul-test-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func nextNumber() -> Int {
        number += 1
        return number
    }

    func keep(_ program: Program) { programs.append(program) }

    /// A process that a program started and that may outlive it.
    func keep(pid: Int32) { others.append(pid) }

    /// A file system with room for `kilobytes`; nil without the right to mount.
    func mountSmallDisk(kilobytes: Int) throws -> String? {
        let target = path("disk")
        try FileManager.default.createDirectory(
            atPath: target, withIntermediateDirectories: true)
        let isMounted = unsafe mount("tmpfs", target, "tmpfs", 0, "size=\(kilobytes)k") == 0
        guard isMounted else { return nil }
        mounts.append(target)
        return target
    }

    /// Ends everything that still runs, by its number, and removes the folder.
    func clean() {
        for program in programs where program.isRunning {
            program.signal(SIGCONT)
            program.signal(SIGKILL)
        }
        for pid in others {
            kill(pid, SIGCONT)
            kill(pid, SIGKILL)
        }
        for target in mounts { unsafe _ = umount2(target, Int32(MNT_DETACH)) }
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Runs a test in a folder of its own.
func withScratch(_ body: (Scratch) async throws -> Void) async throws {
    let scratch = try Scratch()
    defer { scratch.clean() }
    try await body(scratch)
}
