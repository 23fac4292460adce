internal import CLinux
internal import Glibc

/// What is different about a TCP connection that never leaves this machine.
enum LocalConnection {
    /// BBR, where it is the system's choice, paces by timers; over loopback that is all cost: there is
    /// nothing to be fair to. CUBIC sends when there is room. Connections to other machines stay as they
    /// are, and where CUBIC is missing nothing changes.
    static func unpace(_ descriptor: Int32) {
        var peer = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        // SAFETY: the kernel fills at most `length` bytes of this function's own structure.
        let code = unsafe withUnsafeMutablePointer(to: &peer) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getpeername(descriptor, $0, &length)
            }
        }
        guard code == 0, peer.sin_family == sa_family_t(AF_INET),
            UInt32(bigEndian: peer.sin_addr.s_addr) >> 24 == 127
        else { return }
        let name = "cubic"
        // SAFETY: the kernel copies the text during the call.
        unsafe _ = setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, name, socklen_t(name.utf8.count))
    }
}
