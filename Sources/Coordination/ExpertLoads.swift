package import ClusterModel
package import WireProtocol

/// How often each expert is exchanged, from the tokens that used it: what `expert_rounds` asks for.
///
/// An expert with less than 1/2, 1/4, 1/8 ... of the mean load of its block is due in every 2nd, 4th,
/// 8th ... round. Its load is that of the last rounds together or of the last one, whichever is more. A
/// present period stays while the load is within ``CoordinationLimits/expertMargin`` of its bounds, and
/// grows only when all experts have been due twice under the plan.
package struct ExpertLoads: Equatable, Sendable {
    private let blocks: [ExpertBlock]
    /// Of the model, without its experts.
    private let others: UInt64
    /// Of 2.
    private let greatest: UInt8
    /// Tokens of the last rounds, older ones counting less.
    private var loads: [Double]
    /// Of the last round.
    private var latest: [Double]
    /// Reported since the last commit.
    private var fresh: [Double]
    /// Rounds committed with tokens, since the run began, and since periods changed last.
    private var knownRounds: UInt32 = 0
    private var unchangedRounds: UInt32 = 0
    /// Of the next boundary plan, and of the plan in force.
    package private(set) var planned: [ExpertPeriod] = []
    private(set) var inForce: [ExpertPeriod] = []
    /// What the plan in force leaves out.
    private var schedule = ExpertRounds([])

    package init(_ configuration: RunConfiguration, elements: UInt64) {
        let most = configuration.greatestExpertPeriod
        blocks = most > 1 ? configuration.expertBlocks(elements: elements) : []
        others = elements - min(elements, blocks.elements)
        greatest = UInt8(clamping: most.trailingZeroBitCount)
        loads = Array(repeating: 0, count: blocks.reduce(0) { $0 + Int($1.count) })
        latest = loads
        fresh = loads
    }

    var isChoosing: Bool { !blocks.isEmpty }
    /// Some experts are left out of rounds by the plan in force.
    var leavesSomeOut: Bool { schedule.leavesSomeOut }

    // MARK: What is known

    /// One replica's, since its last report.
    package mutating func note(_ reported: [Report.ExpertLoad]) {
        guard isChoosing, reported.count == fresh.count else { return }
        for (expert, load) in reported.enumerated() { fresh[expert] += Double(load.tokens) }
    }

    /// A commit.
    package mutating func settle() {
        guard isChoosing, fresh.contains(where: { $0 > 0 }) else { return }
        for expert in loads.indices {
            loads[expert] = loads[expert] * CoordinationLimits.expertMemory + fresh[expert]
        }
        latest = fresh
        fresh = fresh.map { _ in 0 }
        knownRounds += 1
        unchangedRounds += 1
    }

    // MARK: Plans

    /// Periods of the next boundary plan and why, where they gain enough; nil: the present ones stay.
    package mutating func change() -> String? {
        guard isChoosing, unchangedRounds >= CoordinationLimits.expertPatience else { return nil }
        let next = wanted()
        let (before, after) = (share(inForce), share(next))
        let isBusier = zip(next, present).contains { $0.exponent < $1.exponent }
        guard isBusier || before - after >= CoordinationLimits.expertGain else { return nil }
        planned = next.allSatisfy { $0 == .everyRound } ? [] : next
        let counts = (0...greatest).map { exponent in
            next.count { $0.exponent == exponent }
        }
        let text = counts.enumerated().filter { $0.element > 0 }.map { exponent, count in
            exponent == 0 ? "\(count) in every round" : "\(count) in 1 of \(1 << exponent)"
        }
        return text.joined(separator: ", ")
            + "; of the model's values a round exchanges \(Figures.percent(before)) -> "
            + Figures.percent(after)
    }

    /// Periods that grow cost a plan and a round of all experts.
    private var mayGrow: Bool {
        unchangedRounds == knownRounds || unchangedRounds >= 2 << UInt32(greatest)
    }

    private var present: [ExpertPeriod] {
        inForce.isEmpty ? loads.map { _ in .everyRound } : inForce
    }

    private func wanted() -> [ExpertPeriod] {
        var wanted = present
        var first = 0
        for block in blocks {
            let range = first..<first + Int(block.count)
            first = range.upperBound
            let mean = loads[range].reduce(0, +) / Double(range.count)
            let last = latest[range].reduce(0, +) / Double(range.count)
            guard mean > 0, last > 0 else { continue }
            for expert in range {
                let share = max(loads[expert] / mean, latest[expert] / last)
                let rarer = exponent(share * CoordinationLimits.expertMargin)
                let busier = exponent(share / CoordinationLimits.expertMargin)
                let now = wanted[expert].exponent
                wanted[expert].exponent = mayGrow && rarer > now ? rarer : min(now, busier)
            }
        }
        return wanted
    }

    /// The greatest k with a load below 2^-k of the mean.
    private func exponent(_ share: Double) -> UInt8 {
        var (found, bound) = (UInt8(0), 0.5)
        while found < greatest, share < bound {
            found += 1
            bound /= 2
        }
        return found
    }

    /// Of the model's values, what a round exchanges in the mean.
    private func share(_ periods: [ExpertPeriod]) -> Double {
        guard !periods.isEmpty else { return 1 }
        var (sent, all, first) = (Double(others), Double(others), 0)
        for block in blocks {
            for expert in first..<first + Int(block.count) {
                all += Double(block.each)
                sent += Double(block.each) / Double(periods[expert].rounds)
            }
            first += Int(block.count)
        }
        return all > 0 ? sent / all : 1
    }

    /// Values that a round under the plan in force exchanges.
    package func elements(inRound round: UInt32, allExperts: Bool) -> (sent: UInt64, all: UInt64) {
        let absent = allExperts ? [] : schedule.absent(round: round)
        var (sent, all, first) = (others, others, 0)
        for block in blocks {
            for expert in first..<first + Int(block.count) {
                all += block.each
                sent += absent.isEmpty || !absent[expert] ? block.each : 0
            }
            first += Int(block.count)
        }
        return (sent, all)
    }

    /// A plan has started.
    package mutating func adopt(_ plan: Plan) {
        guard isChoosing else { return }
        if plan.expertPeriods != inForce { unchangedRounds = 0 }
        inForce = plan.expertPeriods
        schedule = ExpertRounds(inForce)
        planned = inForce
    }

    /// The run begins, or begins again from what was saved: everything is exchanged until loads are known.
    mutating func forget() {
        loads = loads.map { _ in 0 }
        latest = loads
        fresh = loads
        knownRounds = 0
        unchangedRounds = 0
        planned = []
        inForce = []
        schedule = ExpertRounds([])
    }
}
