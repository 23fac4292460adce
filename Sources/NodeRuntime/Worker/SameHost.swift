import ClusterModel
import Foundation

/// The shorter way between workers of one region on one machine: a Unix socket beside the TCP port,
/// where the cluster file allows it (`same_host: ipc`).
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
        let path = "/tmp/longhaul-\(process)-\(WallClock.incarnation().rawValue)"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700])
        return path
    }

    package static func endpoint(_ tcp: String, path: String) -> String {
        "\(tcp) ipc://\(path)#\(boot)"
    }

    /// What to dial of an endpoint as its worker gave it: the socket of this very machine if that is
    /// allowed and there, else the first part.
    package static func choose(_ endpoint: String, isAllowed: Bool) -> String {
        let parts = endpoint.split(separator: " ", maxSplits: 1).map(String.init)
        let first = parts.first ?? endpoint
        guard isAllowed, parts.count == 2, !boot.isEmpty, parts[1].hasPrefix("ipc://"),
            parts[1].hasSuffix("#\(boot)")
        else { return first }
        let path = parts[1].dropFirst("ipc://".count).dropLast(boot.count + 1)
        return FileManager.default.fileExists(atPath: String(path)) ? "ipc://\(path)" : first
    }
}
