package import ClusterModel
package import WireProtocol

/// The coordinator's clock as a worker can know it: each answer that says when it was asked for and when it
/// was written bounds the difference to the worker's own clock, and the estimate moves no further than the
/// newest bounds demand. So an answer that was long on its way tells little and changes little.
///
/// Off by less than the quickest round trip so far, as long as both clocks run alike. After a new
/// coordinator's first answer: by less than that one's round trip.
package struct CoordinatorClock: Equatable, Sendable {
    /// What the coordinator's clock is ahead; zero before the first answer.
    package private(set) var ahead = Interval.zero

    package init() {}

    /// Takes the times out of an answer to HELLO or HEARTBEAT.
    package mutating func heard(_ message: Message, at now: Instant) {
        if case .welcome(let welcome) = message {
            bound(asked: welcome.echoSentAt, written: welcome.coordinatorTime, now)
        }
        if case .heartbeatAck(let answer) = message, answer.echoSentAt != .zero {
            bound(asked: answer.echoSentAt, written: answer.coordinatorTime, now)
        }
    }

    package func time(_ own: Instant) -> Instant { own + ahead }

    private mutating func bound(asked: Instant, written: Instant, _ now: Instant) {
        // Readings from the wire: differences must fit, and honest clocks stay far below.
        let limit = Int64.max / 8
        guard asked <= now,
            [asked, written, now].allSatisfy({ (-limit...limit).contains($0.nanoseconds) })
        else { return }
        ahead = min(max(ahead, written - now), written - asked)
    }
}
