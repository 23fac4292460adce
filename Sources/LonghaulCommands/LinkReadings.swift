import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// An emulated link of this machine: its process, where to dial it, where it counts.
struct LocalRelay {
    let link: Topology.Link
    let process: ChildProcess
    let ports: RelayPorts
    let report: String
}

/// What the relays of a run have counted, read once a second, for the charts of the report.
struct LinkReadings {
    private static let interval: Int64 = 1_000_000_000

    private let relays: [LocalRelay]
    private let began = MonotonicClock.now()
    private var due: Int64
    private(set) var events: [StampedEvent] = []

    init(_ relays: [LocalRelay]) {
        self.relays = relays
        due = began
    }

    mutating func readIfDue() {
        guard MonotonicClock.now() >= due else { return }
        due = MonotonicClock.now() + Self.interval
        read()
    }

    /// A report that cannot be read (the relay has not written one yet) is left out.
    mutating func read() {
        let time = Instant(nanoseconds: MonotonicClock.now() - began)
        for relay in relays {
            guard let data = FileManager.default.contents(atPath: relay.report),
                let report = try? JSONDecoder().decode(RelayReport.self, from: data)
            else { continue }
            for (direction, from, to) in [
                (report.aToB, relay.link.a, relay.link.b),
                (report.bToA, relay.link.b, relay.link.a),
            ] {
                let use = RunEvent.LinkUse(
                    from: from, to: to, bytes: direction.bytesDelivered,
                    flows: direction.flowsOpened, peakQueueBytes: UInt64(direction.peakQueueBytes))
                events.append(
                    StampedEvent(time: time, source: relay.process.name, event: .linkUse(use)))
            }
        }
    }
}
