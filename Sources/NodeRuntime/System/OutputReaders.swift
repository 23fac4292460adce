import Glibc

/// Whoever reads what this process writes.
package enum OutputReaders {
    /// Standard output or standard error is a pipe or a socket whose other end is closed. Ask while nothing
    /// is written for long: a writer hears of it by SIGPIPE, and works on for nobody until then.
    package static var areGone: Bool {
        // Without events poll tells of errors and hang-ups only.
        var outputs = [STDOUT_FILENO, STDERR_FILENO].map {
            pollfd(fd: $0, events: 0, revents: 0)
        }
        // SAFETY: the array is alive during the call, and its own length is given.
        guard unsafe poll(&outputs, nfds_t(outputs.count), 0) > 0 else { return false }
        return outputs.contains { Int32($0.revents) & (POLLERR | POLLHUP) != 0 }
    }
}
