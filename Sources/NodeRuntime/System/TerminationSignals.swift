internal import CLinux
internal import Glibc

/// SIGTERM and SIGINT as a readable descriptor.
final class TerminationSignals {
    let descriptor: Int32

    /// Blocks both signals in the calling thread and those it starts; call it first in `main`.
    init() throws(RelayError) {
        var set = sigset_t()
        // SAFETY: each call reads or fills the local set and keeps no pointer to it.
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, SIGTERM)
        unsafe sigaddset(&set, SIGINT)
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        descriptor = unsafe signalfd(
            -1, &set, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard descriptor >= 0 else { throw .system("create", "signalfd") }
    }

    deinit { _ = close(descriptor) }
}
