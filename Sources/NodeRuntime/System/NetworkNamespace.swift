internal import CLinux
internal import Glibc

/// A network namespace without a name: it lives as long as this process holds its descriptor, or a
/// process or socket is inside, so nothing is left behind however processes end.
package final class NetworkNamespace: Sendable {
    /// For `nsenter --net=/proc/PID/fd/DESCRIPTOR`.
    package let descriptor: Int32
    private let home: Int32

    /// Makes a namespace with a loopback interface that is up.
    init() throws(RelayError) {
        home = try Self.current()
        guard unshare(LONGHAUL_CLONE_NEWNET) == 0 else {
            let error = RelayError.system(
                "make", "a network namespace", hint: "packet mode needs root (CAP_SYS_ADMIN)")
            _ = close(home)
            throw error
        }
        // This thread is inside now and must come back whatever happens.
        let made = Result { () throws(RelayError) in try Self.current() }
        let loopback = Self.configure { unsafe longhaul_interface_up($0, "lo", 0, 0) }
        let left = setns(home, LONGHAUL_CLONE_NEWNET)
        precondition(left == 0, "a thread may go back to the namespace it came from")
        descriptor = try made.get()
        guard loopback == 0 else { throw .system("bring up", "lo in a network namespace") }
    }

    deinit {
        _ = close(descriptor)
        _ = close(home)
    }

    /// Runs `body` with this thread in the namespace. Sockets made there stay there, and processes
    /// started there too.
    package func inside<Value>(_ body: () throws -> Value) rethrows -> Value {
        let entered = setns(descriptor, LONGHAUL_CLONE_NEWNET)
        precondition(entered == 0, "entering a namespace we hold: errno \(errno)")
        defer {
            let left = setns(home, LONGHAUL_CLONE_NEWNET)
            precondition(left == 0, "a thread may go back to the namespace it came from")
        }
        return try body()
    }

    /// Writes a setting under /proc/sys/net, which is the namespace's own there.
    package func set(_ setting: String, _ value: String) -> Bool {
        inside {
            // SAFETY: the path is a Swift string for the call; the array holds its count of bytes.
            let file = unsafe open("/proc/sys/net/\(setting)", O_WRONLY | O_CLOEXEC)
            guard file >= 0 else { return false }
            defer { _ = close(file) }
            let bytes = Array(value.utf8)
            return unsafe write(file, bytes, bytes.count) == bytes.count
        }
    }

    private static func current() throws(RelayError) -> Int32 {
        // SAFETY: a static text.
        let file = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .system("open", "/proc/thread-self/ns/net") }
        return file
    }

    /// A socket for a request to the interfaces of the namespace this thread is in.
    static func configure(_ request: (Int32) -> Int32) -> Int32 {
        let control = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard control >= 0 else { return -1 }
        let code = request(control)
        let error = errno
        _ = close(control)
        errno = error
        return code
    }
}
