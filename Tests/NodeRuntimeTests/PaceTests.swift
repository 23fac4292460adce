import Foundation
import Glibc
import NodeRuntime
import Testing

/// What the kernel is told of a lane's connection.
@Suite("Pace of a connection") struct PaceTests {
    /// A connected pair of sockets on 127.0.0.1.
    private struct Pair {
        var near: Int32 = -1
        var far: Int32 = -1

        init() {
            let stream = Int32(SOCK_STREAM.rawValue)
            let listener = socket(AF_INET, stream, 0)
            defer { close(listener) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            near = socket(AF_INET, stream, 0)
            // SAFETY: a sockaddr_in is passed with its own size.
            unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe _ = bind(listener, $0, length)
                    _ = listen(listener, 1)
                    unsafe _ = getsockname(listener, $0, &length)
                    unsafe _ = connect(near, $0, length)
                }
            }
            far = accept(listener, nil, nil)
        }

        func end() {
            close(near)
            close(far)
        }
    }

    /// Bytes per second.
    private func pace(_ descriptor: Int32) -> UInt64 {
        var rate: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        // SO_MAX_PACING_RATE; the kernel fills at most `length` bytes.
        unsafe _ = getsockopt(descriptor, SOL_SOCKET, 47, &rate, &length)
        return rate
    }

    @Test("the kernel is told, and told again")
    func told() throws {
        let pair = Pair()
        defer { pair.end() }
        let connection = FarConnection(
            pair.near, try #require(ConnectionEnds(of: pair.near)))
        for rate in [30_000_000, 7_500_000] as [UInt64] {
            connection.pace(bytesPerSecond: rate)
            #expect(pace(pair.near) == rate)
        }
        connection.pace(bytesPerSecond: nil)
        #expect(pace(pair.near) > 1_000_000_000)
        #expect(pace(pair.far) > 1_000_000_000, "the other end is its own")
    }

    @Test("a descriptor that has become another connection's stays as it is")
    func reused() throws {
        let (first, second) = (Pair(), Pair())
        defer {
            first.end()
            second.end()
        }
        let connection = FarConnection(
            first.near, try #require(ConnectionEnds(of: first.near)))
        #expect(dup2(second.near, first.near) == first.near)
        connection.pace(bytesPerSecond: 1_000)
        #expect(pace(first.near) > 1_000_000_000)
    }

    @Test("what stays on this machine is known")
    func local() throws {
        let pair = Pair()
        defer { pair.end() }
        #expect(try #require(ConnectionEnds(of: pair.near)).isLocal)
        let alone = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(alone) }
        #expect(ConnectionEnds(of: alone) == nil)
    }
}
