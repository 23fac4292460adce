internal import ClusterModel
internal import Foundation
internal import Synchronization
internal import ZeroMQ

/// How a link is emulated.
package enum LinkMode: String, Codable, CaseIterable, Sendable {
    case relay
    case packet

    /// Share of the link's rate that is left for TCP's payload. A relay counts payload; a packet of
    /// 1,500 bytes carries 1,448 with time stamps.
    package var payloadShare: Double { self == .relay ? 1 : 1448.0 / 1500 }
}

/// A link between sides A and B that runs, for measuring. Connections are made from either side.
protocol LinkUnderTest: Sendable {
    func listen(on side: RelaySide) throws -> TestListener
    func dial(_ listener: TestListener, from side: RelaySide) throws -> TestStream
    /// A pair of UDP sockets at A and at B.
    func datagrams() throws -> (TestDatagrams, TestDatagrams)
    /// Ends the link; what it counted, if it counts.
    func stop() -> RelayReport?
}

/// Parameters of the link of one case.
struct TestLink: Sendable {
    var aToB: LinkParameters
    var bToA: LinkParameters
    var aToBSchedule: LinkSchedule?
    var bToASchedule: LinkSchedule?
    /// A further link after this one, both ways: side B lies beyond a region of transit.
    var second: LinkParameters?

    init(_ both: LinkParameters) {
        aToB = both
        bToA = both
    }

    func start(_ mode: LinkMode, seed: UInt64) throws -> any LinkUnderTest {
        switch mode {
        case .relay: try RelayUnderTest(self, seed: seed)
        case .packet: try PacketUnderTest(self, seed: seed)
        }
    }
}

/// A relay on a thread of this process.
private final class RelayThread: Sendable {
    let ports: RelayPorts
    private let stopper: WakeUp
    private let reportPath: String
    private let ended = DispatchSemaphore(value: 0)

    init(_ wanted: RelayConfiguration) throws {
        var configuration = wanted
        reportPath = NSTemporaryDirectory() + "longhaul-verify-\(getpid())-\(UUID()).json"
        configuration.reportPath = reportPath
        let stopper = try WakeUp()
        self.stopper = stopper
        let announced = Mutex<RelayPorts?>(nil)
        let failed = Mutex<RelayError?>(nil)
        let ready = DispatchSemaphore(value: 0)
        let ended = ended
        let started = configuration
        Thread.detachNewThread {
            ThreadUrgency.raise(to: .emulating)
            do {
                try Relay.run(started, stop: stopper) { ports in
                    announced.withLock { $0 = ports }
                    ready.signal()
                }
            } catch {
                failed.withLock { $0 = error as? RelayError }
                ready.signal()
            }
            ended.signal()
        }
        ready.wait()
        guard let ports = announced.withLock({ $0 }) else {
            throw failed.withLock { $0 }
                ?? RelayError("start", "the relay to be measured", reason: "it ended")
        }
        self.ports = ports
    }

    func stop() -> RelayReport? {
        stopper.signal()
        ended.wait()
        let data = FileManager.default.contents(atPath: reportPath)
        try? FileManager.default.removeItem(atPath: reportPath)
        return data.flatMap { try? JSONDecoder().decode(RelayReport.self, from: $0) }
    }
}

/// One relay, or two in a row behind a third that only leads over them.
private final class RelayUnderTest: LinkUnderTest {
    private static let loopback: UInt32 = 0x7f00_0001
    /// The one that is dialled first.
    private let relays: [RelayThread]

    init(_ link: TestLink, seed: UInt64) throws {
        var configuration = RelayConfiguration(
            regionA: "a", regionB: "b", aToB: link.aToB, bToA: link.bToA, seed: seed)
        configuration.aToBSchedule = link.aToBSchedule
        configuration.bToASchedule = link.bToASchedule
        let first = try RelayThread(configuration)
        guard let second = link.second else {
            relays = [first]
            return
        }
        let further = try RelayThread(
            RelayConfiguration(
                regionA: "m", regionB: "b", aToB: second, bToA: second, seed: seed))
        let open = LinkParameters(
            bitsPerSecond: 0, oneWayNanoseconds: 0, queueLimitBytes: 256 * 1024)
        var path = RelayConfiguration(
            regionA: "a", regionB: "b", aToB: open, bToA: open, seed: seed)
        path.chainFromA = [first.ports.aPort, further.ports.aPort]
        path.chainFromB = [further.ports.bPort, first.ports.bPort]
        relays = [try RelayThread(path), first, further]
    }

    func listen(on side: RelaySide) throws -> TestListener { try TestListener(Self.loopback) }

    func dial(_ listener: TestListener, from side: RelaySide) throws -> TestStream {
        let ports = relays[0].ports
        let stream = try TestStream.connect(Self.loopback, side == .a ? ports.aPort : ports.bPort)
        let port = listener.port
        var answer = [UInt8](repeating: 0, count: 10)
        guard stream.send([5, 1, 0]), stream.receive(2, &answer),
            stream.send([5, 1, 0, 1, 127, 0, 0, 1, UInt8(port >> 8), UInt8(port & 0xff)]),
            stream.receive(10, &answer), answer[1] == 0
        else {
            throw RelayError(
                "connect through", "the relay", reason: "SOCKS answer \(answer[1])")
        }
        return stream
    }

    func datagrams() throws -> (TestDatagrams, TestDatagrams) {
        throw RelayError("send datagrams over", "a relay", reason: "it carries TCP only")
    }

    func stop() -> RelayReport? { relays.map { $0.stop() }[0] }
}

/// Two regions in packet mode, or three with one on the way.
private final class PacketUnderTest: LinkUnderTest {
    private let network: PacketNetwork
    /// Region of side B.
    private let far: Int

    init(_ link: TestLink, seed: UInt64) throws {
        var configuration = PacketConfiguration(
            regions: ["a", "b"],
            paths: [
                .init(from: 0, to: 1, link: link.aToB, schedule: link.aToBSchedule),
                .init(from: 1, to: 0, link: link.bToA, schedule: link.bToASchedule),
            ], seed: seed)
        if let second = link.second {
            configuration.regions = ["a", "m", "b"]
            configuration.paths += [
                .init(from: 1, to: 2, link: second), .init(from: 2, to: 1, link: second),
            ]
            configuration.transits = [
                .init(from: 0, to: 2, via: 1), .init(from: 2, to: 0, via: 1),
            ]
        }
        far = configuration.regions.count - 1
        network = try PacketNetwork(configuration)
    }

    private func region(_ side: RelaySide) -> Int { side == .a ? 0 : far }

    func listen(on side: RelaySide) throws -> TestListener {
        try network.namespaces[region(side)].inside {
            try TestListener(PacketLimits.address(ofRegion: region(side)))
        }
    }

    func dial(_ listener: TestListener, from side: RelaySide) throws -> TestStream {
        try network.namespaces[region(side)].inside {
            try TestStream.connect(
                PacketLimits.address(ofRegion: region(side.other)), listener.port)
        }
    }

    func datagrams() throws -> (TestDatagrams, TestDatagrams) {
        let receiver = try network.namespaces[far].inside {
            try TestDatagrams(at: PacketLimits.address(ofRegion: far))
        }
        let sender = try network.namespaces[0].inside {
            try TestDatagrams(to: PacketLimits.address(ofRegion: far), port: receiver.port)
        }
        return (sender, receiver)
    }

    func stop() -> RelayReport? {
        network.stop()
        return network.report(between: 0, and: 1)
    }
}
