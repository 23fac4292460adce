package import ClusterModel
package import WireProtocol

/// Which experts one region computes alone, and how many tokens may go there in a step: what `across: budget`
/// asks for (docs/decisions/0021-experts-of-one-region.md).
///
/// The least used experts of each block are cold (``ExpertOwnership``), by what tokens of all regions wanted
/// in the rounds before. A budget is what the link carries in a share of a step (``TokenPrice``).
package struct ExpertCrossing: Equatable, Sendable {
    /// What a plan says.
    package struct Choice: Equatable, Sendable {
        /// By number; empty: every region computes all.
        package var owners: [RegionID] = []
        package var budgets: [TokenBudget] = []

        var hasOwners: Bool { owners.contains { $0 != .none } }
    }

    /// What the coordinator knows besides loads.
    package struct Conditions: Equatable, Sendable {
        /// Members of the plan, by region.
        package var members: [Int]
        /// Of a step, by region.
        package var samples: [Double]
        /// Seconds of a step of the slowest; 0: not known.
        package var step: Double
        /// H.
        package var syncEvery: Double
        /// Bytes of a round from region to region, `[from][to]`.
        package var roundBytes: [[Double]]
        /// Whether measured rates may count.
        package var adapts: Bool
        /// The round after which a plan would hold.
        package var turn: UInt32

        package init(
            members: [Int], samples: [Double], step: Double, syncEvery: Double,
            roundBytes: [[Double]], adapts: Bool, turn: UInt32
        ) {
            self.members = members
            self.samples = samples
            self.step = step
            self.syncEvery = syncEvery
            self.roundBytes = roundBytes
            self.adapts = adapts
            self.turn = turn
        }

        var regions: Int { members.count { $0 > 0 } }
    }

    private let settings: RunConfiguration.Model.Experts.Crossing?
    private let model: RunConfiguration.Model
    private let topology: Topology
    private let blocks: Int
    private let count: Int
    private let most: Int
    /// What tokens of each region wanted in the last rounds, older ones counting less, by number.
    private var wanted: [[Double]]
    /// Reported since the last commit.
    private var fresh: [[Double]]
    private var knownRounds: UInt32 = 0
    private var unchangedRounds: UInt32 = 0
    /// All members stood at one step when the last round was committed.
    private(set) var isAlike = true
    /// Measured while no tokens crossed, `[from][to]`, bits per second: small frames say little of a link.
    private var meters: [[LinkMeter]]
    /// Times that tokens did not come, and until which round they stay.
    private var failures: UInt32 = 0
    private var pausedUntil: UInt32 = 0
    private(set) var planned = Choice()
    package private(set) var inForce = Choice()

    private struct LinkMeter: Equatable, Sendable {
        var bytes: UInt64 = 0
        var busy = Interval.zero
        var rate: Double?
    }

    package init(_ configuration: RunConfiguration, _ topology: Topology, elements: UInt64) {
        let experts = configuration.model.experts
        let blocks = configuration.expertBlocks(elements: elements)
        let regions = topology.regions.count
        settings = blocks.isEmpty || regions < 2 ? nil : experts?.crossing
        model = configuration.model
        self.topology = topology
        self.blocks = blocks.count
        count = experts?.count ?? 0
        most = max(0, count - (experts?.topK ?? 0))
        wanted = Array(
            repeating: Array(repeating: 0, count: blocks.count * count), count: regions)
        fresh = wanted
        meters = Array(repeating: Array(repeating: LinkMeter(), count: regions), count: regions)
    }

    package var isChoosing: Bool { settings != nil }

    // MARK: What is known

    /// One member's report.
    package mutating func note(
        _ region: RegionID, _ reported: [Report.ExpertLoad], _ links: [Report.LinkMeter]
    ) {
        guard isChoosing else { return }
        if reported.count == fresh[region.index].count {
            for (expert, load) in reported.enumerated() {
                fresh[region.index][expert] += Double(load.tokens)
            }
        }
        guard inForce.budgets.isEmpty else { return }
        for link in links where link.region.index < meters.count && link.region != region {
            let to = link.region.index
            meters[region.index][to].bytes = saturatingSum(
                meters[region.index][to].bytes, link.acknowledgedBytes)
            meters[region.index][to].busy = max(meters[region.index][to].busy, link.busyTime)
        }
    }

    /// A commit. `steps`: where its members stood.
    package mutating func settle(steps: [UInt64]) {
        guard isChoosing else { return }
        isAlike = steps.allSatisfy { $0 == steps[0] }
        for from in meters.indices {
            for to in meters.indices where meters[from][to].busy > .zero {
                let meter = meters[from][to]
                let rate = Double(meter.bytes) * 8 / meter.busy.seconds
                meters[from][to] = LinkMeter(rate: min(rate, CoordinationLimits.rateMost))
            }
        }
        guard fresh.contains(where: { $0.contains { $0 > 0 } }) else { return }
        for region in wanted.indices {
            for expert in wanted[region].indices {
                wanted[region][expert] =
                    wanted[region][expert] * CoordinationLimits.expertMemory
                    + fresh[region][expert]
                fresh[region][expert] = 0
            }
        }
        knownRounds += 1
        unchangedRounds += 1
    }

    /// Tokens did not come: none cross until some rounds later, each time twice as many.
    mutating func pause(after turn: UInt32) {
        failures += 1
        pausedUntil = turn + 1 << min(failures, CoordinationLimits.crossingPauseMost)
    }

    /// The run begins, or begins again from what was saved.
    mutating func forget() {
        guard isChoosing else { return }
        wanted = wanted.map { $0.map { _ in 0 } }
        fresh = wanted
        (knownRounds, unchangedRounds) = (0, 0)
        (planned, inForce) = (Choice(), Choice())
    }
}

