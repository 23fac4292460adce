import Foundation
import Glibc
import Synchronization
import Testing
import ZeroMQ

@Suite("Poller, wake-up and messages")
struct PollerTests {
    @Test("a wake-up from another thread ends a wait, once per drain")
    func wakeUp() throws {
        let wakeUp = try WakeUp()
        // A thread of its own: the cooperative pool may be full of waiting tests.
        let signalled = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            for _ in 0..<3 { wakeUp.signal() }
            signalled.signal()
        }
        var poller = Poller()
        poller.add(wakeUp, token: 9)
        var ready: [Poller.Ready] = []
        try poller.wait(until: MonotonicClock.now() + patienceNanoseconds, into: &ready)
        #expect(ready.map(\.token) == [9] && ready.map(\.events) == [.readable])
        #expect(signalled.wait(timeout: .now() + .seconds(20)) == .success)
        #expect(wakeUp.drain())
        #expect(!wakeUp.drain())
        try poller.wait(until: MonotonicClock.now() - 1, into: &ready)
        #expect(ready.isEmpty)
    }

    @Test("a wait does not end before its deadline")
    func deadline() throws {
        var poller = Poller()
        var ready: [Poller.Ready] = []
        for nanoseconds in [1, 400_000, 2_500_001] as [Int64] {
            let deadline = MonotonicClock.now() + nanoseconds
            try poller.wait(until: deadline, into: &ready)
            #expect(MonotonicClock.now() >= deadline)
        }
    }

    @Test("entries keep their tokens when others are removed")
    func removal() throws {
        let wakeUps = try (0..<4).map { _ in try WakeUp() }
        var poller = Poller()
        for (index, wakeUp) in wakeUps.enumerated() {
            poller.add(wakeUp, token: UInt64(10 + index))
            wakeUp.signal()
        }
        let removed = [poller.remove(token: 10), poller.remove(token: 10)]
        #expect(removed == [true, false])
        poller.update(token: 12, for: [])
        var ready: [Poller.Ready] = []
        try poller.wait(until: MonotonicClock.now() - 1, into: &ready)
        #expect(Set(ready.map(\.token)) == [11, 13])
        #expect(poller.count == 3)
    }

    @Test("a message over a retained buffer lets go of it when it has been delivered")
    func retainedBuffer() throws {
        let context = try Context()
        let options = SocketOptions(security: .plaintext)
        let router = try Socket(context, kind: .router, options: options)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(context, kind: .dealer, options: options)
        try dealer.connect(endpoint)

        @safe final class Owner: Sendable {
            nonisolated(unsafe) let bytes: UnsafeMutableRawBufferPointer
            let onRelease: @Sendable () -> Void
            init(_ count: Int, _ onRelease: @escaping @Sendable () -> Void) {
                unsafe bytes = .allocate(byteCount: count, alignment: 64)
                for index in 0..<count { unsafe bytes[index] = UInt8(index & 0xff) }
                self.onRelease = onRelease
            }
            deinit {
                unsafe bytes.deallocate()
                onRelease()
            }
        }
        let counter = ReleaseCounter()
        let count = 50_000
        do {
            let owner = Owner(count) { counter.add() }
            var message = try unsafe Message(
                referringTo: UnsafeRawBufferPointer(owner.bytes), owner: owner)
            try turn([dealer], for: .writable) { try dealer.send(&message) == .sent }
        }
        let received = try receiveRouted(router).bytes
        #expect(received == (0..<count).map { UInt8($0 & 0xff) })
        try turn([]) { counter.count == 1 }

        do {
            // Never sent: closing the message releases the owner as well.
            let owner = Owner(10) { counter.add() }
            let message = try unsafe Message(
                referringTo: UnsafeRawBufferPointer(owner.bytes), owner: owner)
            #expect(message.count == 10)
        }
        #expect(counter.count == 2)
        dealer.close()
        router.close()
        try context.terminate()
    }

    @Test("a held message can be read from several threads after the socket has gone")
    func heldMessage() async throws {
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let held = HeldMessage(try Message(copying: bytes))
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    held.withBytes { span in
                        (0..<span.count).allSatisfy { span[$0] == bytes[$0] }
                    }
                }
            }
            for await same in group { #expect(same) }
        }
        #expect(held.count == bytes.count)
        #expect(held.userID == nil)
    }

    @Test("what a call has taken in by the way is found, and a socket at rest is not asked")
    func takenInByTheWay() throws {
        let context = try Context()
        let options = SocketOptions(security: .plaintext)
        let router = try Socket(context, kind: .router, options: options)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(context, kind: .dealer, options: options)
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [1])
        var sender: RoutingID?
        try turn([router]) {
            guard let message = try router.receiveRouted() else { return false }
            sender = message.sender
            return true
        }
        let peer = try #require(sender)
        var poller = Poller()
        try poller.add(dealer, token: 7, for: .readable)
        var ready: [Poller.Ready] = []
        for round in 0..<20 as Range<UInt8> {
            let nothing = try dealer.receive() == nil
            #expect(nothing && !dealer.mayHaveMessages)
            var answer = try Message(copying: [round])
            let outcome = try router.send(to: peer, &answer)
            #expect(outcome == .sent)
            // Long enough for libzmq to look for commands when the next message is sent: the answer is then
            // in the socket, and its descriptor is silent.
            if round % 2 == 0 {
                Thread.sleep(forTimeInterval: 0.02)
                try sendWhenPossible(dealer, [round])
            }
            try poller.wait(until: MonotonicClock.now() + patienceNanoseconds, into: &ready)
            #expect(ready.map(\.token) == [7] && ready.map(\.events) == [.readable])
            #expect(dealer.mayHaveMessages)
            let received = try dealer.receive()?.copiedBytes
            #expect(received == [round])
        }
        dealer.close()
        router.close()
        try context.terminate()
    }

    @Test("small messages, which libzmq keeps inside the message itself, survive being moved")
    func smallMessages() throws {
        for count in [0, 1, 32, 33, 34, 64] {
            let bytes = (0..<count).map(UInt8.init)
            let message = try Message(copying: bytes)
            let moved = message
            #expect(moved.copiedBytes == bytes)
        }
    }

    @Test("a peer which resets the connection is noticed by the dialler's monitor")
    func disconnected() throws {
        let context = try Context()
        let options = SocketOptions(security: .plaintext)
        let router = try Socket(context, kind: .router, options: options)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(context, kind: .dealer, options: options)
        let monitor = try SocketMonitor(dealer)
        try dealer.connect(endpoint)
        let first = try events(of: monitor) { $0 == .handshakeSucceeded }
        #expect(first.contains { if case .connected = $0 { true } else { false } })
        router.close()
        _ = try events(of: monitor) { if case .disconnected = $0 { true } else { false } }
        monitor.close()
        dealer.close()
        try context.terminate()
    }
}

/// Counts releases, which come from an I/O thread.
private final class ReleaseCounter: Sendable {
    private let value = Mutex(0)
    var count: Int { value.withLock { $0 } }
    func add() { value.withLock { $0 += 1 } }
}
