import ClusterModel
import Foundation
import NodeRuntime
import Testing
import ZeroMQ

@Suite("ZeroMQ through the link relay", .serialized)
struct RelayZeroMQTests {
    private static let limit: Int64 = 30_000_000_000

    @Test("CURVE DEALERs of both regions reach ROUTERs of the other through SOCKS")
    func curve() throws {
        let relay = try TestRelay(
            configuration(bitsPerSecond: 1_000_000_000, oneWayMilliseconds: 10))
        let context = try Context()
        let serverKeys = try CurveKeyPair.generate()
        let clientKeys = try CurveKeyPair.generate()
        let authenticator = try ZapAuthenticator(
            context, domain: "relay", allowing: [clientKeys.publicKey: "worker"])
        for port in [relay.ports.aPort, relay.ports.bPort] {
            var serverOptions = SocketOptions(
                security: .curveServer(serverKeys, domain: "relay"))
            serverOptions.maxMessageSize = 300_000
            let router = try Socket(context, kind: .router, options: serverOptions)
            let endpoint = try router.bind("tcp://127.0.0.1:*")
            var options = SocketOptions(
                security: .curveClient(clientKeys, server: serverKeys.publicKey))
            options.socksProxy = "127.0.0.1:\(port)"
            options.maxMessageSize = 300_000
            let dealer = try Socket(context, kind: .dealer, options: options)
            let monitor = try SocketMonitor(dealer)
            let start = MonotonicClock.now()
            try dealer.connect(endpoint)
            try exchange(dealer, router, messages: 20, bytes: 256 * 1024)
            // SOCKS set-up, ZMTP greeting, two CURVE round trips and the first message.
            #expect(MonotonicClock.now() - start >= 80_000_000)

            // The server goes: the dialler's monitor sees it, and reconnects through the relay.
            router.close()
            try wait(monitor) { if case .disconnected = $0 { true } else { false } }
            let second = try Socket(context, kind: .router, options: serverOptions)
            try bindAgain(second, endpoint)
            try wait(monitor) { $0 == .handshakeSucceeded }
            try exchange(dealer, second, messages: 1, bytes: 10)
            monitor.close()
            dealer.close()
            second.close()
        }
        authenticator.stop()
        try context.terminate(withinMilliseconds: 20_000)
        relay.stop()
    }

    @Test("a wrong key is refused through the relay as well")
    func stranger() throws {
        let relay = try TestRelay(
            configuration(bitsPerSecond: 1_000_000_000, oneWayMilliseconds: 2))
        let context = try Context()
        let serverKeys = try CurveKeyPair.generate()
        let authenticator = try ZapAuthenticator(context, domain: "relay")
        let router = try Socket(
            context, kind: .router,
            options: SocketOptions(security: .curveServer(serverKeys, domain: "relay")))
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        var options = SocketOptions(
            security: .curveClient(try .generate(), server: serverKeys.publicKey))
        options.socksProxy = "127.0.0.1:\(relay.ports.aPort)"
        let dealer = try Socket(context, kind: .dealer, options: options)
        let monitor = try SocketMonitor(dealer)
        try dealer.connect(endpoint)
        try wait(monitor) { $0 == .handshakeFailedAuthentication(status: 400) }
        monitor.close()
        dealer.close()
        router.close()
        authenticator.stop()
        try context.terminate(withinMilliseconds: 20_000)
        relay.stop()
    }

    /// Sends numbered messages one way and one answer back.
    private func exchange(
        _ dealer: Socket, _ router: Socket, messages: Int, bytes: Int
    ) throws {
        var poller = Poller()
        try poller.add(dealer, token: 0, for: .writable)
        try poller.add(router, token: 1, for: .readable)
        var ready: [Poller.Ready] = []
        let deadline = MonotonicClock.now() + Self.limit
        var sent = 0
        var received = 0
        var sender: RoutingID?
        while received < messages {
            try #require(MonotonicClock.now() < deadline, "\(sent) sent, \(received) received")
            try poller.wait(until: deadline, into: &ready)
            if sent < messages {
                var message = try Message(
                    copying: [UInt8](repeating: UInt8(sent), count: bytes))
                if try dealer.send(&message) == .sent { sent += 1 }
                if sent == messages { poller.update(token: 0, for: .readable) }
            }
            while let message = try router.receiveRouted() {
                #expect(
                    message.body.copiedBytes
                        == [UInt8](repeating: UInt8(received), count: bytes))
                #expect(message.body.userID == "worker")
                sender = message.sender
                received += 1
            }
        }
        var answer = try Message(copying: [42])
        #expect(try router.send(to: try #require(sender), &answer) == .sent)
        var bytes: [UInt8]?
        while bytes == nil {
            try #require(MonotonicClock.now() < deadline)
            try poller.wait(until: deadline, into: &ready)
            bytes = try dealer.receive()?.copiedBytes
        }
        #expect(bytes == [42])
    }

    private func wait(
        _ monitor: SocketMonitor, until matches: (MonitorEvent.Kind) -> Bool
    ) throws {
        var poller = Poller()
        try poller.add(monitor.socket, token: 0, for: .readable)
        var ready: [Poller.Ready] = []
        let deadline = MonotonicClock.now() + Self.limit
        var seen: [MonitorEvent.Kind] = []
        while true {
            while let event = try monitor.next() {
                seen.append(event.kind)
                if matches(event.kind) { return }
            }
            try #require(MonotonicClock.now() < deadline, "\(seen)")
            try poller.wait(until: deadline, into: &ready)
        }
    }

    /// The port is free once libzmq's I/O thread has closed the old listener.
    private func bindAgain(_ socket: Socket, _ endpoint: String) throws {
        let deadline = MonotonicClock.now() + Self.limit
        while true {
            do throws(ZeroMQError) {
                try socket.bind(endpoint)
                return
            } catch {
                try #require(error.kind == .portInUse && MonotonicClock.now() < deadline)
                Thread.sleep(forTimeInterval: 0.01)
            }
        }
    }
}
