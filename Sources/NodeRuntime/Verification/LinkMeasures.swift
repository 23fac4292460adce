internal import Foundation
internal import Synchronization
internal import ZeroMQ

/// One connection over a link under test: the dialling end and the accepting one.
struct TestFlow: Sendable {
    let near: TestStream
    let far: TestStream

    /// Dialled from `side`; `near` is there.
    init(_ link: any LinkUnderTest, from side: RelaySide) throws {
        let listener = try link.listen(on: side.other)
        near = try link.dial(listener, from: side)
        far = try listener.accept()
    }

    func end() {
        near.end()
        far.end()
    }
}

/// A thread that ends on its own, and the wait for it.
struct TestThread: Sendable {
    private let done = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        let done = done
        Thread.detachNewThread {
            body()
            done.signal()
        }
    }

    func join() { done.wait() }
}

/// When bytes arrived at one end: counted in slots, so that rates and gaps can be read off later.
final class ArrivalLog: Sendable {
    private struct State {
        var arrivals: [(time: Int64, bytes: Int)] = []
    }
    private let state = Mutex(State())

    func add(_ time: Int64, _ bytes: Int) {
        state.withLock { $0.arrivals.append((time, bytes)) }
    }

    /// Bits per second between the first and the last arrival inside the interval.
    func rate(from start: Int64, to end: Int64) -> Double {
        state.withLock { state in
            let inside = state.arrivals.filter { $0.time >= start && $0.time < end }
            guard let first = inside.first, let last = inside.last, last.time > first.time else {
                return 0
            }
            let bytes = inside.dropFirst().reduce(0) { $0 + $1.bytes }
            return Double(bytes) * 8e9 / Double(last.time - first.time)
        }
    }

    /// The longest time without arrivals, in seconds.
    var longestGap: Double {
        state.withLock { state in
            zip(state.arrivals, state.arrivals.dropFirst()).map { Double($1.time - $0.time) / 1e9 }
                .max() ?? 0
        }
    }

    var first: Int64? { state.withLock { $0.arrivals.first?.time } }
    var bytes: Int { state.withLock { $0.arrivals.reduce(0) { $0 + $1.bytes } } }
}

enum LinkMeasures {
    private static let blockBytes = 64 * 1024
    /// SO_SNDBUF and SO_RCVBUF of the ends in `accepted`.
    static let acceptedBuffers: Int32 = 64 * 1024

    /// Seconds of each of `count` round trips of 64 bytes, dialled from `side`.
    static func roundTrips(
        _ link: any LinkUnderTest, count: Int, every nanoseconds: Int64 = 0
    ) throws -> [Double] {
        let flow = try TestFlow(link, from: .a)
        let echo = TestThread {
            var bytes = [UInt8](repeating: 0, count: 64)
            while flow.far.receive(64, &bytes), flow.far.send(bytes) {}
        }
        defer {
            flow.end()
            echo.join()
        }
        var bytes = [UInt8](repeating: 7, count: 64)
        var seconds: [Double] = []
        for _ in 0..<count {
            let start = MonotonicClock.now()
            guard flow.near.send(bytes), flow.near.receive(64, &bytes) else {
                throw RelayError("measure", "a round trip", reason: "the connection ended")
            }
            seconds.append(Double(MonotonicClock.now() - start) / 1e9)
            Pause.nanoseconds(start + nanoseconds - MonotonicClock.now())
        }
        return seconds
    }

    /// Sends on every flow from its near end as fast as it goes, for `seconds`, while `meanwhile`
    /// runs; what arrived at the far ends.
    static func saturate(
        _ flows: [TestFlow], seconds: Double, meanwhile: () throws -> Void = {}
    ) throws -> [ArrivalLog] {
        let logs = flows.map { _ in ArrivalLog() }
        let stop = MonotonicClock.now() + Int64(seconds * 1e9)
        var threads: [TestThread] = []
        for (flow, log) in zip(flows, logs) {
            threads.append(
                TestThread {
                    var bytes = [UInt8](repeating: 0, count: 256 * 1024)
                    while true {
                        let count = flow.far.receiveSome(&bytes)
                        guard count > 0 else { return }
                        log.add(MonotonicClock.now(), count)
                    }
                })
            threads.append(
                TestThread {
                    let block = [UInt8](repeating: 0x5a, count: blockBytes)
                    while MonotonicClock.now() < stop, flow.near.send(block) {}
                })
        }
        defer {
            Pause.nanoseconds(stop - MonotonicClock.now())
            for flow in flows { flow.end() }
            for thread in threads { thread.join() }
        }
        try meanwhile()
        return logs
    }

    /// Seconds from the first byte sent to the last one received, on a new connection from A.
    static func transfer(_ link: any LinkUnderTest, bytes total: Int) throws -> Double {
        let flow = try TestFlow(link, from: .a)
        let start = MonotonicClock.now()
        let sender = TestThread {
            let block = [UInt8](repeating: 0x5a, count: blockBytes)
            var left = total
            while left > 0 {
                guard flow.near.send(block, count: min(left, block.count)) else { return }
                left -= block.count
            }
        }
        var received = 0
        var bytes = [UInt8](repeating: 0, count: 256 * 1024)
        while received < total {
            let count = flow.far.receiveSome(&bytes)
            guard count > 0 else { break }
            received += count
        }
        let seconds = Double(MonotonicClock.now() - start) / 1e9
        flow.end()
        sender.join()
        guard received == total else {
            throw RelayError(
                "measure", "a transfer of \(total) bytes", reason: "\(received) arrived")
        }
        return seconds
    }

    /// Bytes a sender gets rid of while the receiver does not read, until nothing moves for a second.
    static func accepted(_ link: any LinkUnderTest) throws -> Int {
        let flow = try TestFlow(link, from: .a)
        defer { flow.end() }
        for end in [flow.near, flow.far] { end.fixBuffers(acceptedBuffers) }
        flow.near.wait(atMost: 1)
        let block = [UInt8](repeating: 0x5a, count: blockBytes)
        var total = 0
        let deadline = MonotonicClock.now() + 20_000_000_000
        while MonotonicClock.now() < deadline {
            let count = flow.near.sendSome(block)
            guard count > 0 else { break }
            total += count
        }
        return total
    }

    /// Which of `count` numbered datagrams from A arrived at B; packet mode only.
    static func datagrams(_ link: any LinkUnderTest, count: Int) throws -> [Bool] {
        let (near, far) = try link.datagrams()
        let arrived = Mutex([Bool](repeating: false, count: count))
        let receiver = TestThread {
            while let number = far.receive() {
                arrived.withLock { if $0.indices.contains(number) { $0[number] = true } }
            }
        }
        let start = MonotonicClock.now()
        for number in 0..<count {
            if number % 20 == 0 {
                Pause.nanoseconds(start + Int64(number) * 50_000 - MonotonicClock.now())
            }
            near.send(number)
        }
        receiver.join()
        return arrived.withLock { $0 }
    }
}
