import ClusterModel
import Foundation
import Glibc
import NodeRuntime
import Testing
import ZeroMQ

/// A relay on its own thread.
final class TestRelay {
    let ports: RelayPorts
    private let stopper: WakeUp
    private let ended = DispatchSemaphore(value: 0)

    init(_ configuration: RelayConfiguration) throws {
        let stopper = try WakeUp()
        let ready = DispatchSemaphore(value: 0)
        let found = Box<RelayPorts>()
        let ended = self.ended
        Thread.detachNewThread {
            do {
                try Relay.run(configuration, stop: stopper) {
                    found.value = $0
                    ready.signal()
                }
            } catch {
                Issue.record(error)
                ready.signal()
            }
            ended.signal()
        }
        try #require(ready.wait(timeout: .now() + 20) == .success)
        self.stopper = stopper
        ports = try #require(found.value)
    }

    /// Ends the relay and waits for it.
    func stop() {
        stopper.signal()
        #expect(ended.wait(timeout: .now() + 20) == .success)
    }
}

/// A value handed between threads, ordered by a semaphore.
final class Box<Value>: @unchecked Sendable {
    var value: Value?
}

func configuration(
    bitsPerSecond: UInt64, oneWayMilliseconds: Int64, queueLimitBytes: Int = 256 * 1024
) -> RelayConfiguration {
    let link = LinkParameters(
        bitsPerSecond: bitsPerSecond, oneWayNanoseconds: oneWayMilliseconds * 1_000_000,
        queueLimitBytes: queueLimitBytes)
    return RelayConfiguration(regionA: "north", regionB: "south", aToB: link, bToA: link, seed: 7)
}

/// A blocking TCP socket; nothing waits longer than 20 s.
@safe final class Stream: @unchecked Sendable {
    let descriptor: Int32

    init(descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    /// Connects to a loopback port.
    convenience init(port: UInt16) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = loopback(port)
        let code = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(code == 0)
        self.init(descriptor: descriptor)
    }

    /// Connects through a relay's port; `reply` is the code of its answer.
    static func dial(
        _ relayPort: UInt16, to port: UInt16, host: [UInt8] = [1, 127, 0, 0, 1],
        oneByteAtATime: Bool = false
    ) throws -> (stream: Stream, reply: UInt8) {
        let stream = try Stream(port: relayPort)
        let request = [5, 1, 0] + host + [UInt8(port >> 8), UInt8(port & 0xff)]
        if oneByteAtATime {
            for byte in [5, 2, 2, 0] as [UInt8] { try stream.send([byte]) }
        } else {
            try stream.send([5, 1, 0])
        }
        try #require(try stream.receive(2) == [5, 0])
        if oneByteAtATime {
            for byte in request { try stream.send([byte]) }
        } else {
            try stream.send(request)
        }
        let reply = try stream.receive(10)
        try #require(reply.count == 10)
        return (stream, reply[1])
    }

    deinit { close() }

    private var isClosed = false

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(
                    descriptor, $0.baseAddress.unsafelyUnwrapped + sent, $0.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            try #require(count > 0, "send: errno \(errno)")
            sent += count
        }
    }

    /// Receives `count` bytes; fewer when the other side finished or reset.
    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let part = unsafe bytes.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress.unsafelyUnwrapped + got, count - got, 0)
            }
            if part < 0 { try #require(errno == ECONNRESET, "receive: errno \(errno)") }
            guard part > 0 else { break }
            got += part
        }
        return Array(bytes.prefix(got))
    }

    func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What the kernel does for a process killed with unread data.
    func reset() {
        var value = linger(l_onoff: 1, l_linger: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        _ = Glibc.close(descriptor)
    }
}

/// A listening socket on a port from the kernel.
final class Listener {
    let port: UInt16
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, length) + listen(descriptor, 16)
                    + getsockname(descriptor, $0, &length)
            }
        }
        try #require(code == 0)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { _ = close(descriptor) }

    func accept() throws -> Stream {
        let accepted = Glibc.accept(descriptor, nil, nil)
        try #require(accepted >= 0)
        return Stream(descriptor: accepted)
    }
}

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
    return address
}

/// Bytes which differ at every position of any block.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
}

/// Runs `body` on a new thread; the returned closure waits for its end.
func onThread(_ body: @escaping @Sendable () throws -> Void) -> () -> Void {
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
        do { try body() } catch { Issue.record(error) }
        done.signal()
    }
    return { #expect(done.wait(timeout: .now() + 60) == .success) }
}
