import ClusterModel

/// A worker of a run of fidelity `round`: it speaks the control protocol and has a trainer's clock.
struct StandIn {
    let name: String
    let region: RegionID
    let nominalStep: Interval
    /// Tokens of one step.
    let tokens: UInt64
    let connection: ConnectionID
    var generator: SeededGenerator
    /// Index of its unit; set by the first plan.
    var unit = 0
    /// When its trainer is free, or its values are there.
    var clock: Int64 = 0
    /// When the mean under way is complete at it.
    var arrival: Int64 = 0
    /// Last arrivals of its control connection, to the coordinator and back.
    var lastUp = Int64.min
    var lastDown = Int64.min
    /// Tokens that no event has told yet.
    var untoldTokens: UInt64 = 0
    var lastEvaluated: UInt32 = 0
    var budget = RunEvent.TimeBudget()
    var isWelcome = false
    /// Has said LEAVE; heartbeats end.
    var isParting = false
    var hasLeft = false

    /// Books `span` nanoseconds of the trainer's time.
    mutating func book(_ part: WritableKeyPath<RunEvent.TimeBudget, Interval>, _ span: Int64) {
        let time = Interval(nanoseconds: max(0, span))
        budget[keyPath: part] = budget[keyPath: part] + time
        budget.wall = budget.wall + time
    }
}

/// Workers whose inner steps are one event: a region above 1,000 workers or where every step is shared,
/// else a single worker.
struct StepUnit {
    let region: RegionID
    var seats: [Int]
    /// Members that have not heard GO.
    var awaitsGo: Int
    /// Inner steps taken.
    var step: UInt32 = 0
    /// Step after which the fragment last left.
    var leftAt: UInt32 = 0
    var appliedRound: UInt32 = 0
    /// Members that do not know the commit of the last applied round.
    var awaitsCommit = 0
    var block: Block?
    /// Where the region reduces what it contributes: since when all members' parts leave, and for how long.
    var reducing: (from: Int64, duration: Int64)?

    /// What waits for a commit.
    enum Block {
        case step
        case mean(outcome: Int)
    }
}
