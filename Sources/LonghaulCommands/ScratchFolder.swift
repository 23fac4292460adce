import Foundation

/// A folder of this process for keys and sockets of a measurement.
struct ScratchFolder {
    let path: String

    init(_ name: String) throws {
        path =
            FileManager.default.temporaryDirectory
            .appending(path: "\(name)-\(ProcessInfo.processInfo.processIdentifier)").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
