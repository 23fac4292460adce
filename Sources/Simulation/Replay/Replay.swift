package import ClusterModel
package import Coordination

/// What a driver told a worker's machine, and when by its clock, in order. A run recorded anywhere is
/// replayed by telling a fresh machine the same.
package struct RecordedEvent: Codable, Equatable, Sendable {
    package var time: Instant
    package var event: Worker.Event
    package init(time: Instant, event: Worker.Event) {
        self.time = time
        self.event = event
    }
}

/// Runs a recorded log through a machine.
package enum Replay {
    package struct Difference: Equatable, Sendable {
        /// Index of the event after which the effects differ.
        package var index: Int
        package var recorded: [Worker.Effect]
        package var replayed: [Worker.Effect]
    }

    /// Effects of each event.
    package static func effects(
        of log: [RecordedEvent], through machine: Worker
    ) -> [[Worker.Effect]] {
        var machine = machine
        return log.map { machine.handle($0.event, at: $0.time) }
    }

    /// The first event after which a fresh machine wants something else than the recorded one; nil if
    /// there is none.
    package static func firstDifference(
        log: [RecordedEvent], effects recorded: [[Worker.Effect]], through machine: Worker
    ) -> Difference? {
        let replayed = effects(of: log, through: machine)
        for (index, pair) in zip(recorded, replayed).enumerated() where pair.0 != pair.1 {
            return Difference(index: index, recorded: pair.0, replayed: pair.1)
        }
        return nil
    }
}
