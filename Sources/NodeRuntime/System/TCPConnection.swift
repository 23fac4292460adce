internal import CLinux
internal import Glibc

/// Both ends of a TCP connection.
package struct ConnectionEnds: Equatable {
    private let near: [UInt8]
    private let far: [UInt8]
    private let family: sa_family_t

    /// Nil if nothing is connected there.
    package init?(of descriptor: Int32) {
        var address = sockaddr_storage()
        func ask(
            _ call:
                (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
        ) -> [UInt8]? {
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            // SAFETY: the kernel fills at most `length` bytes of this function's own structure, and no more
            // is read than it has filled.
            let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe call(descriptor, $0, &length)
                }
            }
            guard code == 0 else { return nil }
            return unsafe withUnsafeBytes(of: &address) { unsafe Array($0.prefix(Int(length))) }
        }
        guard let near = unsafe ask({ unsafe getsockname($0, $1, $2) }),
            let far = unsafe ask({ unsafe getpeername($0, $1, $2) })
        else { return nil }
        self.near = near
        self.far = far
        family = address.ss_family
    }

    /// The far end is on this machine: 127.0.0.0/8, whose bytes stand behind family and port, the same as an
    /// IPv6 address, ::1, or a Unix socket.
    package var isLocal: Bool {
        switch Int32(family) {
        case AF_INET: return far.count > 4 && far[4] == 127
        case AF_INET6:
            guard far.count >= 24, far[8..<18].allSatisfy({ $0 == 0 }) else { return false }
            let isMapped = far[18] == 255 && far[19] == 255
            return isMapped ? far[20] == 127 : far[18..<23].allSatisfy { $0 == 0 } && far[23] == 1
        default: return true
        }
    }
}

/// What is different about a TCP connection that never leaves this machine.
enum LocalConnection {
    /// BBR, where it is the system's choice, paces by timers; over loopback that is all cost: there is
    /// nothing to be fair to. CUBIC sends when there is room. Connections to other machines stay as they
    /// are, and where CUBIC is missing nothing changes.
    static func unpace(_ descriptor: Int32) {
        let name = "cubic"
        // SAFETY: the kernel copies the text during the call.
        unsafe _ = setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, name, socklen_t(name.utf8.count))
    }
}

/// A TCP connection to another machine.
package struct FarConnection {
    private let descriptor: Int32
    private let ends: ConnectionEnds

    package init(_ descriptor: Int32, _ ends: ConnectionEnds) {
        self.descriptor = descriptor
        self.ends = ends
    }

    /// The kernel sends no faster from now on, whatever the congestion control wants; nil: no limit. A
    /// descriptor that libzmq has closed and that is another connection's by now stays as it is.
    package func pace(bytesPerSecond: UInt64?) {
        guard ConnectionEnds(of: descriptor) == ends else { return }
        var rate = bytesPerSecond ?? .max
        // SAFETY: the kernel copies the number during the call.
        unsafe _ = setsockopt(
            descriptor, SOL_SOCKET, SO_MAX_PACING_RATE, &rate,
            socklen_t(MemoryLayout<UInt64>.size))
    }
}
