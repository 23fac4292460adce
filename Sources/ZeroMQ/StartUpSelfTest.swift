/// Proves at start-up that strangers are refused, with the settings the real server will use.
///
/// Rules 4 and 5: three settings must be right together or CURVE lets everybody in without a word.
/// So a server with these settings is bound to loopback and dialled twice: with a random key, which
/// must be refused, and with a key put on the allow-list for the purpose, which must be admitted.
package enum StartUpSelfTest {
    /// Each handshake takes milliseconds on loopback; half of two seconds bounds each.
    private static let limitNanoseconds: Int64 = 1_000_000_000

    /// - Parameters:
    ///   - options: those of the server to be; their security must be `.curveServer`.
    package static func run(
        _ context: Context, authenticator: ZapAuthenticator, serverOptions options: SocketOptions
    ) throws(ZeroMQError) {
        guard case .curveServer(let serverKeys, _) = options.security else {
            throw failure("the server is not a CURVE server", hint: "give it a key pair")
        }
        let server = try Socket(context, kind: .router, options: options)
        defer { server.close() }
        let endpoint = try server.bind("tcp://127.0.0.1:*")

        let stranger = try CurveKeyPair.generate()
        switch try dial(context, endpoint, stranger, serverKeys.publicKey) {
        case .handshakeFailedAuthentication:
            break
        case .handshakeSucceeded:
            throw failure(
                "a random key was admitted", hint: "check the ZAP handler, domain and enforcement")
        case let event:
            throw failure("a random key was not refused by ZAP but met \(event)")
        }

        let friend = try CurveKeyPair.generate()
        try authenticator.allow(friend.publicKey, as: "start-up-self-test")
        defer { authenticator.revoke(friend.publicKey) }
        let event = try dial(context, endpoint, friend, serverKeys.publicKey)
        guard event == .handshakeSucceeded else {
            throw failure("an allowed key met \(event)", hint: "check that the domains are equal")
        }
    }

    /// Connects once and returns how the handshake ended.
    private static func dial(
        _ context: Context, _ endpoint: String, _ keys: CurveKeyPair, _ server: CurvePublicKey
    ) throws(ZeroMQError) -> MonitorEvent.Kind {
        var options = SocketOptions(security: .curveClient(keys, server: server))
        options.lingerMilliseconds = 0
        let client = try Socket(context, kind: .dealer, options: options)
        defer { client.close() }
        let monitor = try SocketMonitor(client)
        defer { monitor.close() }
        var poller = Poller()
        try poller.add(monitor.socket, token: 0, for: .readable)
        try client.connect(endpoint)
        let deadline = MonotonicClock.now() + limitNanoseconds
        var ready: [Poller.Ready] = []
        repeat {
            try poller.wait(until: deadline, into: &ready)
            while let event = try monitor.next() {
                switch event.kind {
                case .handshakeSucceeded, .handshakeFailedAuthentication,
                    .handshakeFailedProtocol, .handshakeFailedWithoutDetail:
                    return event.kind
                case .connected, .connectDelayed, .connectRetried, .listening, .bindFailed,
                    .accepted, .acceptFailed, .closed, .closeFailed, .disconnected,
                    .monitorStopped, .unknown:
                    continue
                }
            }
        } while MonotonicClock.now() < deadline
        throw ZeroMQError(
            .timedOut, operation: "run", subject: "start-up self-test",
            reason: "no handshake with \(endpoint) within 1 s")
    }

    private static func failure(_ reason: String, hint: String = "") -> ZeroMQError {
        ZeroMQError(
            .selfTest, operation: "run", subject: "start-up self-test", reason: reason, hint: hint)
    }
}
