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
private final class RelayUnderTest: LinkUnderTest {
    private static let loopback: UInt32 = 0x7f00_0001
    private let ports: RelayPorts
    private let stopper: WakeUp
    private let reportPath: String
    private let ended = DispatchSemaphore(value: 0)

    init(_ link: TestLink, seed: UInt64) throws {
        var configuration = RelayConfiguration(
            regionA: "a", regionB: "b", aToB: link.aToB, bToA: link.bToA, seed: seed)
        configuration.aToBSchedule = link.aToBSchedule
        configuration.bToASchedule = link.bToASchedule
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

    func listen(on side: RelaySide) throws -> TestListener { try TestListener(Self.loopback) }

    func dial(_ listener: TestListener, from side: RelaySide) throws -> TestStream {
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

    func stop() -> RelayReport? {
        stopper.signal()
        ended.wait()
        let data = FileManager.default.contents(atPath: reportPath)
        try? FileManager.default.removeItem(atPath: reportPath)
        return data.flatMap { try? JSONDecoder().decode(RelayReport.self, from: $0) }
    }
}

/// Two regions in packet mode.
private final class PacketUnderTest: LinkUnderTest {
    private let network: PacketNetwork

    init(_ link: TestLink, seed: UInt64) throws {
        network = try PacketNetwork(
            PacketConfiguration(
                regions: ["a", "b"],
                paths: [
                    .init(from: 0, to: 1, link: link.aToB, schedule: link.aToBSchedule),
                    .init(from: 1, to: 0, link: link.bToA, schedule: link.bToASchedule),
                ], seed: seed))
    }

    func listen(on side: RelaySide) throws -> TestListener {
        try network.namespaces[side.rawValue].inside {
            try TestListener(PacketLimits.address(ofRegion: side.rawValue))
        }
    }

    func dial(_ listener: TestListener, from side: RelaySide) throws -> TestStream {
        try network.namespaces[side.rawValue].inside {
            try TestStream.connect(
                PacketLimits.address(ofRegion: side.other.rawValue), listener.port)
        }
    }

    func datagrams() throws -> (TestDatagrams, TestDatagrams) {
        let far = try network.namespaces[1].inside {
            try TestDatagrams(at: PacketLimits.address(ofRegion: 1))
        }
        let near = try network.namespaces[0].inside {
            try TestDatagrams(to: PacketLimits.address(ofRegion: 1), port: far.port)
        }
        return (near, far)
    }

    func stop() -> RelayReport? {
        network.stop()
        return network.report(between: 0, and: 1)
    }
}
