internal import CZeroMQ
internal import Glibc

/// What happened to a socket's connections.
package struct MonitorEvent: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// TCP is connected; the handshake follows.
        case connected(descriptor: Int32)
        /// The attempt goes on in the background.
        case connectDelayed(code: Int32)
        /// The next attempt comes after this wait.
        case connectRetried(milliseconds: Int32)
        case listening(descriptor: Int32)
        case bindFailed(code: Int32)
        case accepted(descriptor: Int32)
        case acceptFailed(code: Int32)
        /// Our side gave the connection up.
        case closed(descriptor: Int32)
        case closeFailed(code: Int32)
        /// An established connection broke: reset, closed by the peer, or a protocol error.
        case disconnected(descriptor: Int32)
        case monitorStopped
        case handshakeSucceeded
        /// The peer closed during the handshake: with CURVE, the usual sign of a wrong *server* key.
        case handshakeFailedWithoutDetail(code: Int32)
        /// Not ZMTP, or the security handshake could not be verified.
        case handshakeFailedProtocol(code: Int32)
        /// The ZAP handler refused; 300, 400 or 500 (RFC 27). After 400 and 500 libzmq's client does
        /// *not* try again by itself.
        case handshakeFailedAuthentication(status: Int32)
        case unknown(event: UInt16, value: UInt32)
    }

    package let kind: Kind
    /// The endpoint the event is about.
    package let endpoint: String

    /// Decodes the two frames of ZMQ_SOCKET_MONITOR's version 1; nil when they are malformed.
    init?(header: Span<UInt8>, endpoint: Span<UInt8>) {
        guard header.count == 6 else { return nil }
        // The frame is in host order: it never leaves the process.
        let event = UInt16(littleEndian: UInt16(header[0]) | UInt16(header[1]) << 8)
        var value: UInt32 = 0
        for index in (2..<6).reversed() { value = value << 8 | UInt32(header[index]) }
        var text: [UInt8] = []
        for index in 0..<min(endpoint.count, 512) { text.append(endpoint[index]) }
        self.kind = Self.kind(event, value)
        self.endpoint = String(decoding: text, as: UTF8.self)
    }

    private static func kind(_ event: UInt16, _ raw: UInt32) -> Kind {
        let value = Int32(bitPattern: raw)
        return switch Int32(event) {
        case ZMQ_EVENT_CONNECTED: .connected(descriptor: value)
        case ZMQ_EVENT_CONNECT_DELAYED: .connectDelayed(code: value)
        case ZMQ_EVENT_CONNECT_RETRIED: .connectRetried(milliseconds: value)
        case ZMQ_EVENT_LISTENING: .listening(descriptor: value)
        case ZMQ_EVENT_BIND_FAILED: .bindFailed(code: value)
        case ZMQ_EVENT_ACCEPTED: .accepted(descriptor: value)
        case ZMQ_EVENT_ACCEPT_FAILED: .acceptFailed(code: value)
        case ZMQ_EVENT_CLOSED: .closed(descriptor: value)
        case ZMQ_EVENT_CLOSE_FAILED: .closeFailed(code: value)
        case ZMQ_EVENT_DISCONNECTED: .disconnected(descriptor: value)
        case ZMQ_EVENT_MONITOR_STOPPED: .monitorStopped
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: .handshakeSucceeded
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: .handshakeFailedWithoutDetail(code: value)
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: .handshakeFailedProtocol(code: value)
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: .handshakeFailedAuthentication(status: value)
        default: .unknown(event: event, value: raw)
        }
    }
}

/// Watches a socket's connections, from the socket's own thread.
///
/// Used by diallers to notice a reset connection at once and to tell a refused key from a wrong
/// server key from an absent server. Close it before its socket.
package final class SocketMonitor {
    /// libzmq's I/O thread blocks when the monitor's queue is full, so the queue is far larger than
    /// what comes between two turns of an event loop, and still bounded (two frames per event).
    private static let queueFrames: Int32 = 65_536

    /// For the poller.
    package let socket: Socket
    private weak var watched: Socket?

    package init(_ watched: Socket) throws(ZeroMQError) {
        let endpoint = watched.context.uniqueName("monitor")
        guard
            try unsafe zmq_socket_monitor(watched.raw(), endpoint, Int32(ZMQ_EVENT_ALL)) == 0
        else { throw .last("monitor", endpoint) }
        var options = SocketOptions(security: .plaintext)
        options.lingerMilliseconds = 0
        options.receiveHighWaterMark = Self.queueFrames
        socket = try Socket(watched.context, kind: .pair, options: options)
        self.watched = watched
        try socket.connect(endpoint)
    }

    deinit { close() }

    /// The next event; nil when there is none now. Malformed events are skipped.
    package func next() throws(ZeroMQError) -> MonitorEvent? {
        while let header = try socket.receive() {
            guard header.hasMore, let endpoint = try socket.receive() else { continue }
            if endpoint.hasMore { try socket.discardRest() }
            let event = header.withBytes { head in
                endpoint.withBytes { MonitorEvent(header: head, endpoint: $0) }
            }
            if let event { return event }
        }
        return nil
    }

    /// Stops watching. Idempotent.
    package func close() {
        guard socket.isOpen else { return }
        if let watched, let raw = try? unsafe watched.raw() {
            // SAFETY: a nil endpoint ends the monitor of an open socket of this thread.
            unsafe _ = zmq_socket_monitor(raw, nil, 0)
        }
        socket.close()
    }
}

@available(*, unavailable, message: "a monitor belongs to its socket's thread")
extension SocketMonitor: Sendable {}