// MARK: - Plans

extension ExpertCrossing {
    /// What the next boundary plan should say, and why, where that is another thing than now.
    package mutating func change(_ conditions: Conditions) -> String? {
        guard isChoosing, conditions.regions > 1 else { return nil }
        guard isAlike else {
            guard planned.hasOwners else { return nil }
            planned = Choice()
            return "every region computes all experts: regions take unlike steps, and tokens that "
                + "cross need them together"
        }
        guard knownRounds >= CoordinationLimits.crossingPatience else { return nil }
        var next = planned
        let maySettle =
            knownRounds == unchangedRounds
            || unchangedRounds >= 2 * CoordinationLimits.crossingPatience
        if maySettle { next.owners = owners(conditions) }
        let budgets = next.hasOwners ? self.budgets(conditions) : []
        if planned.budgets.isEmpty || next.owners != planned.owners
            || Self.isFar(budgets, planned.budgets)
        {
            next.budgets = budgets
        }
        let returns =
            inForce.budgets.isEmpty && !next.budgets.isEmpty && conditions.turn >= pausedUntil
        guard next != planned || returns else { return nil }
        defer { planned = next }
        return reason(next, returns: returns && next.owners == planned.owners, conditions)
    }

    /// Of a plan for those who are there.
    func choice(isBoundary: Bool, _ conditions: Conditions) -> Choice {
        guard isChoosing, conditions.regions > 1 else { return Choice() }
        var choice = isBoundary ? planned : Choice(owners: inForce.owners, budgets: [])
        choice.owners = choice.owners.map {
            $0 != .none && conditions.members[$0.index] > 0 ? $0 : .none
        }
        guard choice.hasOwners else { return Choice() }
        guard isBoundary, isAlike, conditions.turn >= pausedUntil else {
            choice.budgets = []
            return choice
        }
        choice.budgets = choice.budgets.filter {
            conditions.members[$0.from.index] > 0 && conditions.members[$0.to.index] > 0
        }
        return choice
    }

    /// A plan has started.
    mutating func adopt(_ plan: Plan) {
        guard isChoosing else { return }
        let next = Choice(owners: plan.expertOwners.map(\.region), budgets: plan.tokenBudgets)
        if next.owners != inForce.owners { unchangedRounds = 0 }
        inForce = next
        planned.owners = next.owners
        if !next.budgets.isEmpty { planned.budgets = next.budgets }
    }

