internal import CLinux
internal import Glibc

/// The far end of a TCP connection.
package struct ConnectionPeer: Equatable {
    private let address: [UInt8]
    private let family: sa_family_t

    /// Nil if nothing is connected there.
    package init?(of descriptor: Int32) {
        var peer = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: the kernel fills at most `length` bytes of this function's own structure.
        let code = unsafe withUnsafeMutablePointer(to: &peer) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getpeername(descriptor, $0, &length)
            }
        }
        guard code == 0 else { return nil }
        family = peer.ss_family
        // SAFETY: no more is read than the kernel has filled.
        address = unsafe withUnsafeBytes(of: &peer) { unsafe Array($0.prefix(Int(length))) }
    }

    /// It is on this machine: 127.0.0.0/8, whose bytes stand behind family and port, or ::1.
    package var isLocal: Bool {
        switch Int32(family) {
        case AF_INET: address.count > 4 && address[4] == 127
        case AF_INET6:
            address.count >= 24 && address[8..<23].allSatisfy { $0 == 0 } && address[23] == 1
        default: true
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
    private let peer: ConnectionPeer

    package init(_ descriptor: Int32, _ peer: ConnectionPeer) {
        self.descriptor = descriptor
        self.peer = peer
    }

    /// The kernel sends no faster from now on, whatever the congestion control wants. A descriptor that
    /// libzmq has closed and that is somebody else's by now stays as it is.
    package func pace(bytesPerSecond: UInt64) {
        guard ConnectionPeer(of: descriptor) == peer else { return }
        var rate = bytesPerSecond
        // SAFETY: the kernel copies the number during the call.
        unsafe _ = setsockopt(
            descriptor, SOL_SOCKET, SO_MAX_PACING_RATE, &rate,
            socklen_t(MemoryLayout<UInt64>.size))
    }
}
