extension RunSummary {
    package struct Loss: Codable, Equatable, Sendable {
        /// Token-weighted mean over workers of the last ``RunSummary/finalLossSteps`` steps.
        package var finalTrainingLoss: Double?
        package var finalTrainingSteps: Int
        /// Sample-weighted mean over the workers that evaluated at the last evaluated step.
        package var finalValidationLoss: Double?
        package var finalValidationStep: UInt32?
        /// The pool first (`region` absent), then each region.
        package var training: [Curve]
        package var validation: [Curve]
    }

    package struct Curve: Codable, Equatable, Sendable {
        package var region: String?
        /// Consecutive steps whose mean is one point; 1 unless the run is long.
        package var stepsPerPoint: Int
        package var points: [Point]

        package struct Point: Codable, Equatable, Sendable {
            package var step: UInt32
            /// Of the whole pool up to and including this step.
            package var tokens: UInt64
            /// When the last worker had done it, since the coordinator started.
            package var seconds: Double
            /// Nats per byte.
            package var loss: Double
        }
    }

    package struct Rounds: Codable, Equatable, Sendable {
        /// Distinct outer rounds committed.
        package var committed: Int
        /// Distinct inner collectives committed, where the coordinator is told of them.
        package var committedInside: Int
        /// Mean time between outer commits.
        package var secondsBetween: Double?
        /// Relay bytes (else lane bytes) per outer round on the busiest direction.
        package var bytesPerRoundBusiest: Double?
        /// Rounds that were committed twice with different digests: must be empty.
        package var conflicts: [String]
        /// The latest, at most ``limit``.
        package var latest: [Committed]
        /// Where the coordinator closes rounds; nil under other schedules.
        package var closing: Closing?

        /// Enough to compare the end of two runs.
        package static let limit = 200

        package struct Committed: Codable, Equatable, Sendable {
            package var fragment: UInt16
            package var round: UInt32
            package var seconds: Double
            package var digest: String
            package var members: Int
            package var tokens: UInt64
        }

        /// How rounds were closed.
        package struct Closing: Codable, Equatable, Sendable {
            package var closed = 0
            /// Of those, with all replicas that could still come.
            package var withEverybody = 0
            /// Contributions that were merged after having missed rounds, and how many rounds those were.
            package var mergedLate = 0
            package var roundsMissed = 0
            /// Mean time from a round's first offer to its being closed.
            package var secondsOpen = 0.0
            /// The latest, at most ``limit``.
            package var latest: [Closed] = []

            package static let limit = 50

            package struct Closed: Codable, Equatable, Sendable {
                package var round: UInt32
                package var seconds: Double
                package var because: String
            }
        }
    }

    package struct Counts: Codable, Equatable, Sendable {
        package var evictions = 0
        package var leavers = 0
        package var waits = 0
        package var waitSeconds = 0.0
        package var violations = 0
        /// Distinct outages: overlapping losses of several workers are one.
        package var coordinatorOutages = 0
        package var coordinatorOutageSeconds = 0.0
        package var checkpoints = 0
        package var failedCheckpoints = 0
        package var epochs = 0
    }

    /// One fact on the time line of the report.
    package struct Incident: Codable, Equatable, Sendable {
        package enum Kind: String, Codable, CaseIterable, Sendable {
            case joined, epoch, waiting, evicted, left, violation
            case coordinatorLost = "coordinator_lost"
            case checkpoint
            case checkpointFailed = "checkpoint_failed"
            case stateTaken = "state_taken"
            case model, note, started, ended
        }
        package var kind: Kind
        package var seconds: Double
        /// For what lasts; absent while it is not known to be over.
        package var endSeconds: Double?
        package var text: String
    }
}
