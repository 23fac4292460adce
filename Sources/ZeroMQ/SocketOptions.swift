/// How a socket is protected. There is no default: every socket says it.
package enum SocketSecurity: Sendable {
    /// No encryption, no authentication: `inproc`, and tests of the transport itself.
    case plaintext
    /// CURVE server; the domain names the allow-list in ZAP requests and must not be empty (rule 5).
    case curveServer(CurveKeyPair, domain: String)
    /// CURVE client which insists on the server's key.
    case curveClient(CurveKeyPair, server: CurvePublicKey)
}

/// Everything that is set on a socket before it binds or connects.
///
/// Times are milliseconds because libzmq's are. Not offered, on purpose: ROUTING_ID (rule 6), ZMTP
/// heartbeats (rules 1 and 2), SNDBUF and RCVBUF (setting them turns the kernel's tuning off).
package struct SocketOptions: Sendable {
    package var security: SocketSecurity
    /// How long unsent messages survive `close`; 0...60,000.
    package var lingerMilliseconds: Int32 = 1000
    /// Messages queued per peer before `.wouldBlock`; 1...1,000,000 (0, unlimited, is refused).
    package var sendHighWaterMark: Int32 = 1000
    /// Messages received but not yet read per peer; 1...1,000,000.
    package var receiveHighWaterMark: Int32 = 1000
    /// Largest frame accepted from a peer (rule 9: chunk + 1 KiB on data, 64 KiB on control).
    /// A body is allocated from the *claimed* length before authentication. At least 276 (rule 8).
    package var maxMessageSize: Int64 = 64 * 1024
    /// Rule 9: how long a connection may take to authenticate before it is dropped.
    package var handshakeMilliseconds: Int32 = 5000
    /// Rule 12: first and last wait between attempts to reconnect.
    package var reconnectMilliseconds: Int32 = 250
    package var reconnectMaxMilliseconds: Int32 = 10_000
    /// How long one attempt to connect may take; 0 leaves it to the kernel (minutes).
    package var connectTimeoutMilliseconds: Int32 = 10_000
    /// Bit set of I/O threads which may serve this socket; 0 = any.
    package var ioThreadAffinity: UInt64 = 0
    /// Queue only on completed connections: a DEALER without a peer answers `.wouldBlock`, and nothing
    /// is lost in the queue of a connection that never was.
    package var immediate = true
    /// Connections the kernel holds before libzmq accepts them.
    package var backlog: Int32 = 256
    /// TCP keep-alive; nil leaves it to the system.
    package var keepAlive: KeepAlive? = KeepAlive()
    /// `host:port` of a SOCKS5 proxy to dial through: the link relay.
    package var socksProxy: String?

    package init(security: SocketSecurity) { self.security = security }

    /// TCP keep-alive in seconds: a dead machine is noticed after `idle + interval * count`.
    package struct KeepAlive: Sendable, Equatable {
        package var idle: Int32 = 10
        package var interval: Int32 = 5
        package var count: Int32 = 3
        package init() {}
    }
}
