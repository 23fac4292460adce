import ClusterModel
import Simulation
import Testing

/// Tokens of traces through the gates, balancing and placement that ship.
@Suite struct ExpertRoutingTests {
    private func run(
        _ scenario: RoutingScenario, devices: [Int] = [8, 8], steps: UInt32 = 40,
        recorded: RoutingTrace.Recorded? = nil,
        experts change: (inout RunConfiguration.Model.Experts) -> Void = { _ in }
    ) throws -> ExpertSimulationResult {
        var configuration = SampleCluster.configuration(
            seed: 3, steps: steps, inner: .everyStep, outer: .diloco, syncEvery: 10)
        configuration.model.layers = 2
        var experts = RunConfiguration.Model.Experts(
            count: 16, topK: 2, width: 64, gate: .sigmoid, balanceRate: 0.02)
        change(&experts)
        configuration.model.experts = experts
        let topology = SampleCluster.topology(workers: devices)
        try #require(ExpertSimulation.whyNot(topology, configuration, scenario) == nil)
        var simulation = ExpertSimulation(topology, configuration, scenario, recorded: recorded)
        return simulation.run()
    }

    private func scenario(_ change: (inout RoutingScenario) -> Void = { _ in }) -> RoutingScenario {
        var scenario = RoutingScenario(tokens: 128, slots: 4)
        change(&scenario)
        return scenario
    }

    @Test func equalSeedsRouteAlike() throws {
        let first = try run(scenario { $0.drift = 0.1 })
        #expect(try run(scenario { $0.drift = 0.1 }) == first)
        #expect(try run(scenario { $0.drift = 0.2 }).traceHash != first.traceHash)
        #expect(first.routedTokens == 128 * 2 * 2 * 40)
    }

    @Test func balancingLowersWhatSkewRaises() throws {
        let even = try run(scenario { $0.skew = 0 }) { $0.balance = .none }
        let skewed = try run(scenario { $0.skew = 1 }) { $0.balance = .none }
        let balanced = try run(scenario { $0.skew = 1 })
        #expect(even.maxViolation < 0.6 && even.useEntropy > 0.97)
        #expect(skewed.maxViolation > 3 * even.maxViolation)
        #expect(balanced.lastMaxViolation < skewed.lastMaxViolation / 2)
        #expect(balanced.lastMaxViolation < balanced.firstMaxViolation)
    }

    @Test func placementByMeasuredLoadsEvensDevicesOut() throws {
        let fixed = try run(scenario { $0.placeEvery = 0 }) { $0.balance = .none }
        let placed = try run(scenario { $0.placeEvery = 5 }) { $0.balance = .none }
        #expect(fixed.placements == 0 && placed.placements == 7)
        #expect(placed.firstImbalance == fixed.firstImbalance)
        #expect(placed.lastImbalance - 1 < (fixed.lastImbalance - 1) / 2)
        #expect(placed.movedShare > 0)
    }

    @Test func capacityDropsWhatHotExpertsCannotTake() throws {
        let tight = try run(scenario()) { ($0.balance, $0.capacity) = (.none, 1) }
        let loose = try run(scenario()) { ($0.balance, $0.capacity) = (.none, 8) }
        #expect(try run(scenario()).dropRate == 0)
        #expect(tight.dropRate > 0.1 && tight.dropRate < 1)
        #expect(loose.dropRate < tight.dropRate / 4)
    }

    @Test func onlyWhatMayCrossCrosses() throws {
        let stays = try run(scenario())
        let limited = try run(scenario { ($0.across, $0.skew) = (.limited, 0) })
        let free = try run(scenario { ($0.across, $0.skew) = (.always, 0) })
        #expect(stays.activationBytesPerToken == 0 && stays.time.acrossSeconds == 0)
        #expect(limited.activationBytesPerToken > 0)
        #expect(free.activationBytesPerToken > limited.activationBytesPerToken)
        // Two different ones of 16, 8 of them here: 1 - 8 x 7 / (16 x 15) need the other region; each
        // four times 128 values of two bytes, in two layers.
        let expected = (1 - 56.0 / 240) * 4 * 128 * 2 * 2
        #expect(abs(free.activationBytesPerToken / expected - 1) < 0.05)
        // Experts of one region are averaged with nobody.
        #expect(free.parameterBytesPerToken < stays.parameterBytesPerToken)
    }

