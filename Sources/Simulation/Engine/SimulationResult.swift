package import ClusterModel

/// What a simulated run was.
package struct SimulationResult: Sendable {
    /// In order of virtual time; a `RunRecord` view prints them as it prints a real run's.
    package var events: [StampedEvent]
    /// Objections of the checkers; empty in a run that is right.
    package var findings: [Finding]
    /// Equal for two runs that took the same course.
    package var traceHash: UInt64
    /// How the coordinator ended; nil if it crashed or was not done.
    package var code: ExitCode?
    package var reason: String
    package var virtualTime: Instant
    package var occurrences: Int
    /// By seat; nil for a worker that crashed or never ended.
    package var workerCodes: [ExitCode?]
    package var committedRounds: UInt32
    /// Digest of the last committed round.
    package var digest: UInt64
    package var intervals: [TraceInterval]
}

/// A seat's saved state, opaque outside.
package struct SavedState: Sendable {
    let state: TrainerState
    init(_ state: TrainerState) { self.state = state }
}

/// An objection of a checker.
package struct Finding: Codable, Equatable, Sendable {
    package var checker: String
    package var time: Instant
    package var text: String
}

/// A stretch of a trainer's virtual time.
package struct TraceInterval: Codable, Equatable, Sendable {
    package var worker: Int
    package var name: String
    package var start: Int64
    package var end: Int64
}
