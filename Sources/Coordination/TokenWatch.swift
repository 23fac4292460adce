package import ClusterModel
import WireProtocol

/// How long a trainer has waited for tokens of others, and what has been said of it. Times are a driver's, in
/// nanoseconds of one clock that never jumps.
package struct TokenWatch: Equatable, Sendable {
    private var notice = WaitNotice()
    /// When the coordinator was told that they do not come.
    private var givenUp: Int64 = 0
    /// What this worker's slowest step took, without waiting.
    private var longestStep: Int64 = 0

    package init() {}

    package mutating func note(_ event: Worker.TrainerEvent) {
        guard case .computed(_, _, _, _, let elapsed) = event else { return }
        longestStep = max(longestStep, elapsed.nanoseconds)
    }

    /// A regular look, never silent: what is to be said of a wait.
    ///
    /// - Parameter wait: nil when nobody is waited for.
    package mutating func say(
        _ wait: WaitNotice.Wait?, by observer: String, patience: Interval, _ now: Instant
    ) -> [RunEvent] {
        notice.note(
            wait, by: observer, patience: patience, early: CoordinationLimits.heartbeatInterval, now
        )
    }

    /// Whether the coordinator is to be told (``Worker/TrainerEvent/tokensOverdue``) of a wait that began at
    /// `since`: a link that is down gives back no tokens, and nobody who waits for them comes to the end of
    /// the step.
    ///
    /// - Parameter crosses: tokens come from other regions.
    package mutating func givesUp(
        since: Int64, now: Int64, patience: Interval, crosses: Bool
    ) -> Bool {
        let limit = Self.limit(patience: patience, longestStep: longestStep)
        guard crosses, now - max(since, givenUp) >= limit else { return false }
        givenUp = now
        return true
    }

    /// Nanoseconds after which tokens of other regions are missing.
    package static func limit(patience: Interval, longestStep: Int64) -> Int64 {
        max(
            CoordinationLimits.tokenPatience * patience.nanoseconds,
            CoordinationLimits.tokenPatienceSteps * longestStep)
    }
}

extension ActivePlan {
    /// For whom a trainer waits in the middle of a step, and what will be done about it.
    package func tokenWait(
        step: UInt32, exchange: UInt32, members: [WorkerID], since: Instant, silence: Interval
    ) -> WaitNotice.Wait {
        WaitNotice.Wait(
            activity: "tokens of step \(step), exchange \(exchange)",
            names: members.compactMap { member($0)?.name }, since: since, until: nil,
            then: crossesTokens
                ? "the coordinator is told, and the step is computed again without tokens of other "
                    + "regions"
                : "the coordinator evicts a worker that is silent for \(Int(silence.seconds)) s, and "
                    + "the step is computed again")
    }
}
