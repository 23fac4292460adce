internal import ClusterModel

/// What one seat did, over all lives of its process.
struct WorkerTally {
    struct Step {
        var loss: Double
        var tokens: UInt64
        var seconds: Double
    }

    var name: String
    var region: RegionID
    var incarnations: Set<Incarnation> = []
    /// By inner step; a step trained again replaces the first attempt.
    var steps: [UInt32: Step] = [:]
    var repeatedTokens: UInt64 = 0
    var evaluations: [UInt32: (loss: Double, samples: Int, seconds: Double)] = [:]
    var budget: Cumulative<RunEvent.TimeBudget>?
    /// Earliest start of the trainer's first step that its budgets tell.
    var startSeconds: Double?
    var state = inRun

    static let inRun = "in the run"

    init(name: String, region: RegionID) {
        self.name = name
        self.region = region
    }

    mutating func add(step: UInt32, loss: Double, tokens: UInt64, at seconds: Double) {
        let earlier = steps.updateValue(
            Step(loss: loss, tokens: tokens, seconds: seconds), forKey: step)
        if let earlier { repeatedTokens = saturatingSum(repeatedTokens, earlier.tokens) }
    }

    mutating func add(_ budget: RunEvent.TimeBudget, at seconds: Double) {
        let start = max(0, seconds - budget.wall.seconds)
        startSeconds = min(startSeconds ?? start, start)
        var counter = self.budget ?? Cumulative()
        counter.update(budget)
        self.budget = counter
    }

    var tokens: UInt64 { steps.values.reduce(0) { saturatingSum($0, $1.tokens) } }

    /// A stretch of a run that begins and ends with the end of a step.
    struct Stretch {
        var seconds: ClosedRange<Double>
        /// Taken in it.
        var steps: Int
        var tokens: UInt64
    }

    /// From the end of the first step on, as many whole rounds of `every` steps as there are, so that each
    /// step's share of a round is in it once; less than one round: to the last step. Nil with one step. Steps
    /// that a dead worker has missed are not counted, their time is.
    func steadyStretch(every: UInt32) -> Stretch? {
        guard let first = steps.keys.min(), let last = steps.keys.max(), last > first else {
            return nil
        }
        let rounds = (last - first) / max(1, every)
        let end = rounds > 0 ? first + rounds * max(1, every) : last
        let inside = steps.filter { $0.key > first && $0.key <= end }.values
        guard let from = steps[first]?.seconds, let to = inside.map(\.seconds).max(), to > from
        else { return nil }
        return Stretch(
            seconds: from...to, steps: inside.count,
            tokens: inside.reduce(0) { saturatingSum($0, $1.tokens) })
    }

    var lastStep: UInt32 { steps.keys.max() ?? 0 }
}

extension RunSummary.Budget {
    init(_ budget: RunEvent.TimeBudget) {
        let parts = [
            budget.compute, budget.encode, budget.wait, budget.transfer, budget.decode,
            budget.apply, budget.recover,
        ]
        let residue = budget.wall.seconds - parts.reduce(0) { $0 + $1.seconds }
        self.init(
            wallSeconds: budget.wall.seconds, computeSeconds: budget.compute.seconds,
            encodeSeconds: budget.encode.seconds, waitSeconds: budget.wait.seconds,
            transferSeconds: budget.transfer.seconds, decodeSeconds: budget.decode.seconds,
            applySeconds: budget.apply.seconds, recoverSeconds: budget.recover.seconds,
            pacedSeconds: budget.paced.seconds, residueSeconds: residue,
            isBalanced: abs(residue) <= 0.01 * budget.wall.seconds)
    }
}
