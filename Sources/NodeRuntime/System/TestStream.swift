internal import CLinux
internal import Glibc

/// A blocking TCP connection for measuring a link: nothing waits longer than its limit.
@safe final class TestStream: Sendable {
    private let descriptor: Int32
    static let limitSeconds = 30

    fileprivate init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var one: Int32 = 1
        // SAFETY: here and below the kernel reads a local of the size given.
        unsafe _ = setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        wait(atMost: Self.limitSeconds)
    }

    deinit { _ = close(descriptor) }

    func wait(atMost seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    /// Fixes both buffers instead of leaving them to autotuning; the kernel takes twice the value.
    func fixBuffers(_ bytes: Int32) {
        var value = bytes
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &value, 4)
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &value, 4)
    }

    /// Connects from the namespace this thread is in.
    static func connect(_ host: UInt32, _ port: UInt16) throws(RelayError) -> TestStream {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system("create", "a socket") }
        let stream = TestStream(descriptor)
        var address = TestListener.ipv4(host, port)
        let code = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_in is passed with its own size.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw .system("connect to", "port \(port)") }
        return stream
    }

    /// Sends all; false when the other side is gone or nothing moved for the limit.
    func send(_ bytes: [UInt8], count: Int? = nil) -> Bool {
        var sent = 0
        let total = count ?? bytes.count
        while sent < total {
            let part = sendSome(bytes, from: sent, to: total)
            guard part > 0 else { return false }
            sent += part
        }
        return true
    }

    /// What `send(2)` says.
    func sendSome(_ bytes: [UInt8], from: Int = 0, to: Int? = nil) -> Int {
        unsafe bytes.withUnsafeBytes {
            // SAFETY: the range is inside the array.
            unsafe Glibc.send(
                descriptor, $0.baseAddress.unsafelyUnwrapped + from, (to ?? $0.count) - from,
                Int32(MSG_NOSIGNAL))
        }
    }

    /// Receives what is there; 0 at the end, negative after the limit or a reset.
    func receiveSome(_ bytes: inout [UInt8]) -> Int {
        let size = bytes.count
        return unsafe recv(descriptor, &bytes, size, 0)
    }

    /// Receives exactly `count` bytes into the front of `bytes`.
    func receive(_ count: Int, _ bytes: inout [UInt8]) -> Bool {
        unsafe recv(descriptor, &bytes, count, Int32(MSG_WAITALL)) == count
    }

    func finishWriting() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// Ends both directions: whoever waits on the stream wakes.
    func end() { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// A listening socket of the namespace it was made in.
final class TestListener: Sendable {
    let port: UInt16
    private let descriptor: Int32

    init(_ host: UInt32) throws(RelayError) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system("create", "a listening socket") }
        self.descriptor = descriptor
        var address = Self.ipv4(host, 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer -> Int32 in
            // SAFETY: a sockaddr_in is passed with its own size.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard unsafe bind(descriptor, $0, length) == 0 else { return -1 }
                guard listen(descriptor, 64) == 0 else { return -1 }
                return unsafe getsockname(descriptor, $0, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        guard code == 0 else { throw .system("listen on", "a port of the link's far side") }
        var limit = timeval(tv_sec: TestStream.limitSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    }

    deinit { _ = close(descriptor) }

    func accept() throws(RelayError) -> TestStream {
        let accepted = Glibc.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw .system("accept on", "port \(port)") }
        return TestStream(accepted)
    }

    static func ipv4(_ host: UInt32, _ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.bigEndian
        return address
    }
}

/// Numbered UDP datagrams of 200 bytes.
final class TestDatagrams: Sendable {
    private static let size = 200
    private let descriptor: Int32
    let port: UInt16

    /// Receives at an address, until nothing has come for a second.
    init(at host: UInt32) throws(RelayError) {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system("create", "a UDP socket") }
        self.descriptor = descriptor
        var buffer: Int32 = 4 << 20
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        // SAFETY: the kernel reads locals of the sizes given.
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer, 4)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        var address = TestListener.ipv4(host, 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer -> Int32 in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard unsafe bind(descriptor, $0, length) == 0 else { return -1 }
                return unsafe getsockname(descriptor, $0, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        guard code == 0 else { throw .system("bind", "a UDP socket") }
    }

    /// Sends to an address.
    init(to host: UInt32, port: UInt16) throws(RelayError) {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system("create", "a UDP socket") }
        self.descriptor = descriptor
        self.port = port
        var address = TestListener.ipv4(host, port)
        let code = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw .system("connect", "a UDP socket") }
    }

    deinit { _ = close(descriptor) }

    func send(_ number: Int) {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
        unsafe _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// The next datagram's number.
    func receive() -> Int? {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        guard unsafe recv(descriptor, &bytes, Self.size, 0) == Self.size else { return nil }
        return (0..<4).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    }
}
