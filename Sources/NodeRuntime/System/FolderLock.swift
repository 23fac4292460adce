import Glibc

/// A lock on a folder, held until it is let go or the process ends, however that ends. Unlike a process
/// number it means the same in every PID namespace (containers that share a folder).
package struct FolderLock: ~Copyable, Sendable {
    private let descriptor: Int32

    /// The file system takes no lock of a folder (NFS wants a file that may be written to).
    package struct Unsupported: Error {
        /// The system's words for it.
        package let reason: String
    }

    /// Nil if somebody else holds it, or the folder cannot be opened (it is gone, or another user's).
    package init?(_ path: String) throws(Unsupported) {
        // SAFETY: the path is copied by the system; the descriptor is closed once, in `deinit`.
        descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            guard number == EWOULDBLOCK else {
                throw Unsupported(reason: SystemText.of(number))
            }
            return nil
        }
        // Who waited for the lock on a folder that was removed meanwhile has the lock on nothing.
        guard Self.isAt(path, descriptor) else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func isAt(_ path: String, _ descriptor: Int32) -> Bool {
        var (held, found) = (stat(), stat())
        // SAFETY: the system fills this function's own structures.
        guard unsafe fstat(descriptor, &held) == 0, unsafe lstat(path, &found) == 0 else {
            return false
        }
        return held.st_dev == found.st_dev && held.st_ino == found.st_ino
    }
}
