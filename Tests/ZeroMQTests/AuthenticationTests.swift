import Testing
import ZeroMQ

@Suite("CURVE and ZAP")
struct AuthenticationTests {
    @Test("a key which is not on the allow-list is refused, an allowed one admitted (rule 4)")
    func allowList() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")

        let stranger = try CurveKeyPair.generate()
        #expect(
            try handshake(fixture, endpoint, fixture.clientOptions(stranger))
                == .handshakeFailedAuthentication(status: 400))
        #expect(
            try handshake(fixture, endpoint, fixture.clientOptions()) == .handshakeSucceeded)
        #expect(fixture.authenticator.counters == .init(accepted: 1, refused: 1, malformed: 0))

        try fixture.authenticator.allow(stranger.publicKey, as: "worker-2")
        #expect(
            try handshake(fixture, endpoint, fixture.clientOptions(stranger))
                == .handshakeSucceeded)
        #expect(fixture.authenticator.revoke(stranger.publicKey) == "worker-2")
        #expect(
            try handshake(fixture, endpoint, fixture.clientOptions(stranger))
                == .handshakeFailedAuthentication(status: 400))
        #expect(fixture.authenticator.failure == nil)
        router.close()
        try fixture.finish()
    }

    @Test("a server of another domain admits nobody (rule 5)")
    func domain() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router,
            options: SocketOptions(security: .curveServer(fixture.serverKeys, domain: "other")))
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        #expect(
            try handshake(fixture, endpoint, fixture.clientOptions())
                == .handshakeFailedAuthentication(status: 400))
        router.close()
        try fixture.finish()
    }

    @Test("with enforcement a server whose handler has gone admits nobody (rule 5)")
    func enforcement() throws {
        let fixture = try Fixture()
        var options = fixture.serverOptions()
        // A request which meets the handler while it closes is never answered: the time limit of the
        // handshake ends that connection.
        options.handshakeMilliseconds = 300
        let router = try Socket(fixture.context, kind: .router, options: options)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        fixture.authenticator.stop()
        let end = try handshake(fixture, endpoint, fixture.clientOptions())
        #expect(end != .handshakeSucceeded)
        router.close()
        try fixture.finish()
    }

    @Test("a CURVE server does not bind without a handler (rule 4)")
    func bindNeedsHandler() throws {
        let context = try Context()
        let router = try Socket(
            context, kind: .router,
            options: SocketOptions(security: .curveServer(try .generate(), domain: "d")))
        let error = #expect(throws: ZeroMQError.self) { try router.bind("tcp://127.0.0.1:*") }
        #expect(error?.kind == .unprotected)
        router.close()
        try context.terminate()
    }

    @Test("a client with the wrong server key is not let in and can tell it from a refusal")
    func wrongServerKey() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let wrong = SocketOptions(
            security: .curveClient(
                fixture.clientKeys, server: try CurveKeyPair.generate().publicKey))
        let end = try handshake(fixture, endpoint, wrong)
        guard case .handshakeFailedWithoutDetail = end else {
            Issue.record("met \(end)")
            return
        }
        #expect(fixture.authenticator.counters == .init())
        router.close()
        try fixture.finish()
    }

    @Test("a revoked peer is cut off at its descriptor and refused when it returns")
    func revocation() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(
            fixture.context, kind: .dealer, options: fixture.clientOptions())
        let monitor = try SocketMonitor(dealer)
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [1])
        var descriptor: Int32?
        try turn([router]) {
            guard let message = try router.receiveRouted() else { return false }
            descriptor = message.body.sourceDescriptor
            return true
        }
        fixture.authenticator.revoke(fixture.clientKeys.publicKey)
        try PeerConnection.shutdown(descriptor: try #require(descriptor))
        let seen = try events(of: monitor) {
            $0 == .handshakeFailedAuthentication(status: 400)
        }
        #expect(seen.contains { if case .disconnected = $0 { true } else { false } })
        monitor.close()
        dealer.close()
        router.close()
        try fixture.finish()
    }

    @Test("the start-up self-test passes with good settings and names bad ones")
    func selfTest() throws {
        let fixture = try Fixture()
        try StartUpSelfTest.run(
            fixture.context, authenticator: fixture.authenticator,
            serverOptions: fixture.serverOptions())
        #expect(fixture.authenticator.counters.accepted == 1)

        let otherDomain = SocketOptions(
            security: .curveServer(fixture.serverKeys, domain: "other"))
        let error = #expect(throws: ZeroMQError.self) {
            try StartUpSelfTest.run(
                fixture.context, authenticator: fixture.authenticator,
                serverOptions: otherDomain)
        }
        #expect(error?.kind == .selfTest)
        let open = #expect(throws: ZeroMQError.self) {
            try StartUpSelfTest.run(
                fixture.context, authenticator: fixture.authenticator,
                serverOptions: SocketOptions(security: .plaintext))
        }
        #expect(open?.kind == .selfTest)
        try fixture.finish()
    }

    /// Dials once and returns how the handshake ended.
    private func handshake(
        _ fixture: Fixture, _ endpoint: String, _ options: SocketOptions
    ) throws -> MonitorEvent.Kind {
        let dealer = try Socket(fixture.context, kind: .dealer, options: options)
        defer { dealer.close() }
        let monitor = try SocketMonitor(dealer)
        defer { monitor.close() }
        try dealer.connect(endpoint)
        let seen = try events(of: monitor) {
            switch $0 {
            case .handshakeSucceeded, .handshakeFailedAuthentication, .handshakeFailedProtocol,
                .handshakeFailedWithoutDetail:
                true
            default: false
            }
        }
        return try #require(seen.last)
    }
}
