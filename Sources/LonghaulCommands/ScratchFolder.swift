import Foundation
import Glibc

/// A folder of this process for keys and sockets of a measurement.
struct ScratchFolder {
    let path: String

    init(_ name: String) throws {
        let parent = FileManager.default.temporaryDirectory
        Self.removeStale(name, in: parent)
        path = parent.appending(path: "\(name)-\(getpid())").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// A process that was killed has left its folder behind, with keys in it: those of numbers that no
    /// process has any more go. Of other users' nothing can be removed, which is as it should be.
    private static func removeStale(_ name: String, in parent: URL) {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: parent.path)) ?? []
        for entry in entries where entry.hasPrefix(name + "-") {
            guard let owner = pid_t(entry.dropFirst(name.count + 1)), owner > 0,
                kill(owner, 0) != 0, errno == ESRCH
            else { continue }
            try? FileManager.default.removeItem(at: parent.appending(path: entry))
        }
    }
}
