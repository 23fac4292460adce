package import ClusterModel

/// When somebody is waited for, what is said of it and how often: once after the patience, again when it
/// changes and after pauses that double, and once, with its length, when it is over.
///
/// ```
/// wait   |---P---*----2 P----*--------4 P--------* ...  16 P at most
///                said        again               again            over: said if the wait was
/// ```
package struct WaitNotice: Equatable, Sendable {
    /// A wait as it stands: the same one as long as activity and beginning are.
    package struct Wait: Equatable, Sendable {
        package var activity: String
        package var names: [String]
        package var since: Instant
        package var until: Instant?
        package var then: String
        package init(
            activity: String, names: [String], since: Instant, until: Instant?, then: String
        ) {
            self.activity = activity
            self.names = names
            self.since = since
            self.until = until
            self.then = then
        }

        fileprivate func isSame(_ other: Wait) -> Bool {
            activity == other.activity && since == other.since
        }
    }

    private struct Told: Equatable, Sendable {
        var wait: Wait
        var at: Instant
        /// From then to when it is said again although nothing changes.
        var pause: Interval
    }

    private var told: Told?

    package init() {}

    /// Something has been said of a wait that is not over yet.
    package var isOpen: Bool { told != nil }

    /// What is said now.
    ///
    /// - Parameters:
    ///   - wait: nil when nobody is waited for.
    ///   - early: how far ahead of its time a wait is said first, for an observer that looks only so often.
    package mutating func note(
        _ wait: Wait?, by observer: String, patience: Interval, early: Interval = .zero,
        _ now: Instant
    ) -> [RunEvent] {
        var events: [RunEvent] = []
        if let told, wait.map({ !$0.isSame(told.wait) }) ?? true {
            self.told = nil
            events.append(
                .waited(
                    observer: observer, activity: told.wait.activity, names: told.wait.names,
                    since: told.wait.since, until: max(told.wait.since, now)))
        }
        guard let wait else { return events }
        if let told {
            let changes = wait.names != told.wait.names || wait.until != told.wait.until
            let isDue = now - told.at >= told.pause
            guard isDue || changes && now - told.at >= patience else { return events }
            let most = patience * CoordinationLimits.waitPauseMost
            let next = isDue ? min(told.pause + told.pause, most) : told.pause
            self.told = Told(wait: wait, at: now, pause: next)
        } else {
            guard now - wait.since >= patience - early else { return events }
            self.told = Told(wait: wait, at: now, pause: patience + patience)
        }
        events.append(
            .waiting(
                observer: observer, activity: wait.activity, names: wait.names, since: wait.since,
                until: wait.until, then: wait.then))
        return events
    }
}
