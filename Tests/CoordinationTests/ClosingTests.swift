import ClusterModel
import Coordination
import Testing

/// When rounds are closed, and what contributions to them count for.
@Suite struct ClosingTests {
    private let rules = ClosingRules(
        quorum: 2, graceFactor: 3_000, graceMost: .milliseconds(1_600), lateWeight: 500)

    private func estimator(_ milliseconds: [Int64]) -> GraceEstimator {
        var estimator = GraceEstimator()
        for lag in milliseconds { estimator.note(.milliseconds(lag)) }
        return estimator
    }

    // MARK: Grace

    @Test func graceIsMedianPlusThreeDeviations() {
        // Median 300; distances 40, 0, 40, 20, 80: their median is 40.
        let grace = estimator([260, 300, 340, 320, 220]).grace(rules)
        #expect(
            grace
                == .spread(
                    median: .milliseconds(300), deviation: .milliseconds(40),
                    least: .milliseconds(100), length: .milliseconds(420)))
        #expect(grace.text(rules) == "grace was median 300 ms + 3 x MAD 40 ms")
    }

    @Test func graceOfAnEvenNumberTakesTheLowerMiddle() {
        #expect(
            estimator([100, 400, 200, 300]).grace(rules)
                == .spread(
                    median: .milliseconds(200), deviation: .milliseconds(100),
                    least: .milliseconds(100), length: .milliseconds(500)))
    }

    @Test func graceIsBounded() {
        let grace = estimator([900, 1_500, 1_900, 100]).grace(rules)
        #expect(grace.length == .milliseconds(1_600))
        #expect(grace.text(rules).hasSuffix(", at most 1.6 s"))
        var far = rules
        far.graceFactor = .max
        #expect(estimator([0, 1_500, 1_500]).grace(far).length == .milliseconds(1_600))
        #expect(estimator([0, 900, 1_900]).grace(far).length == .milliseconds(1_600))
    }

    @Test func nothingObservedWaitsAsLongAsAllowed() {
        #expect(GraceEstimator().grace(rules) == .unknown(.milliseconds(1_600)))
    }

    @Test func oneThatIsMuchSlowerIsNotWaitedFor() {
        let grace = estimator([6_000, 5_900, 6_100]).grace(rules)
        #expect(grace == .hopeless(median: .seconds(6), length: .milliseconds(100)))
        #expect(grace.length == .milliseconds(100))
        // Two usual ones for each such: the median is theirs.
        #expect(estimator([6_000, 10, 12, 6_000, 11, 10]).grace(rules).length < .seconds(1))
    }

    @Test func aDistanceIsNotLateness() {
        let grace = estimator([0, 15, 15, 0]).grace(rules, distance: .milliseconds(300))
        #expect(grace.length == .milliseconds(300))
        #expect(estimator([0]).grace(rules, distance: .seconds(9)).length == rules.graceMost)
    }

    @Test func onlyTheWindowCounts() {
        var estimator = estimator(Array(repeating: 1_000, count: GraceEstimator.window))
        for _ in 0..<GraceEstimator.window { estimator.note(.milliseconds(10)) }
        #expect(estimator.lags.count == GraceEstimator.window)
        #expect(
            estimator.grace(rules)
                == .spread(
                    median: .milliseconds(10), deviation: .zero, least: .milliseconds(100),
                    length: .milliseconds(110)))
        #expect(
            estimator.grace(rules).text(rules)
                == "grace was median 10 ms + 3 x MAD 0 s (100 ms at least)")
        estimator.note(.milliseconds(-5))
        #expect(estimator.lags.last == .zero)
    }

    // MARK: Decision

    private func decide(
        at milliseconds: Int64, arrived: Int, able: Int = 4, grace: Int64 = 400
    ) -> ClosingDecision {
        ClosingDecision.decide(
            at: Instant.zero + .milliseconds(milliseconds),
            first: Instant.zero + .milliseconds(100), arrived: arrived, able: able,
            grace: .spread(
                median: .milliseconds(grace), deviation: .zero, least: .zero,
                length: .milliseconds(grace)),
            rules: rules)
    }

    @Test func aQuorumWaitsForTheGrace() {
        let end = Instant.zero + .milliseconds(500)
        #expect(decide(at: 120, arrived: 2) == .wait(until: end))
        #expect(decide(at: 499, arrived: 3) == .wait(until: end))
        #expect(decide(at: 500, arrived: 3) == .close(.graceOver))
    }

    @Test func everybodyIsNotWaitedForFurther() {
        #expect(decide(at: 110, arrived: 4) == .close(.everybody))
        #expect(decide(at: 110, arrived: 1, able: 1) == .close(.everybody))
    }

    @Test func withoutAQuorumNoTimeIsLongEnough() {
        #expect(decide(at: 1_000_000, arrived: 1) == .wait(until: nil))
        #expect(
            ClosingDecision.decide(
                at: .zero, first: nil, arrived: 0, able: 4, grace: .unknown(.zero), rules: rules)
                == .wait(until: nil))
    }

    @Test func aDecisionExplainsItself() {
        var account = ClosingAccount(
            round: 12, arrived: 3, able: 4, after: .milliseconds(410), reason: .graceOver,
            grace: .spread(
                median: .milliseconds(300), deviation: .milliseconds(40),
                least: .milliseconds(100), length: .milliseconds(420)),
            missing: [("jinan", 1)], rules: rules)
        #expect(
            account.text
                == "closed round 12 with 3 of 4 after 410 ms: grace was median 300 ms + 3 x MAD "
                + "40 ms; missing: jinan, merged next round at weight x 0.500")
        account.reason = .everybody
        #expect(account.text == "closed round 12 with 3 of 4 after 410 ms: everybody is there")
    }

    // MARK: Weight

    @Test func weightIsTokensTimesTokensAStep() {
        #expect(ContributionWeight.base(tokens: 30_720, steps: 30) == 30_720 * 1_024)
        #expect(ContributionWeight.base(tokens: 10, steps: 3) == 33)
        #expect(ContributionWeight.base(tokens: 0, steps: 0) == 1)
        #expect(ContributionWeight.base(tokens: 1, steps: 1_000) == 1)
    }

    @Test func weightsNeverOverflow() {
        #expect(ContributionWeight.base(tokens: .max, steps: 1) == ContributionWeight.most)
        #expect(ContributionWeight.base(tokens: 1 << 32, steps: 1 << 11) == 1 << 53)
        #expect(ContributionWeight.base(tokens: (1 << 32) - 1, steps: 1 << 11) < 1 << 53)
        #expect(ContributionWeight.base(tokens: .max, steps: .max) == ContributionWeight.most)
        let sum = (0..<1_024).reduce(UInt64(0)) { sum, _ in sum + ContributionWeight.most }
        #expect(sum == 1 << 63)
    }

    @Test func lateContributionsCountForLess() {
        #expect(ContributionWeight.discounted(1_001, missed: 0, late: 500) == 1_001)
        #expect(ContributionWeight.discounted(1_001, missed: 1, late: 500) == 500)
        #expect(ContributionWeight.discounted(1_001, missed: 3, late: 500) == 125)
        #expect(ContributionWeight.discounted(7, missed: .max, late: 500) == 1)
        #expect(ContributionWeight.discounted(7, missed: .max, late: 1_000) == 7)
        #expect(
            ContributionWeight.discounted(ContributionWeight.most, missed: 1, late: 999)
                == (1 << 53) * 999 / 1_000)
    }
}
