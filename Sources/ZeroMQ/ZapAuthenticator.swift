internal import Glibc
internal import Synchronization

/// Decides which CURVE keys may connect: the ZAP handler (RFC 27) of one context.
///
/// Rule 4: without a handler libzmq admits any key, so it is started before any socket binds, and
/// `Socket.bind` refuses to bind a CURVE server without it. It runs on its own thread, answers from
/// an allow-list which any thread may change, and gives the peer's name as User-Id. Everything that
/// is not CURVE, not version 1.0, of another domain or not on the list is refused with 400.
///
/// A refused client of libzmq 4.3.4 does not try again by itself; a revoked one that is connected
/// stays until its connection is cut (`PeerConnection`).
package final class ZapAuthenticator: Sendable {
    /// Requests answered so far.
    package struct Counters: Sendable, Equatable {
        package var accepted: UInt64 = 0
        package var refused: UInt64 = 0
        /// Requests which were not ZAP 1.0 at all; they are refused too.
        package var malformed: UInt64 = 0

        package init(accepted: UInt64 = 0, refused: UInt64 = 0, malformed: UInt64 = 0) {
            self.accepted = accepted
            self.refused = refused
            self.malformed = malformed
        }
    }

    /// More keys than any run has workers; bounds memory against a runaway list.
    package static let keyLimit = 65_536
    /// A User-Id travels as metadata with one length byte on the wire of RFC 27.
    package static let nameLimit = 255

    private struct State {
        var names: [CurvePublicKey: String] = [:]
        var counters = Counters()
    }

    private let context: Context
    private let domain: String
    private let state = Mutex(State())
    private let wakeUp: WakeUp
    private let stopping = Atomic<Bool>(false)
    private let thread = Mutex<SystemThread?>(nil)
    private let outcome = HandlerOutcome()

    /// Starts the handler and returns once it is bound.
    package init(
        _ context: Context, domain: String, allowing names: [CurvePublicKey: String] = [:]
    ) throws(ZeroMQError) {
        self.context = context
        self.domain = domain
        wakeUp = try WakeUp()
        try replaceAllowed(names)
        let ready = try WakeUp()
        let running = try SystemThread(name: "zap") { [self] in serve(ready) }
        // Binding an inproc name takes microseconds; ten seconds only guard against a hung machine.
        guard ready.wait(milliseconds: 10_000) else {
            running.detach()
            throw ZeroMQError(
                .timedOut, operation: "start", subject: "ZAP handler", reason: "no answer in 10 s")
        }
        if let error = outcome.error {
            running.join()
            throw error
        }
        thread.withLock { $0 = running }
        context.authenticatorStarted()
    }

    /// Stops the handler. Close the servers first: without it they would admit nobody (rule 5's
    /// enforcement), and binding a new one is refused. Idempotent.
    package func stop() {
        let running = thread.withLock { $0.take() }
        guard let running else { return }
        context.authenticatorStopped()
        stopping.store(true, ordering: .releasing)
        wakeUp.signal()
        running.join()
    }

    /// Replaces the whole allow-list. Effective for the next handshake.
    package func replaceAllowed(_ names: [CurvePublicKey: String]) throws(ZeroMQError) {
        for name in names.values { try check(name) }
        try check(count: names.count)
        state.withLock { $0.names = names }
    }

    /// Admits one key under `name`.
    package func allow(_ key: CurvePublicKey, as name: String) throws(ZeroMQError) {
        try check(name)
        try check(count: state.withLock { $0.names.count + 1 })
        state.withLock { $0.names[key] = name }
    }

    /// Refuses a key from now on; returns the name it had.
    @discardableResult
    package func revoke(_ key: CurvePublicKey) -> String? {
        state.withLock { $0.names.removeValue(forKey: key) }
    }

    package var counters: Counters { state.withLock { $0.counters } }

    /// Why the handler ended by itself, if it did (its context was terminated, memory ran out). The
    /// servers admit nobody from then on.
    package var failure: ZeroMQError? { outcome.error }

    /// The domain whose requests it answers; servers must use the same one.
    package var servedDomain: String { domain }

    private func check(_ name: String) throws(ZeroMQError) {
        guard (1...Self.nameLimit).contains(name.utf8.count), !name.utf8.contains(0) else {
            throw ZeroMQError(
                .badKey, operation: "allow", subject: "key named \"\(name.prefix(40))\"",
                reason: "a name has 1...\(Self.nameLimit) bytes and no NUL")
        }
    }

    private func check(count: Int) throws(ZeroMQError) {
        guard count <= Self.keyLimit else {
            throw ZeroMQError(
                .badKey, operation: "allow", subject: "\(count) keys",
                reason: "the allow-list holds at most \(Self.keyLimit)")
        }
    }

    // MARK: - The handler's thread

    private func serve(_ ready: WakeUp) {
        var options = SocketOptions(security: .plaintext)
        options.lingerMilliseconds = 0
        do throws(ZeroMQError) {
            let socket = try Socket(context, kind: .reply, options: options)
            defer { socket.close() }
            var poller = Poller()
            do throws(ZeroMQError) {
                try socket.bind("inproc://zeromq.zap.01")
                try poller.add(socket, token: 0, for: .readable)
            } catch {
                outcome.error = error
            }
            poller.add(wakeUp, token: 1)
            ready.signal()
            guard outcome.error == nil else { return }
            var events: [Poller.Ready] = []
            while !stopping.load(ordering: .acquiring) {
                try poller.wait(until: nil, into: &events)
                while let version = try socket.receive() { try answer(version, on: socket) }
            }
        } catch {
            // The context is ending; servers with enforcement now admit nobody.
            if outcome.error == nil { outcome.error = error }
            ready.signal()
        }
    }

    private func answer(_ version: consuming Message, on socket: Socket) throws(ZeroMQError) {
        var parts = [version.copiedBytes]
        var more = version.hasMore
        while more, let part = try socket.receive() {
            more = part.hasMore
            // RFC 27: six frames and the credentials; CURVE has one. Longer is malformed.
            if parts.count < ZapRequest.partLimit { parts.append(part.copiedBytes) }
        }
        let request = ZapRequest(parts)
        let name = state.withLock { state -> String? in
            let name = request?.key(in: domain).flatMap { state.names[$0] }
            if name != nil {
                state.counters.accepted += 1
            } else if request != nil {
                state.counters.refused += 1
            } else {
                state.counters.malformed += 1
            }
            return name
        }
        let identifier = parts.count > 1 ? parts[1] : []
        let reply = ZapRequest.reply(to: identifier, admitting: name)
        for (index, part) in reply.enumerated() {
            var message = try Message(copying: part)
            _ = try socket.send(&message, more: index < reply.count - 1)
        }
    }
}

/// Why the handler ended, written by its thread.
private final class HandlerOutcome: Sendable {
    private let failure = Mutex<ZeroMQError?>(nil)
    var error: ZeroMQError? {
        get { failure.withLock { $0 } }
        set { failure.withLock { $0 = newValue } }
    }
}
