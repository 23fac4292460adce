internal import CZeroMQ
internal import Glibc

/// What became of a message handed to `send`. Unless it was sent it is still the caller's.
package enum SendOutcome: Equatable, Sendable {
    /// Queued. Rule 10: it can still be lost with the connection; sequence and acknowledge.
    case sent
    /// The peer's queue is full, or no connection is complete yet (EAGAIN). Try again when writable.
    case wouldBlock
    /// A ROUTER knows no such connection (any more) (EHOSTUNREACH, rule 3).
    case unreachable
}

/// A message a ROUTER received.
package struct RoutedMessage: ~Copyable {
    /// The connection it came by; answers go there.
    package let sender: RoutingID
    /// The first frame after the identity. Carries `userID` (rule 7).
    package var body: Message
    /// Frames after the identity. Longhaul's protocol has exactly one; anything else is the peer's
    /// fault, and frames beyond the first have been discarded.
    package let partCount: Int

    /// Gives the body away, for example to a queue of this thread.
    package consuming func takeBody() -> Message { body }

    /// Keeps the body for several owners or another thread.
    package consuming func holdBody() -> HeldMessage { HeldMessage(body) }
}

/// A ZeroMQ socket, owned by one thread.
///
/// Nothing here blocks: `send` and `receive` return at once (rule 3); waiting is the `Poller`'s.
/// Close it explicitly; `deinit` closes as the last resort.
@safe package final class Socket {
    /// The patterns Longhaul uses.
    package enum Kind: Sendable { case router, dealer, request, reply, pair }

    package let kind: Kind
    let context: Context
    private let isServer: Bool
    private var handle: UnsafeMutableRawPointer?
    /// False: there was nothing to receive when this was last looked at, and whatever comes from then on
    /// makes the socket's descriptor readable, which a `Poller` that waits for the socket notices. So where
    /// it is false after such a wait, `receive` need not be called; it would cost a system call.
    package private(set) var mayHaveMessages = true
    /// Messages dropped because the peer had chosen its own identity (rule 6).
    package private(set) var droppedForeignIdentities: UInt64 = 0

    /// Creates a socket and applies `options` before anything can connect.
    package init(_ context: Context, kind: Kind, options: SocketOptions) throws(ZeroMQError) {
        self.kind = kind
        self.context = context
        if case .curveServer = options.security { isServer = true } else { isServer = false }
        guard !context.isTerminating else {
            throw ZeroMQError(
                .terminating, operation: "create", subject: "\(kind) socket",
                reason: "its context has been terminated")
        }
        unsafe handle = zmq_socket(context.raw, kind.code)
        guard unsafe handle != nil else { throw .last("create", "\(kind) socket") }
        context.socketOpened()
        do {
            try apply(options)
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    /// Listens on `endpoint` and returns it with the wildcard port resolved
    /// (`tcp://127.0.0.1:*` becomes `tcp://127.0.0.1:40213`).
    ///
    /// Throws `.portInUse`, and `.unprotected` for a CURVE server while no `ZapAuthenticator` runs in
    /// the context: without one libzmq admits any key (rule 4).
    @discardableResult
    package func bind(_ endpoint: String) throws(ZeroMQError) -> String {
        guard !isServer || context.isAuthenticated else {
            throw ZeroMQError(
                .unprotected, operation: "bind", subject: endpoint,
                reason: "no ZAP handler runs, so any client key would be admitted",
                hint: "start a ZapAuthenticator in this context first")
        }
        mayHaveMessages = true
        guard try unsafe zmq_bind(raw(), endpoint) == 0 else { throw .last("bind", endpoint) }
        return try lastEndpoint()
    }

    /// Starts connecting to `endpoint`; returns at once. The monitor tells how it went.
    package func connect(_ endpoint: String) throws(ZeroMQError) {
        mayHaveMessages = true
        guard try unsafe zmq_connect(raw(), endpoint) == 0 else {
            throw .last("connect to", endpoint)
        }
    }

    /// Ends the connection made by `connect(endpoint)`.
    package func disconnect(_ endpoint: String) throws(ZeroMQError) {
        mayHaveMessages = true
        guard try unsafe zmq_disconnect(raw(), endpoint) == 0 else {
            throw .last("disconnect from", endpoint)
        }
    }

    /// Stops listening on a *resolved* endpoint.
    package func unbind(_ endpoint: String) throws(ZeroMQError) {
        mayHaveMessages = true
        guard try unsafe zmq_unbind(raw(), endpoint) == 0 else { throw .last("unbind", endpoint) }
    }

    /// Closes the socket; unsent messages get their linger in the background. Idempotent.
    package func close() {
        guard let open = unsafe handle else { return }
        unsafe handle = nil
        // SAFETY: the handle came from zmq_socket and is forgotten above, so it is closed once.
        unsafe _ = zmq_close(open)
        context.socketClosed()
    }

    /// Whether `close` has not been called yet.
    package var isOpen: Bool { unsafe handle != nil }

    func raw() throws(ZeroMQError) -> UnsafeMutableRawPointer {
        guard let open = unsafe handle else {
            throw ZeroMQError(
                .system, operation: "use", subject: "\(kind) socket", code: ENOTSOCK,
                reason: "the socket is closed")
        }
        return unsafe open
    }

    /// libzmq has taken in commands, as nearly every call on a socket may: messages among them make no
    /// descriptor readable any more.
    func tookCommands() { mayHaveMessages = true }

    func foundNoMessage() { mayHaveMessages = false }

    /// Readable when commands wait for the socket (ZMQ_FD).
    func descriptor() throws(ZeroMQError) -> Int32 {
        var descriptor: Int32 = -1
        var size = MemoryLayout<Int32>.size
        // SAFETY: here and below libzmq fills a local of the type and size it expects during the call.
        guard try unsafe zmq_getsockopt(raw(), ZMQ_FD, &descriptor, &size) == 0 else {
            throw .last("read", "the descriptor of a \(kind) socket")
        }
        return descriptor
    }

    /// What is the case now (ZMQ_EVENTS); takes in the commands that wait.
    func readiness() throws(ZeroMQError) -> Poller.Interest {
        var events: Int32 = 0
        var size = MemoryLayout<Int32>.size
        while try unsafe zmq_getsockopt(raw(), ZMQ_EVENTS, &events, &size) != 0 {
            guard zmq_errno() == EINTR else { throw .last("look at", "\(kind) socket") }
        }
        let found = Poller.Interest(rawValue: Int16(truncatingIfNeeded: events))
            .intersection([.readable, .writable])
        mayHaveMessages = found.contains(.readable)
        return found
    }

    func countForeignIdentity() { droppedForeignIdentities += 1 }

    private func lastEndpoint() throws(ZeroMQError) -> String {
        // 256 bytes: "tcp://[" + 45 characters of IPv6 + scope + port fit many times.
        var text = [CChar](repeating: 0, count: 256)
        var length = text.count
        guard try unsafe zmq_getsockopt(raw(), ZMQ_LAST_ENDPOINT, &text, &length) == 0 else {
            throw .last("read", "the bound endpoint")
        }
        return String(
            decoding: text.prefix(max(length - 1, 0)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

@available(*, unavailable, message: "a socket belongs to the thread which created it")
extension Socket: Sendable {}

extension Socket.Kind {
    var code: Int32 {
        switch self {
        case .router: ZMQ_ROUTER
        case .dealer: ZMQ_DEALER
        case .request: ZMQ_REQ
        case .reply: ZMQ_REP
        case .pair: ZMQ_PAIR
        }
    }
}
