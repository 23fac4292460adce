internal import ClusterModel

extension RunEvent.TokensCrossed: CumulativeCount {
    static var zero: Self { Self(regions: 0) }

    func isRestart(after earlier: Self) -> Bool { tokens < earlier.tokens }

    static func + (a: Self, b: Self) -> Self {
        let regions = max(a.crossed.count, b.crossed.count)
        var sum = Self(regions: regions)
        sum.steps = saturatingSum(a.steps, b.steps)
        sum.tokens = saturatingSum(a.tokens, b.tokens)
        sum.stayed = saturatingSum(a.stayed, b.stayed)
        sum.changed = saturatingSum(a.changed, b.changed)
        for region in 0..<regions {
            sum.crossed[region] = saturatingSum(
                a.crossed.indices.contains(region) ? a.crossed[region] : 0,
                b.crossed.indices.contains(region) ? b.crossed[region] : 0)
        }
        return sum
    }
}

/// Experts of one region, and the tokens that went there.
struct CrossingTally {
    private var workers: [WorkerID: (region: RegionID, count: Cumulative<RunEvent.TokensCrossed>)] =
        [:]
    private var changes: [RunEvent.ExpertOwners] = []

    mutating func add(_ owners: RunEvent.ExpertOwners) { changes.append(owners) }

    mutating func add(
        _ crossed: RunEvent.TokensCrossed, by worker: WorkerID, in region: RegionID
    ) {
        workers[worker, default: (region, Cumulative())].count.update(crossed)
    }

    /// Nil where no expert ever belonged to one region.
    ///
    /// - Parameter experts: of all blocks.
    func figures(
        tokenBytes: UInt64, experts: Int, regionName: (RegionID) -> String
    ) -> RunSummary.Experts.Crossing? {
        guard !changes.isEmpty else { return nil }
        var all = RunEvent.TokensCrossed.zero
        var flows: [RegionID: [UInt64]] = [:]
        for (_, worker) in workers.sorted(by: { $0.key < $1.key }) {
            let total = worker.count.total
            all = all + total
            var sum = flows[worker.region] ?? total.crossed.map { _ in 0 }
            for (region, count) in total.crossed.enumerated() where region < sum.count {
                sum[region] = saturatingSum(sum[region], count)
            }
            flows[worker.region] = sum
        }
        var before: [RegionID] = []
        return RunSummary.Experts.Crossing(
            tokens: all.tokens, stayed: all.stayed, changedChoices: all.changed,
            tokenBytes: tokenBytes,
            flows: flows.sorted { $0.key < $1.key }.flatMap { from, counts in
                counts.enumerated().filter { $0.offset != from.index }.map { to, count in
                    .init(
                        from: regionName(from), to: regionName(RegionID(to)), tokens: count)
                }
            },
            changes: changes.map { change in
                defer { before = change.owners }
                return Self.change(change, before: before, experts: experts, regionName)
            })
    }

    private static func change(
        _ change: RunEvent.ExpertOwners, before: [RegionID], experts: Int,
        _ regionName: (RegionID) -> String
    ) -> RunSummary.Experts.Crossing.Change {
        let regions = Set(change.owners.filter { $0 != .none }).sorted()
        let moved = (0..<max(change.owners.count, before.count)).count { number in
            let old = before.indices.contains(number) ? before[number] : .none
            let new = change.owners.indices.contains(number) ? change.owners[number] : .none
            return old != new
        }
        return .init(
            afterRound: change.turn, experts: experts,
            owned: regions.map { region in
                .init(
                    region: regionName(region),
                    experts: change.owners.indices.filter { change.owners[$0] == region })
            }, moved: moved,
            budgets: change.budgets.map {
                .init(
                    from: regionName($0.from), to: regionName($0.to), tokens: UInt64($0.tokens))
            })
    }
}

extension RunSummary.Experts {
    /// Experts that one region alone computed (`across: budget`). Tokens are summed over blocks and steps,
    /// and count once for each other region that they visit.
    package struct Crossing: Codable, Equatable, Sendable {
        /// All tokens of the steps in which experts had owners, wherever they went.
        package var tokens: UInt64
        /// Tokens that wanted to leave when the budget was used up, and how many choices that changed.
        package var stayed: UInt64
        package var changedChoices: UInt64
        /// Frames of tokens on lanes between regions, both ways and forwards and backwards.
        package var tokenBytes: UInt64
        package var flows: [Flow]
        package var changes: [Change]

        package var crossed: UInt64 { flows.reduce(0) { saturatingSum($0, $1.tokens) } }

        package struct Flow: Codable, Equatable, Sendable {
            package var from: String
            package var to: String
            package var tokens: UInt64
        }

        package struct Change: Codable, Equatable, Sendable {
            package var afterRound: UInt32
            /// Of all blocks.
            package var experts: Int
            /// Numbers of experts by region, block after block.
            package var owned: [Owned]
            /// Experts that another region than before computes, or all or one instead.
            package var moved: Int
            /// Tokens of a step; empty: none may leave.
            package var budgets: [Flow]

            package struct Owned: Codable, Equatable, Sendable {
                package var region: String
                package var experts: [Int]
            }

            package var text: String {
                let owners = owned.map { "\($0.region) \($0.experts.count)" }
                let tokens = budgets.map { "\($0.from) to \($0.to) \($0.tokens)" }
                return
                    (owners.isEmpty
                    ? "every region computes all \(experts) experts"
                    : "of \(experts) experts one region alone computes "
                        + owners.joined(separator: ", "))
                    + ", \(moved) otherwise than before; tokens that may leave in a step: "
                    + (tokens.isEmpty ? "none" : tokens.joined(separator: ", "))
            }
        }
    }
}
