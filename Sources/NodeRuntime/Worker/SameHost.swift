import ClusterModel
import Foundation

/// The shorter way between workers of one region on one machine: a Unix socket beside the TCP port,
/// where the cluster file allows it (`same_host: ipc` or `memory`).
///
/// An endpoint then has two parts, `tcp://HOST:PORT ipc://PATH#BOOT`: BOOT is the kernel's boot id, so
/// that only processes of this machine try the path.
package enum SameHost {
    /// Of this boot of this machine; empty where the kernel does not tell.
    package static let boot: String =
        ((try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? "")
        .trimmingCharacters(in: .whitespacesAndNewlines)

    /// A new directory that nobody else may enter. Socket paths are limited to 107 bytes.
    package static func makeDirectory() throws -> String {
        let process = ProcessInfo.processInfo.processIdentifier
        let path = parent + "/" + prefix(process) + String(WallClock.incarnation().rawValue)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700])
        return path
    }

    private static let parent = "/tmp"

    private static func prefix(_ process: Int32) -> String { "longhaul-\(process)-" }

    /// What a process has left that was killed.
    package static func removeDirectories(of process: Int32) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        for name in names where name.hasPrefix(prefix(process)) {
            try? FileManager.default.removeItem(atPath: parent + "/" + name)
        }
    }

    package static func endpoint(_ tcp: String, path: String) -> String {
        "\(tcp) ipc://\(path)#\(boot)"
    }

    /// What to dial of an endpoint as its worker gave it: the socket of this very machine if that is
    /// allowed and there, else the first part.
    package static func choose(_ endpoint: String, isAllowed: Bool) -> String {
        let first = endpoint.split(separator: " ", maxSplits: 1).first.map(String.init) ?? endpoint
        guard isAllowed, let path = socket(of: endpoint),
            FileManager.default.fileExists(atPath: path)
        else { return first }
        return "ipc://\(path)"
    }

    /// Where an endpoint's Unix socket lies; nil: it has none on this machine.
    private static func socket(of endpoint: String) -> String? {
        let parts = endpoint.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, !boot.isEmpty, parts[1].hasPrefix("ipc://"),
            parts[1].hasSuffix("#\(boot)")
        else { return nil }
        return String(parts[1].dropFirst("ipc://".count).dropLast(boot.count + 1))
    }

    /// What else its worker has put beside that socket is in this directory.
    static func directory(of endpoint: String) -> String? {
        socket(of: endpoint).map { ($0 as NSString).deletingLastPathComponent }
    }
}
