internal import CZeroMQ
internal import Glibc
internal import Synchronization

/// A libzmq context: I/O threads and the space of `inproc` names.
///
/// It may be shared by threads (libzmq's contexts are thread-safe); sockets may not. The context
/// lives until its last socket is closed, because every socket retains it.
package final class Context: Sendable {
    /// Held as an integer so that the class is `Sendable`; only this module turns it back.
    private let address: UInt
    private let terminated = Atomic<Bool>(false)
    private let sockets = Atomic<Int>(0)
    private let names = Atomic<UInt64>(0)
    private let authenticators = Atomic<Int>(0)

    /// Creates a context.
    ///
    /// - Parameters:
    ///   - ioThreads: 1...16. One connection stays on one I/O thread; more threads serve more lanes.
    ///   - maxSockets: 16...65,535. libzmq's default of 1,023 is too small for thousands of clients.
    package init(ioThreads: Int = 1, maxSockets: Int = 1023) throws(ZeroMQError) {
        guard (1...16).contains(ioThreads), (16...65_535).contains(maxSockets) else {
            throw ZeroMQError(
                .badOption, operation: "create", subject: "context",
                reason: "ioThreads \(ioThreads), maxSockets \(maxSockets)",
                hint: "use 1...16 threads and 16...65535 sockets")
        }
        guard let raw = unsafe zmq_ctx_new() else { throw .last("create", "context") }
        address = UInt(bitPattern: raw)
        // BLOCKY off: sockets start with linger 0, so that an early error never hangs at exit.
        for (option, value) in [
            (ZMQ_IO_THREADS, Int32(ioThreads)), (ZMQ_MAX_SOCKETS, Int32(maxSockets)),
            (ZMQ_BLOCKY, 0),
        ] where unsafe zmq_ctx_set(raw, option, value) != 0 {
            throw .last("configure", "context option \(option)")
        }
    }

    deinit {
        guard !terminated.load(ordering: .acquiring) else { return }
        // SAFETY: no socket is open (each retains the context), so this waits for lingers only.
        unsafe _ = zmq_ctx_term(raw)
    }

    /// Ends the context within a bounded time.
    ///
    /// Blocking calls of sockets return `.terminating`; messages still queued get their linger. When
    /// sockets stay open beyond the limit the call throws and says how many; the context then ends
    /// on its own when they are closed.
    package func terminate(withinMilliseconds limit: Int = 3000) throws(ZeroMQError) {
        guard !terminated.exchange(true, ordering: .acquiringAndReleasing) else { return }
        // SAFETY: the context is valid; shutdown may be called from any thread.
        unsafe _ = zmq_ctx_shutdown(raw)
        let done = try WakeUp()
        let ending = try SystemThread(name: "zmq-term") { [self] in
            // SAFETY: the closure retains the context object; zmq_ctx_term is called once.
            while unsafe zmq_ctx_term(raw) != 0, zmq_errno() == EINTR {}
            done.signal()
        }
        guard done.wait(milliseconds: Int32(clamping: limit)) else {
            ending.detach()
            throw ZeroMQError(
                .timedOut, operation: "terminate", subject: "context",
                reason: "\(openSockets) sockets still open after \(limit) ms",
                hint: "close every socket (and monitor) before terminating")
        }
        ending.join()
    }

    /// Sockets which are open now, the authenticator's and monitors' included.
    package var openSockets: Int { sockets.load(ordering: .relaxed) }

    /// Whether `terminate` has been called.
    var isTerminating: Bool { terminated.load(ordering: .acquiring) }

    // SAFETY: the address came from zmq_ctx_new and is valid until zmq_ctx_term returns.
    var raw: UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped
    }

    func socketOpened() { sockets.add(1, ordering: .relaxed) }
    func socketClosed() { sockets.subtract(1, ordering: .relaxed) }

    /// A name for an `inproc` endpoint, unique in this context.
    func uniqueName(_ prefix: String) -> String {
        "inproc://\(prefix)-\(names.add(1, ordering: .relaxed).newValue)"
    }

    /// Whether a ZAP handler answers (rule 4).
    var isAuthenticated: Bool { authenticators.load(ordering: .acquiring) > 0 }
    func authenticatorStarted() { authenticators.add(1, ordering: .releasing) }
    func authenticatorStopped() { authenticators.subtract(1, ordering: .releasing) }
}
