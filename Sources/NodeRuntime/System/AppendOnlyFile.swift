import ClusterModel
import Foundation
import Glibc

/// A file that several processes append whole lines to.
enum AppendOnlyFile {
    /// Opened with O_APPEND: each write goes to the end as one piece. Made if it does not exist.
    ///
    /// - Throws: `NodeError` with the system's reason.
    static func open(_ path: String) throws -> FileHandle {
        // SAFETY: the path is copied by the system; the handle closes the descriptor once.
        let descriptor = unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw NodeError(
                .data, "cannot append to '\(path)': \(SystemText.of(errno))",
                hint: "name a file in a directory that exists and is writable")
        }
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }
}
