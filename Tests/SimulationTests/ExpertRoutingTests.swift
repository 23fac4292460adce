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
        configuration.model.experts?.balance = .quantile
        #expect(why(scenario { $0.slots = 8 })?.contains("quantile") == true)
    }
}
