import ClusterModel
import Foundation
import Glibc
import NodeRuntime
import Testing

/// Emulated links over real sockets. What is expected holds on a busy machine too: emulation may be
/// late, never early, and no link is faster than its rate.
@Suite(.serialized) struct LinkEmulationTests {
    private func rows(_ mode: LinkMode, _ parts: [LinkPart]) throws -> [LinkCheck] {
        try LinkVerifier(mode: mode, parts: parts).run().checks
    }

    private func expectIdle(_ mode: LinkMode) throws {
        let rows = try rows(mode, [.idle])
        #expect(rows.count == 3)
        for row in rows { #expect(row.measured >= row.expected - 0.01, "\(row.name)") }
    }

    private func expectSharing(_ mode: LinkMode) throws {
        let sum = try #require(rows(mode, [.sharing]).first)
        #expect(sum.measured > 0)
        #expect(sum.measured <= sum.expected * 1.05, "\(sum.name)")
    }

    @Test func aRelayIsNeverEarly() throws { try expectIdle(.relay) }
    @Test func flowsShareARelaysRate() throws { try expectSharing(.relay) }

    private func expectTransit(_ mode: LinkMode) throws {
        let rows = try rows(mode, [.transit])
        try #require(rows.count == 2)
        #expect(rows[0].measured >= rows[0].expected - 0.01)
        #expect(rows[1].measured > 0)
        #expect(rows[1].measured <= rows[1].expected * 1.05)
    }

    @Test func aPathCrossesTwoRelays() throws { try expectTransit(.relay) }

    @Test func aRefusalBeyondATransitRegionArrives() throws {
        let link = configuration(bitsPerSecond: 0, oneWayMilliseconds: 1)
        let first = try TestRelay(link)
        defer { first.stop() }
        let second = try TestRelay(link)
        defer { second.stop() }
        var path = link
        path.chainFromA = [first.ports.aPort, second.ports.aPort]
        let chain = try TestRelay(path)
        defer { chain.stop() }
        let listener = try Listener()
        let (near, reply) = try Stream.dial(chain.ports.aPort, to: listener.port)
        #expect(reply == 0)
        let far = try listener.accept()
        try far.send(pattern(100_000))
        #expect(try near.receive(100_000) == pattern(100_000))
        // A port where nobody listens any more.
        let closed = try Listener().port
        #expect(try Stream.dial(chain.ports.aPort, to: closed).reply == 5)
    }

    @Test func anOutageHoldsBytesBack() throws {
        var configuration = configuration(bitsPerSecond: 100_000_000, oneWayMilliseconds: 5)
        var outage = LinkChange(at: .zero)
        outage.isOutage = true
        outage.duration = .milliseconds(700)
        configuration.bToASchedule = LinkSchedule([outage], over: configuration.bToA)
        let start = ContinuousClock.now
        let relay = try TestRelay(configuration)
        defer { relay.stop() }
        let listener = try Listener()
        // Even the answer to the dialler waits for the end of the outage.
        let (near, reply) = try Stream.dial(relay.ports.aPort, to: listener.port)
        let far = try listener.accept()
        #expect(reply == 0)
        try far.send([1, 2, 3])
        #expect(try near.receive(3) == [1, 2, 3])
        #expect(ContinuousClock.now - start >= .milliseconds(690))
    }

    @Test func aResetEndsConnections() throws {
        var configuration = configuration(bitsPerSecond: 0, oneWayMilliseconds: 1)
        var reset = LinkChange(at: .milliseconds(300))
        reset.reset = .all
        reset.every = .milliseconds(300)
        configuration.resets = [reset]
        let relay = try TestRelay(configuration)
        defer { relay.stop() }
        let listener = try Listener()
        for _ in 0..<2 {
            let (near, reply) = try Stream.dial(relay.ports.aPort, to: listener.port)
            let far = try listener.accept()
            // Set-up may itself be hit; an established connection ends without a word.
            if reply == 0 { #expect(try near.receive(1).isEmpty) }
            #expect(try far.receive(1).isEmpty)
        }
    }

    @Test func resetsOfOneHitOneEachTime() throws {
        var configuration = configuration(bitsPerSecond: 0, oneWayMilliseconds: 1)
        var reset = LinkChange(at: .milliseconds(1_500))
        reset.reset = .one
        configuration.resets = [reset]
        let relay = try TestRelay(configuration)
        defer { relay.stop() }
        let listener = try Listener()
        let pairs = try (0..<3).map { _ in
            (try Stream.dial(relay.ports.aPort, to: listener.port).stream, try listener.accept())
        }
        Thread.sleep(forTimeInterval: 2)
        let alive = pairs.count { near, far in
            let byte: [UInt8] = [9]
            return unsafe send(near.descriptor, byte, 1, Int32(MSG_NOSIGNAL)) == 1
                && send(far.descriptor, byte, 1, Int32(MSG_NOSIGNAL)) == 1
        }
        #expect(alive == 2)
    }
}

/// Namespaces, TUN and kernel TCP. Needs root.
@Suite(
    .serialized,
    .enabled(
        if: PacketNetwork.refusal() == nil,
        "packet mode needs root, network namespaces and /dev/net/tun")
)
struct PacketModeTests {
    private func rows(_ parts: [LinkPart]) throws -> [LinkCheck] {
        try LinkVerifier(mode: .packet, parts: parts).run().checks
    }

    @Test func packetsAreNeverEarly() throws {
        for row in try rows([.idle]) {
            #expect(row.measured >= row.expected - 0.01, "\(row.name)")
        }
    }

    @Test func flowsShareTheRate() throws {
        let sum = try #require(rows([.sharing]).first)
        #expect(sum.measured > 0)
        #expect(sum.measured <= sum.expected * 1.05)
    }

    @Test func packetsCrossATransitRegion() throws {
        let rows = try rows([.transit])
        try #require(rows.count == 2)
        #expect(rows[0].measured >= rows[0].expected - 0.01)
        #expect(rows[1].measured <= rows[1].expected * 1.05)
    }

    @Test func packetsAreLostAsAskedFor() throws {
        for row in try rows([.limits]) where row.unit == .percent {
            // A receiver that is not scheduled in time loses some of its own.
            #expect(row.measured >= row.expected - row.tolerance, "\(row.name)")
        }
    }

    @Test func nothingIsLeftBehind() throws {
        func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        }
        let interfaces = try String(contentsOfFile: "/proc/net/dev", encoding: .utf8)
        let network = try PacketNetwork(
            PacketConfiguration(regions: ["a", "b", "c"], paths: [], seed: 1))
        #expect(network.address(ofRegion: 2) == "10.77.3.1")
        let inside = try network.namespaces[0].inside {
            try String(contentsOfFile: "/proc/thread-self/net/dev", encoding: .utf8)
        }
        #expect(inside.contains("longhaul0"))
        network.stop()
        #expect(!interfaces.contains("longhaul0"))
        #expect(
            try !String(contentsOfFile: "/proc/thread-self/net/dev", encoding: .utf8)
                .contains("longhaul0"))
    }
}
