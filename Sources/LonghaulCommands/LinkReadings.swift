import ClusterModel
import NodeRuntime
import ZeroMQ

/// An emulated link of this machine, and what it has counted.
struct CountedLink {
    let link: Topology.Link
    let name: String
    /// Nil while there is nothing to read.
    let read: () -> RelayReport?
}

/// What the links of a run have counted, read once a second, for the charts of the report.
struct LinkReadings {
    private static let interval: Int64 = 1_000_000_000

    private let links: [CountedLink]
    private let began = MonotonicClock.now()
    private var due: Int64
    private(set) var events: [StampedEvent] = []

    init(_ links: [CountedLink]) {
        self.links = links
        due = began
    }

    mutating func readIfDue() {
        guard MonotonicClock.now() >= due else { return }
        due = MonotonicClock.now() + Self.interval
        read()
    }

    /// A report that cannot be read (a relay has not written one yet) is left out.
    mutating func read() {
        let time = Instant(nanoseconds: MonotonicClock.now() - began)
        for counted in links {
            guard let report = counted.read() else { continue }
            for (direction, from, to) in [
                (report.aToB, counted.link.a, counted.link.b),
                (report.bToA, counted.link.b, counted.link.a),
            ] {
                let use = RunEvent.LinkUse(
                    from: from, to: to, bytes: direction.bytesDelivered,
                    flows: direction.flowsOpened, peakQueueBytes: UInt64(direction.peakQueueBytes))
                events.append(
                    StampedEvent(time: time, source: counted.name, event: .linkUse(use)))
            }
        }
    }
}