    @Test func topicsPartTheRegions() throws {
        let alike = try run(scenario()) { $0.balance = .none }
        let apart = try run(scenario { ($0.skew, $0.topics) = (0, 1) }) { $0.balance = .none }
        #expect(apart.jensenShannon > 5 * alike.jensenShannon)
        #expect(apart.jaccard < alike.jaccard)
    }

    @Test func aRecordedRunIsDrawnByItsShares() throws {
        var shares = [Double](repeating: 0.5 / 15, count: 16)
        shares[3] = 0.5
        let recorded = RoutingTrace.Recorded(shares: [[[shares]]])
        let result = try run(scenario(), recorded: recorded) { $0.topK = 1 }
        // (0.5 - 1/16) / (1/16).
        #expect(abs(result.maxViolation - 7) < 0.3)
    }

    @Test func whatDoesNotFitIsSaid() {
        let topology = SampleCluster.topology(workers: [8, 2])
        var configuration = SampleCluster.configuration(
            seed: 3, steps: 4, inner: .everyStep, outer: .diloco, syncEvery: 2)
        func why(_ scenario: RoutingScenario) -> String? {
            ExpertSimulation.whyNot(topology, configuration, scenario)
        }
        #expect(why(scenario()) == "the model has no experts")
        configuration.model.experts = .init(count: 16, width: 64)
        #expect(why(scenario()) == "r1 holds 16 experts of a layer in 8 slots")
        #expect(why(scenario { $0.slots = 8 }) == nil)
        // The second region holds four of 16.
        configuration.model.experts?.topK = 5
        #expect(
            why(scenario { ($0.across, $0.slots) = (.limited, 8) })?.contains("fewer experts")
                == true)
        // By rule all may be everywhere; of eight cold ones the second region has two.
        configuration.model.experts?.topK = 2
        #expect(
            why(scenario { $0.across = .budget }) == "r1 holds 16 experts of a layer in 8 slots")
        #expect(
            why(scenario { ($0.across, $0.owned) = (.budget, 8) })
                == "r1 holds 10 experts of a layer in 8 slots")
        #expect(why(scenario { ($0.across, $0.owned) = (.budget, 10) }) == nil)
        let single = SampleCluster.topology(workers: [8])
        #expect(
            ExpertSimulation.whyNot(
                single, configuration, scenario { $0.across = .budget })?.contains("one region")
                == true)
    }

    // MARK: Quantiles

    @Test func quantilesBalanceAtOnce() throws {
        let none = try run(scenario { $0.skew = 1 }) { $0.balance = .none }
        let biased = try run(scenario { $0.skew = 1 })
        let quantile = try run(scenario { $0.skew = 1 }) { $0.balance = .quantile }
        #expect(quantile.lastMaxViolation < none.lastMaxViolation / 3)
        // Without a rate there is nothing to wait for.
        #expect(quantile.firstMaxViolation < biased.firstMaxViolation / 2)
        let shared = try run(scenario { ($0.skew, $0.across) = (1, .always) }) {
            $0.balance = .quantile
        }
        #expect(shared.lastMaxViolation < none.lastMaxViolation / 3)
        // Only experts of kept groups are candidates.
        let grouped = try run(scenario { $0.skew = 1 }) {
            ($0.balance, $0.groups, $0.groupsKept) = (.quantile, 4, 2)
        }
        #expect(grouped.lastMaxViolation < none.lastMaxViolation / 2)
    }

    @Test func aRegionWithMoreTokensCountsMore() throws {
        // 4 to 1: one region uses all experts alike, the other one only the fourth.
        var only = [Double](repeating: 0, count: 16)
        only[3] = 1
        let even = [Double](repeating: 1 / 16.0, count: 16)
        let result = try run(
            scenario { $0.slots = 8 }, devices: [8, 2],
            recorded: RoutingTrace.Recorded(shares: [[[even], [only]]])
        ) { $0.topK = 1 }
        // A share of (4 / 16 + 1) / 5 where the mean is 1/16.
        #expect(abs(result.maxViolation - 3) < 0.2)
    }

    // MARK: Budget

    /// 2,048 tokens in each region and layer; half of 16 experts are cold, four of them abroad.
    private func budget(
        _ share: Double?, owned: Int? = 8, steps: UInt32 = 40,
        _ change: (inout RoutingScenario) -> Void = { _ in }
    ) throws -> (ExpertSimulationResult, ExpertSimulationResult.Budget) {
        let result = try run(
            scenario {
                ($0.across, $0.budget, $0.owned) = (.budget, share, owned)
                ($0.teraflops, $0.skew) = (1e-3, 0)
                change(&$0)
            }, steps: steps
        ) { $0.balance = .none }
        return (result, try #require(result.budget))
    }

    @Test func tokensCrossWhileTheBudgetLasts() throws {
        let (free, all) = try budget(1)
        #expect(all.stayedShare == 0 && all.changedChoices == 0)
        // Two of 16, and four of them abroad: 1 - 12 x 11 / (16 x 15).
        #expect(abs(all.crossedShare - 0.45) < 0.03)
        let (tight, some) = try budget(0.02)
        #expect(some.usedShare > 0.9 && some.usedShare <= 1)
        #expect(some.crossedShare < all.crossedShare / 2 && some.stayedShare > 0.1)
        #expect(abs(some.crossedShare + some.stayedShare - all.crossedShare) < 1e-9)
        #expect(some.changedChoices > 0)
        // Four activations of 128 values in bf16 for each that crossed, in two layers, and three words of
        // each of its two choices.
        #expect(
            abs(tight.activationBytesPerToken - some.crossedShare * 2 * (4 * 256 + 24)) < 1e-6)
        // What a link carries in .02 of the step, both ways and both regions, in whole tokens.
        let carried = 0.02 * some.evenSeconds * 1e9 / 8 / (2 * 256 + 16)
        let tokens = some.tokensPerStep.flatMap { $0 }.reduce(0, +)
        #expect(Double(tokens) <= carried && Double(tokens) > carried - 2)
        #expect(tight.activationBytesPerToken < free.activationBytesPerToken / 2)
        #expect(try budget(0.02).0 == tight)
    }

    @Test func withoutBudgetEverythingStays() throws {
        let (result, none) = try budget(0)
        #expect(result.activationBytesPerToken == 0 && result.time.acrossSeconds == 0)
        #expect(none.crossedShare == 0 && none.stayedShare > 0.4 && none.changedShare > 0.2)
        // What lives in one region is averaged with nobody.
        let never = try run(scenario { $0.skew = 0 })
        #expect(result.parameterBytesPerToken < never.parameterBytesPerToken)
        let (_, auto) = try budget(nil)
        #expect(auto.share == nil && auto.crossedShare > 0)
    }

    @Test func coldExpertsAreThoseUsedLeast() throws {
        let (_, byRule) = try budget(1, owned: nil) { $0.skew = 1 }
        // A tenth of the choices is more than a tenth of the experts.
        #expect(byRule.ownedExperts > 2 && byRule.ownedExperts < 8)
        let (_, fixed) = try budget(1)
        #expect(fixed.ownedExperts == 8)
        // With popular experts at home less crosses than with any eight.
        let (_, skewed) = try budget(1) { $0.skew = 2 }
        #expect(skewed.crossedShare < fixed.crossedShare * 0.7)
        // What is popular and stays so is fetched once.
        let (result, short) = try budget(1, steps: 20) { ($0.skew, $0.placeEvery) = (2, 10) }
        #expect(result.time.fetchSeconds > 0)
        let (_, long) = try budget(1, steps: 80) { ($0.skew, $0.placeEvery) = (2, 10) }
        #expect(long.fetchedExperts < short.fetchedExperts && short.fetchedBytes > 0)
    }

    @Test func budgetsWorkWithEveryBalancer() throws {
        for balance in [
            RunConfiguration.Model.Experts.Balance.none, .bias, .quantile,
        ] {
            let result = try run(
                scenario {
                    ($0.across, $0.budget, $0.owned) = (.budget, 0.02, 8)
                    ($0.teraflops, $0.skew) = (1e-3, 1)
                }
            ) { $0.balance = balance }
            #expect(try #require(result.budget).usedShare <= 1)
            if balance == .quantile { #expect(result.lastMaxViolation < 2) }
        }
    }
}
