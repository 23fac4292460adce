package import ClusterModel
package import Coordination
package import WireProtocol

/// Acknowledgements on their way out. They are cumulative, so of a lane's the last is enough; and for a
/// small chunk one of its own would wake two threads here and two at the peer, which wait for the next chunk
/// meanwhile. So they go when a full chunk's payload has come in, or after a moment.
package struct DelayedAcknowledgements {
    /// Payload bytes that are acknowledged at once: one full chunk of fp32, or four of int8.
    package static let bytesAtOnce = 256 << 10
    /// Others wait at most this long; credit lasts for more at every rate a window is made for.
    package static let delay = Interval(nanoseconds: 500_000)

    private var waiting: [(lane: LaneID, message: WireProtocol.Message)] = []
    private var bytes = 0
    private var oldest: Int64?

    package init() {}

    /// When the next ones must go; nil: none wait. Of the monotonic clock.
    package var due: Int64? { oldest.map { $0 + Self.delay.nanoseconds } }

    /// Payload that has just come in, on any lane.
    package mutating func received(bytes count: Int) { bytes += count }

    package mutating func add(_ message: WireProtocol.Message, on lane: LaneID, now: Int64) {
        oldest = oldest ?? now
        if let known = waiting.firstIndex(where: { $0.lane == lane }) {
            waiting[known].message = message
        } else {
            waiting.append((lane, message))
        }
    }

    /// Those that go now, by lane in order of their first.
    package mutating func take(now: Int64) -> [(lane: LaneID, message: WireProtocol.Message)] {
        guard let due, bytes >= Self.bytesAtOnce || now >= due else { return [] }
        defer {
            waiting = []
            bytes = 0
            oldest = nil
        }
        return waiting
    }
}