    private func owners(_ conditions: Conditions) -> [RegionID] {
        var owners: [RegionID] = []
        for block in 0..<blocks {
            let range = block * count..<(block + 1) * count
            let before = range.map { number -> Int? in
                guard inForce.owners.indices.contains(number) else { return nil }
                let owner = inForce.owners[number]
                return owner == .none ? nil : owner.index
            }
            owners += ExpertOwnership.owners(
                wanted: wanted.map { Array($0[range]) }, devices: conditions.members,
                count: settings?.owned, most: most, before: before
            ).map { $0.map { RegionID($0) } ?? .none }
        }
        return owners.contains { $0 != .none } ? owners : []
    }

    private func budgets(_ conditions: Conditions) -> [TokenBudget] {
        var budgets: [TokenBudget] = []
        for from in conditions.members.indices where conditions.members[from] > 0 {
            for to in conditions.members.indices where to != from && conditions.members[to] > 0 {
                guard let tokens = tokens(from, to, conditions) else { return [] }
                budgets.append(
                    TokenBudget(from: RegionID(from), to: RegionID(to), tokens: tokens))
            }
        }
        // Budgets make all regions step together, for nothing if none lets a token leave.
        return budgets.contains { $0.tokens > 0 } ? budgets : []
    }

    /// Nil while a step's time is not known.
    private func tokens(_ from: Int, _ to: Int, _ conditions: Conditions) -> UInt32? {
        if let tokens = settings?.tokens { return tokens }
        guard conditions.step > 0, let experts = model.experts else { return nil }
        return TokenPrice(
            rates: (rate(from, to, conditions), rate(to, from, conditions)),
            share: settings?.budget, step: conditions.step,
            roundBytes: (conditions.roundBytes[from][to], conditions.roundBytes[to][from]),
            syncEvery: conditions.syncEvery, bytes: experts.visitBytes(width: model.width)
        ).tokens(samples: (conditions.samples[from], conditions.samples[to]))
    }

    /// Measured, else as the cluster file has it.
    private func rate(_ from: Int, _ to: Int, _ conditions: Conditions) -> Double {
        if conditions.adapts, let rate = meters[from][to].rate, rate >= 1 { return rate }
        return TokenPrice.rate(topology, from: RegionID(from), to: RegionID(to))
    }

    /// Whether any budget differs by more than noise does.
    private static func isFar(_ a: [TokenBudget], _ b: [TokenBudget]) -> Bool {
        guard a.count == b.count else { return true }
        return zip(a, b).contains { next, now in
            let (low, high) = (min(next.tokens, now.tokens), max(next.tokens, now.tokens))
            return Double(high) > Double(low) * CoordinationLimits.crossingMargin + 1
        }
    }

    private func reason(_ next: Choice, returns: Bool, _ conditions: Conditions) -> String {
        guard next.hasOwners else { return "every region computes all experts" }
        let owned = topology.regions.indices.compactMap { region -> String? in
            let own = next.owners.count { $0 == RegionID(region) }
            return own > 0 ? "\(topology.regions[region].name) \(own)" : nil
        }
        let moved = next.owners.indices.count { number in
            let before =
                inForce.owners.indices.contains(number) ? inForce.owners[number] : .none
            return before != next.owners[number]
        }
        let tokens = next.budgets.map {
            "\(topology.regions[$0.from.index].name) to \(topology.regions[$0.to.index].name) "
                + "\($0.tokens)"
        }
        return (returns ? "tokens cross again: " : "")
            + "of \(blocks * count) experts one region alone computes \(owned.joined(separator: ", "))"
            + ", \(moved) of them otherwise than before; tokens that may leave in a step: "
            + (tokens.isEmpty ? "none" : tokens.joined(separator: ", "))
            + (settings?.tokens == nil
                ? ", in \(Figures.duration(conditions.step)) a step" : "")
    }
}
