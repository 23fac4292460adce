internal import CLinux
internal import Glibc

/// Non-blocking TCP sockets on loopback, as the relay needs them.
enum LoopbackSocket {
    enum Transfer: Equatable {
        case moved(Int)
        case wouldBlock
        /// The other side has finished sending.
        case ended
        case failed
    }

    /// Listens on 127.0.0.1; port 0 lets the kernel choose. Returns the descriptor and the port.
    static func listen(port: UInt16, bufferBytes: Int32) throws(RelayError) -> (Int32, UInt16) {
        let name = "127.0.0.1:\(port)"
        let descriptor = socket(AF_INET, flags(Int32(SOCK_STREAM.rawValue)), 0)
        guard descriptor >= 0 else { throw .system("create", "listening socket") }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        // Inherited by accepted sockets; must be set before listening to bound the window.
        setBuffers(descriptor, bufferBytes)
        var address = ipv4(INADDR_LOOPBACK, port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer -> Int32 in
            // SAFETY: a sockaddr_in is passed with its own size.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard unsafe bind(descriptor, $0, length) == 0 else { return -1 }
                guard Glibc.listen(descriptor, 512) == 0 else { return -1 }
                return unsafe getsockname(descriptor, $0, &length)
            }
        }
        guard code == 0 else {
            let error = RelayError.system(
                "listen on", name, hint: "choose another port, or 0 for one from the kernel")
            _ = Glibc.close(descriptor)
            throw error
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    /// The next waiting connection; nil when there is none.
    static func accept(_ listener: Int32) -> Int32? {
        let descriptor = Glibc.accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        return descriptor
    }

    /// Starts connecting to a loopback port; the descriptor becomes writable when it is decided.
    static func connect(
        to destination: SocksDestination, bufferBytes: Int32
    ) throws(RelayError) -> Int32 {
        let family = destination.isIPv6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, flags(Int32(SOCK_STREAM.rawValue)), 0)
        guard descriptor >= 0 else { throw .system("create", "socket to \(destination)") }
        setBuffers(descriptor, bufferBytes)
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        let code: Int32
        if destination.isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = destination.port.bigEndian
            address.sin6_addr = in6addr_loopback
            code = start(descriptor, &address)
        } else {
            var address = ipv4(destination.ipv4, destination.port)
            code = start(descriptor, &address)
        }
        guard code == 0 || errno == EINPROGRESS else {
            let error = RelayError.system("connect to", "\(destination)")
            _ = Glibc.close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Reads up to `limit` bytes into the queue.
    static func read(_ descriptor: Int32, into queue: ByteQueue, atMost limit: Int) -> Transfer {
        unsafe result(
            queue.append(atMost: limit) {
                unsafe Glibc.recv(descriptor, $0.baseAddress, $0.count, 0)
            })
    }

    /// Writes up to `limit` bytes from the queue.
    static func write(_ descriptor: Int32, from queue: ByteQueue, atMost limit: Int) -> Transfer {
        unsafe result(
            queue.remove(atMost: limit) {
                unsafe send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            })
    }

    /// Reads exactly up to `count` bytes which are there, for the few bytes of a SOCKS request.
    static func read(_ descriptor: Int32, count: Int) -> (Transfer, [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: count)
        let transfer = unsafe result(recv(descriptor, &bytes, count, 0))
        guard case .moved(let moved) = transfer else { return (transfer, []) }
        return (transfer, Array(bytes.prefix(moved)))
    }

    /// Writes a few bytes to a socket which has sent nothing before: its buffer has room.
    static func write(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
        unsafe send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// The pending error of a socket (0 = none); reading it clears it.
    static func error(of descriptor: Int32) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        unsafe _ = getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        return code
    }

    /// Ends the sending direction in order (FIN).
    static func finishWriting(_ descriptor: Int32) {
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    /// Closes at once with a reset (RST), dropping what is still in the kernel.
    static func reset(_ descriptor: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        unsafe _ = setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
        close(descriptor)
    }

    private static func result(_ count: Int) -> Transfer {
        if count > 0 { return .moved(count) }
        if count == 0 { return .ended }
        return errno == EAGAIN || errno == EINTR ? .wouldBlock : .failed
    }

    private static func flags(_ type: Int32) -> Int32 {
        type | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    }

    private static func ipv4(_ host: UInt32, _ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.bigEndian
        return address
    }

    private static func start<Address>(_ descriptor: Int32, _ address: inout Address) -> Int32 {
        let length = socklen_t(MemoryLayout<Address>.size)
        return unsafe withUnsafeMutablePointer(to: &address) { pointer in
            // SAFETY: Address is one of the sockaddr types, passed with its own size.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(descriptor, $0, length)
            }
        }
    }

    private static func setBuffers(_ descriptor: Int32, _ bytes: Int32) {
        set(descriptor, SOL_SOCKET, SO_SNDBUF, bytes)
        set(descriptor, SOL_SOCKET, SO_RCVBUF, bytes)
    }

    private static func set(
        _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32
    ) {
        var copy = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        unsafe _ = setsockopt(descriptor, level, option, &copy, size)
    }
}
