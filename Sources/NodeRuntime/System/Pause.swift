import CLinux
import Glibc

/// Sleeping to an exact length; signals do not shorten it.
enum Pause {
    static func nanoseconds(_ length: Int64) {
        guard length > 0 else { return }
        var wanted = timespec(
            tv_sec: Int(length / 1_000_000_000), tv_nsec: Int(length % 1_000_000_000))
        var left = wanted
        // SAFETY: both arguments are this function's own.
        while unsafe nanosleep(&wanted, &left) == -1, errno == EINTR { wanted = left }
    }
}
