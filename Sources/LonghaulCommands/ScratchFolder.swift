import ClusterModel
import Foundation
import Glibc
import NodeRuntime

/// A folder of this process for keys and sockets of a measurement, locked for as long as the process lives.
final class ScratchFolder: Sendable {
    let path: String
    private let lock: FolderLock

    init(_ name: String) throws {
        let parent = FileManager.default.temporaryDirectory
        Self.removeStale(name, in: parent)
        // Containers that share the parent have processes of the same number.
        for turn in 1...Self.turns {
            let suffix = turn > 1 ? "-\(turn)" : ""
            let path = parent.appending(path: "\(name)-\(getpid())\(suffix)").path
            do {
                try FileManager.default.createDirectory(
                    atPath: path, withIntermediateDirectories: false,
                    attributes: [.posixPermissions: 0o700])
            } catch CocoaError.fileWriteFileExists {
                continue
            }
            // Between the two lines somebody else may have taken it for one left behind.
            guard let lock = try Self.lock(path) else { continue }
            self.path = path
            self.lock = lock
            return
        }
        throw Failure(
            .unavailable,
            "no folder for this measurement in '\(parent.path)': \(Self.turns) names are taken",
            hint: "remove '\(name)-*' there, or set TMPDIR to another directory")
    }

    private static let turns = 100

    /// Nil if somebody else has it.
    ///
    /// - Throws: `Failure` where folders take no locks; the folder, just made, is removed.
    private static func lock(_ path: String) throws -> FolderLock? {
        do {
            return try FolderLock(path)
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw Failure(
                .unavailable, "cannot lock the folder '\(path)': \(error.reason)",
                hint: "set TMPDIR to a directory on a local disk (NFS takes no such locks)")
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// A process that was killed has left its folder behind, with keys in it: those that nobody holds go. Of
    /// other users' nothing can be removed, which is as it should be.
    private static func removeStale(_ name: String, in parent: URL) {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: parent.path)) ?? []
        for entry in entries where entry.hasPrefix(name + "-") {
            let numbers = entry.dropFirst(name.count + 1).split(
                separator: "-", omittingEmptySubsequences: false)
            guard (1...2).contains(numbers.count), numbers.allSatisfy({ pid_t($0) ?? 0 > 0 })
            else { continue }
            let place = parent.appending(path: entry)
            do {
                guard let lock = try FolderLock(place.path) else { continue }
                try? FileManager.default.removeItem(at: place)
                _ = consume lock
            } catch {
                // Without locks nobody can tell whose it is.
                return
            }
        }
    }
}
