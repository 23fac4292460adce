import Glibc
import Testing
import ZeroMQ

@Suite("ROUTER and DEALER")
struct RouterTests {
    @Test("a full peer answers wouldBlock and nothing that was sent is lost (rule 3)")
    func stalledPeer() throws {
        let fixture = try Fixture()
        var options = fixture.serverOptions()
        options.sendHighWaterMark = 100
        let router = try Socket(fixture.context, kind: .router, options: options)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        var dealerOptions = fixture.clientOptions()
        dealerOptions.receiveHighWaterMark = 10
        let dealer = try Socket(fixture.context, kind: .dealer, options: dealerOptions)
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [1])
        let peer = try receiveRouted(router).sender

        // 32 KiB each: 1,000 of them exceed what the kernel buffers of one connection hold.
        var sent = 0
        var blocked = 0
        for index in 0..<1000 {
            var bytes = [UInt8](repeating: 0, count: 32 * 1024)
            bytes[0] = UInt8(sent & 0xff)
            bytes[1] = UInt8(sent >> 8)
            var message = try Message(copying: bytes)
            switch try router.send(to: peer, &message) {
            case .sent:
                sent += 1
                #expect(message.count == 0)
            case .wouldBlock:
                blocked += 1
                #expect(message.count == bytes.count, "a message not sent stays the caller's")
            case .unreachable:
                Issue.record("send \(index) found the peer unreachable")
            }
        }
        #expect(sent + blocked == 1000)
        #expect(sent > 0 && blocked > 0)

        for expected in 0..<sent {
            let bytes = try receiveBytes(dealer)
            #expect(Int(bytes[0]) | Int(bytes[1]) << 8 == expected)
        }
        #expect(try dealer.receive() == nil)
        dealer.close()
        router.close()
        try fixture.finish()
    }

    @Test("a peer which went away is unreachable, not blocked (rule 3)")
    func unreachablePeer() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(
            fixture.context, kind: .dealer, options: fixture.clientOptions())
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [1])
        let peer = try receiveRouted(router).sender
        dealer.close()

        var outcome = SendOutcome.sent
        try turn([]) {
            var message = try Message(copying: [2])
            outcome = try router.send(to: peer, &message)
            return outcome == .unreachable
        }
        #expect(outcome == .unreachable)
        router.close()
        try fixture.finish()
    }

    @Test("the user id is on the body frame and names the key (rule 7)")
    func userID() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(
            fixture.context, kind: .dealer, options: fixture.clientOptions())
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [7, 8, 9])
        let message = try receiveRouted(router)
        try sendWhenPossible(dealer, [11])
        var held: HeldMessage?
        try turn([router]) {
            if let next = try router.receiveRouted() { held = next.holdBody() }
            return held != nil
        }
        #expect(held?.userID == "worker-1")
        #expect(held?.withBytes { $0[0] } == 11)
        #expect(message.user == "worker-1")
        #expect(message.bytes == [7, 8, 9])
        #expect(message.sender.bytes.count == 5)

        var answer = try Message(copying: [10])
        #expect(try router.send(to: message.sender, &answer) == .sent)
        #expect(try receiveBytes(dealer) == [10])
        dealer.close()
        router.close()
        try fixture.finish()
    }

    @Test("further frames of a message are dropped and counted")
    func multipart() throws {
        let fixture = try Fixture()
        let router = try Socket(
            fixture.context, kind: .router, options: fixture.serverOptions())
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(
            fixture.context, kind: .dealer, options: fixture.clientOptions())
        try dealer.connect(endpoint)
        try sendWhenPossible(dealer, [1])
        _ = try receiveRouted(router)
        for (byte, more) in [(UInt8(1), true), (2, true), (3, false)] {
            var part = try Message(copying: [byte])
            #expect(try dealer.send(&part, more: more) == .sent)
        }
        try sendWhenPossible(dealer, [4])
        var parts: [Int] = []
        var bodies: [[UInt8]] = []
        try turn([router]) {
            while let message = try router.receiveRouted() {
                parts.append(message.partCount)
                bodies.append(message.body.copiedBytes)
            }
            return parts.count == 2
        }
        #expect(parts == [3, 1])
        #expect(bodies == [[1], [4]])
        dealer.close()
        router.close()
        try fixture.finish()
    }

    @Test("a port in use is a typed error which says so")
    func portInUse() throws {
        let context = try Context()
        let options = SocketOptions(security: .plaintext)
        let first = try Socket(context, kind: .router, options: options)
        let endpoint = try first.bind("tcp://127.0.0.1:*")
        #expect(endpoint.hasPrefix("tcp://127.0.0.1:") && !endpoint.hasSuffix("*"))
        let second = try Socket(context, kind: .router, options: options)
        let error = #expect(throws: ZeroMQError.self) { try second.bind(endpoint) }
        #expect(error?.kind == .portInUse)
        #expect(error?.subject == endpoint)
        #expect(error?.description.contains("the port is in use") == true)
        first.close()
        second.close()
        try context.terminate()
    }

    @Test("a context with an open socket does not hang when it is terminated")
    func boundedTermination() throws {
        let context = try Context()
        let socket = try Socket(
            context, kind: .router, options: SocketOptions(security: .plaintext))
        let error = #expect(throws: ZeroMQError.self) {
            try context.terminate(withinMilliseconds: 50)
        }
        #expect(error?.kind == .timedOut)
        #expect(error?.reason.contains("1 sockets still open") == true)
        socket.close()
        let late = #expect(throws: ZeroMQError.self) {
            _ = try Socket(
                context, kind: .router, options: SocketOptions(security: .plaintext))
        }
        #expect(late?.kind == .terminating)
    }

    @Test("option values which libzmq would misuse are refused (rules 5 and 8)")
    func badOptions() throws {
        let context = try Context()
        var small = SocketOptions(security: .plaintext)
        small.maxMessageSize = 275
        var endless = SocketOptions(security: .plaintext)
        endless.lingerMilliseconds = -1
        let nameless = SocketOptions(
            security: .curveServer(try .generate(), domain: ""))
        for options in [small, endless, nameless] {
            let error = #expect(throws: ZeroMQError.self) {
                _ = try Socket(context, kind: .router, options: options)
            }
            #expect(error?.kind == .badOption)
        }
        #expect(context.openSockets == 0)
        try context.terminate()
    }
}
