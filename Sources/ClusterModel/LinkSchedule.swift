/// What changes on one direction of a link while it runs: phases of constant rate and delay, counted
/// from the link's start, and resets of its connections.
package struct LinkSchedule: Codable, Equatable, Sendable {
    /// From `start` until the next phase.
    package struct Phase: Codable, Equatable, Sendable {
        package var start: Int64
        /// 0 means unlimited.
        package var bitsPerSecond: UInt64
        package var oneWayNanoseconds: Int64
        /// Nothing departs.
        package var isDown: Bool

        package init(
            start: Int64, bitsPerSecond: UInt64, oneWayNanoseconds: Int64, isDown: Bool = false
        ) {
            self.start = start
            self.bitsPerSecond = bitsPerSecond
            self.oneWayNanoseconds = oneWayNanoseconds
            self.isDown = isDown
        }
    }

    /// In order of time; the first starts at 0.
    package private(set) var phases: [Phase]
    /// After so long the phases begin again; nil: the last one stays.
    package private(set) var period: Int64?

    /// - Returns: nil when the phases are not in order from 0, a rate or delay is out of range, or a
    ///   period ends before its last phase begins or lets nothing through.
    package init?(phases: [Phase], period: Int64? = nil) {
        guard phases.first?.start == 0,
            zip(phases, phases.dropFirst()).allSatisfy({ $0.start < $1.start }),
            phases.allSatisfy(\.isValid)
        else { return nil }
        if let period {
            guard let last = phases.last, period > last.start,
                phases.contains(where: { !$0.isDown })
            else { return nil }
        }
        self.phases = phases
        self.period = period
    }

    /// The phase at `offset` after the start, and the half-open interval in which it holds.
    func phase(at offset: Int64) -> (phase: Phase, start: Int64, end: Int64) {
        let turn = period.map { offset > 0 ? offset / $0 * $0 : 0 } ?? 0
        let local = max(0, offset - turn)
        var low = 0
        var high = phases.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if phases[middle].start <= local { low = middle } else { high = middle }
        }
        let next = low + 1 < phases.count ? phases[low + 1].start : period ?? .max
        return (phases[low], turn + phases[low].start, next == .max ? .max : turn + next)
    }
}

extension LinkSchedule.Phase {
    fileprivate var isValid: Bool {
        (bitsPerSecond == 0 || LinkClock.rates.contains(bitsPerSecond))
            && (0...LinkClock.longestDelay).contains(oneWayNanoseconds) && start >= 0
    }
}

/// One line of a link's schedule, as written.
package struct LinkChange: Codable, Equatable, Sendable {
    /// Connections that are reset.
    package enum Reset: String, Codable, CaseIterable, Sendable {
        /// One, drawn by the seed.
        case one
        case all
    }

    package var at: Interval
    /// How long it holds; nil: until the end. Meaningless for a reset.
    package var duration: Interval?
    /// Resets only: again after so long, for ever.
    package var every: Interval?
    /// The region whose sending direction changes; nil: both.
    package var from: RegionID?
    package var isOutage = false
    package var rate: UInt64?
    package var oneWay: Interval?
    package var reset: Reset?

    package init(at: Interval) { self.at = at }

    /// The instants at which a reset falls due strictly after `previous`: the earliest of them.
    package func nextReset(after previous: Int64) -> Int64? {
        guard reset != nil else { return nil }
        guard previous >= at.nanoseconds else { return at.nanoseconds }
        guard let every, every.nanoseconds > 0 else { return nil }
        let past = (previous - at.nanoseconds) / every.nanoseconds
        return at.nanoseconds + (past + 1) * every.nanoseconds
    }
}

extension LinkSchedule {
    /// Lays changes over a link's own parameters: where several hold at once the one written last
    /// decides about rate and delay, and an outage is an outage. Nil when nothing ever changes.
    package init?(_ changes: [LinkChange], over base: LinkParameters) {
        let steady = changes.filter { $0.reset == nil }
        guard !steady.isEmpty else { return nil }
        func end(_ change: LinkChange) -> Int64 {
            change.duration.map { (change.at + $0).nanoseconds } ?? .max
        }
        let starts = Set([0] + steady.map(\.at.nanoseconds) + steady.map(end)).sorted()
        let phases = starts.filter { $0 < .max }.map { start in
            var phase = Phase(
                start: start, bitsPerSecond: base.bitsPerSecond,
                oneWayNanoseconds: base.oneWayNanoseconds)
            for change in steady where change.at.nanoseconds <= start && start < end(change) {
                if let rate = change.rate { phase.bitsPerSecond = rate }
                if let oneWay = change.oneWay { phase.oneWayNanoseconds = oneWay.nanoseconds }
                phase.isDown = phase.isDown || change.isOutage
            }
            return phase
        }
        self.init(phases: phases)
    }
}
