import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Which experts a round leaves out, who decides it, and what that does to a worker's round.
@Suite struct ExpertRoundTests {
    // MARK: The rule

    private func periods(_ exponents: [UInt8]) -> [ExpertPeriod] {
        exponents.map { ExpertPeriod(exponent: $0) }
    }

    @Test func expertsOfOnePeriodTakeTurns() {
        let rounds = ExpertRounds(periods([0, 2, 1, 2, 2, 1, 2]))
        for first in UInt32(1)...8 {
            for (expert, period) in [1, 4, 2, 4, 4, 2, 4].enumerated() {
                let due = (0..<UInt32(period)).filter { !rounds.absent(round: first + $0)[expert] }
                #expect(due.count == 1, "expert \(expert) from round \(first)")
            }
            #expect(rounds.absent(round: first).count { !$0 } == 3)
        }
        // By hand, as the specification counts: places 0, 0, 0, 1, 2, 1, 3.
        let absent = rounds.absent(round: 5)
        #expect(absent == [false, true, true, false, true, false, true])
        #expect(!ExpertRounds(periods([0, 0])).leavesSomeOut)
        #expect(ExpertRounds([]).absent(round: 3) == [])
    }

    private static func configuration(most: UInt32? = 8, steps: UInt32 = 6) -> RunConfiguration {
        var configuration = Fixtures.configuration(syncEvery: 2, steps: steps)
        configuration.model.experts = .init(count: 4, width: 8)
        configuration.schedule.expertRounds = most
        return configuration
    }

    private func loads(_ first: [UInt64], _ second: [UInt64]) -> [Report.ExpertLoad] {
        (first + second).map { Report.ExpertLoad(tokens: $0) }
    }

    private func plan(_ loads: ExpertLoads) -> Plan {
        var plan = Fixtures.plan()
        plan.expertPeriods = loads.planned
        return plan
    }

    @Test func loadsBelowAHalfAndAQuarterMakePeriods() {
        var experts = ExpertLoads(Self.configuration(), elements: 1_000)
        // Means of 100: 250, 60, 50, 40 and 380, 19, 1, 0.
        let used = loads([250, 60, 50, 40], [380, 19, 1, 0])
        for _ in 0..<2 {
            experts.note(used)
            experts.settle()
            #expect(experts.change() == nil, "two rounds say little")
        }
        experts.note(used)
        experts.settle()
        let reason = experts.change()
        #expect(experts.planned.map(\.exponent) == [0, 0, 0, 0, 0, 2, 3, 3])
        #expect(
            reason == "5 in every round, 1 in 1 of 4, 2 in 1 of 8; of the model's values a round "
                + "exchanges 100.0 % -> 75.0 %")
        // Exactly as many values as the model has.
        experts.adopt(plan(experts))
        let whole = experts.elements(inRound: 1, allExperts: true)
        #expect(whole.sent == 1_000 && whole.all == 1_000)
    }

    @Test func aLoadNearItsBoundChangesNothing() {
        var experts = ExpertLoads(Self.configuration(), elements: 1_000)
        for _ in 0..<3 {
            experts.note(loads([260, 90, 30, 20], [100, 100, 100, 100]))
            experts.settle()
        }
        // .30 is less than a half, .20 less than a quarter by a factor of 1.25 (as is .30).
        #expect(experts.change() != nil)
        #expect(experts.planned.map(\.exponent) == [0, 0, 1, 1, 0, 0, 0, 0])
        experts.adopt(plan(experts))
        // Between the bounds and their margins both ways, for as long as it takes.
        for _ in 0..<40 {
            experts.note(loads([224, 90, 56, 26], [100, 100, 100, 100]))
            experts.settle()
            #expect(experts.change() == nil)
        }
        // Far above: back to every round at once.
        experts.note(loads([100, 100, 100, 100], [100, 100, 100, 100]))
        experts.settle()
        #expect(experts.change() != nil)
        #expect(experts.planned == [])
    }

    /// Longer periods wait until all have been due twice; one round in which an expert is used is enough to
    /// have it back, three rounds after a change.
    @Test func aFreshPlanStays() {
        var experts = ExpertLoads(Self.configuration(most: 4), elements: 1_000)
        let skewed = loads([397, 1, 1, 1], [100, 100, 100, 100])
        for _ in 0..<3 {
            experts.note(skewed)
            experts.settle()
        }
        #expect(experts.change() != nil)
        #expect(experts.planned.map(\.exponent) == [0, 2, 2, 2, 0, 0, 0, 0])
        experts.adopt(plan(experts))
        for round in 1...9 {
            experts.note(loads([397, 1, 1, 1], [397, 1, 1, 1]))
            experts.settle()
            // The older rounds still count: a quarter of the mean after three.
            #expect((experts.change() != nil) == (round >= 8), "round \(round)")
        }
        #expect(experts.planned.map(\.exponent) == [0, 2, 2, 2, 0, 2, 2, 2])
        experts.adopt(plan(experts))
        for round in 1...3 {
            experts.note(loads([100, 100, 100, 100], [397, 1, 1, 1]))
            experts.settle()
            #expect((experts.change() != nil) == (round == 3), "round \(round)")
        }
        #expect(experts.planned.map(\.exponent) == [0, 0, 0, 0, 0, 2, 2, 2])
    }

    @Test func nobodyAskedNobodyCounts() {
        var experts = ExpertLoads(Self.configuration(most: nil), elements: 1_000)
        for _ in 0..<9 {
            experts.note(loads([400, 0, 0, 0], [400, 0, 0, 0]))
            experts.settle()
            #expect(experts.change() == nil)
        }
    }

    // MARK: A worker's round

    /// East-1 of two regions of two, each 4 of 16 elements; experts 0, 1, 2 are the last three slices.
    /// Expert 1 is due in even rounds, expert 2 in odd ones.
    private func started(steps: UInt32 = 6, owners: [RegionID] = []) -> WorkerRound {
        let configuration = Self.configuration(most: 2, steps: steps)
        var plan = Fixtures.plan(elements: 16, configuration: configuration)
        plan.experts = [
            ExpertBlock(start: 4, each: 4, count: 2), ExpertBlock(start: 12, each: 4, count: 1),
        ]
        plan.expertPeriods = periods([0, 1, 1])
        plan.expertOwners = owners.map { PlanExpertOwner(region: $0) }
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    private func step(
        _ round: inout WorkerRound, _ step: UInt32, experts: [Float] = [0.5, 0.1, 0.2]
    )
        -> [WorkerRound.Effect]
    {
        round.stepOfTwo(step, experts: experts)
    }

    private func key(_ round: UInt32) -> CollectiveKey {
        .outer(fragment: FragmentID(0), round: round)
    }

    private func encodings(_ effects: [WorkerRound.Effect]) -> [TrainerOrder.Encoding] {
        effects.compactMap {
            if case .train(.encode(let encoding)) = $0, encoding.key.scope == .pool {
                encoding
            } else {
                nil
            }
        }
    }

    private func mean(_ round: inout WorkerRound, _ number: UInt32, slice: Int)
        -> [WorkerRound.Effect]
    {
        round.handle(
            .mean(
                WorkerRound.Mean(
                    key: key(number), slice: slice, position: 0,
                    payload: Fixtures.payload(10_000 * UInt64(number) + UInt64(slice), elements: 4),
                    weight: 100, mayLeave: true)), at: .zero)
    }

    private func finish(_ round: inout WorkerRound, _ number: UInt32) -> Report? {
        let effects = round.handle(
            .absorbed(key: key(number), target: .outerStep, digest: 9), at: .zero)
        for case .report(let report) in effects { return report }
        return nil
    }

    private func weight(_ round: inout WorkerRound, _ number: UInt32, slice: Int) -> UInt64? {
        for case .contribute(_, _, _, _, _, _, let weight, _) in round.handle(
            .encoded(
                key: key(number), epoch: Epoch(rawValue: 1), slice: slice, position: 0,
                payload: Fixtures.payload(1_000 * UInt64(number) + UInt64(slice), elements: 4)),
            at: .zero)
        {
            return weight
        }
        return nil
    }

    /// Goes through round 1, which leaves expert 1 out.
    private func afterFirstRound(steps: UInt32 = 6, owners: [RegionID] = []) -> WorkerRound {
        var round = started(steps: steps, owners: owners)
        for number in UInt32(1)...2 { _ = step(&round, number) }
        for slice in [0, 1, 3] { _ = mean(&round, 1, slice: slice) }
        _ = finish(&round, 1)
        return round
    }

    @Test func whatIsNotDueIsNeitherSentNorWaitedForNorSteppedOn() throws {
        var round = started()
        _ = step(&round, 1)
        let order = try #require(encodings(step(&round, 2)).first)
        // East-1 sends its own slice and, for the region, that of west-1: expert 1.
        #expect(order.chunks.map(\.slice) == [0])
        #expect(order.absent.map(\.slice) == [2])
        let refused = mean(&round, 1, slice: 2)
        #expect(refused.first == .release(PayloadHandle(rawValue: 10_002)), "\(refused)")
        for slice in [0, 1] { _ = mean(&round, 1, slice: slice) }
        #expect(round.stage == .sharing(key(1)))
        let effects = mean(&round, 1, slice: 3)
        let absorption = effects.compactMap {
            if case .train(.absorb(let absorption)) = $0 { absorption } else { nil }
        }.first
        #expect(absorption?.means.map(\.range) == [0..<4, 4..<8, 12..<16])
    }

    @Test func itsTokensGoOnToTheRoundInWhichItIsDue() throws {
        var round = afterFirstRound()
        _ = round.handle(.committed(key: key(1)), at: .zero)
        _ = step(&round, 3)
        let order = try #require(encodings(step(&round, 4)).first)
        #expect(order.chunks.map(\.slice) == [2, 0])
        #expect(weight(&round, 2, slice: 0) == 200)
        // Four steps of 100 tokens, a tenth of them each; expert 0 counts two.
        #expect(weight(&round, 2, slice: 2) == 40)
        #expect(weight(&round, 2, slice: 1) == 100)
    }

    /// What was withheld from it is kept while nobody contributes it, and dropped when somebody else does.
    @Test func anExpertOfAnotherRegionIsNotSent() throws {
        let owners = [RegionID.none, RegionID(1), .none]
        var first = started(owners: owners)
        _ = step(&first, 1)
        let without = try #require(encodings(step(&first, 2)).first)
        #expect(without.chunks.map(\.slice) == [0] && without.absent.map(\.slice) == [2])
        #expect(without.elsewhere.isEmpty)
        var round = afterFirstRound(owners: owners)
        _ = round.handle(.committed(key: key(1)), at: .zero)
        _ = step(&round, 3)
        let order = try #require(encodings(step(&round, 4)).first)
        #expect(order.chunks.map(\.slice) == [0] && order.absent.map(\.slice) == [2])
        #expect(order.elsewhere == order.absent)
    }

    @Test func aCommitCanCallForAllExperts() throws {
        var round = afterFirstRound()
        _ = round.handle(.committed(key: key(1), allExperts: true), at: .zero)
        _ = step(&round, 3)
        let order = try #require(encodings(step(&round, 4)).first)
        #expect(order.chunks.map(\.slice) == [2, 0] && order.absent.isEmpty)
        for slice in 0..<3 { _ = mean(&round, 2, slice: slice) }
        #expect(round.stage == .sharing(key(2)), "expert 2 would not be due")
        _ = mean(&round, 2, slice: 3)
        #expect(round.stage == .absorbing(key(2), .outerStep))
    }

    /// A round that is begun again after a death leaves the same experts out.
    @Test func anotherAttemptHasTheSameExperts() throws {
        var round = started()
        for number in UInt32(1)...2 { _ = step(&round, number) }
        _ = mean(&round, 1, slice: 0)
        var next = try #require(round.plan).plan
        next.planVersion = 2
        _ = round.handle(.plan(next, epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: key(1), verdict: .restart, holder: .none)
        let again = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        let order = try #require(encodings(again).first)
        #expect(order.chunks.map(\.slice) == [0] && order.absent.map(\.slice) == [2])
    }

    /// Who has finished owes what a partial last round has left out, and takes part in the others' only when
    /// it knows what they exchange.
    @Test func afterTheLastStepOneMoreRoundTakesInTheRest() {
        var round = afterFirstRound(steps: 2)
        #expect(round.stage == .trained)
        #expect(encodings(round.handle(.called(key: key(2)), at: .zero)).isEmpty)
        var told = round
        #expect(encodings(told.handle(.committed(key: key(1)), at: .zero)).count == 1)
        // No tokens since round 1, but those of expert 1, which was left out of it.
        #expect([0, 1, 2].map { weight(&told, 2, slice: $0) } == [0, 0, 20])
        let whole = encodings(round.handle(.committed(key: key(1), allExperts: true), at: .zero))
        #expect(whole.map { $0.chunks.map(\.slice) } == [[2, 0]])

        var waiting = afterFirstRound(steps: 2)
        #expect(encodings(waiting.handle(.committed(key: key(1)), at: .zero)).isEmpty)
        #expect(waiting.stage == .trained)
        var owing = afterFirstRound(steps: 2)
        let called = owing.handle(.committed(key: key(1), allExperts: true), at: .zero)
        #expect(encodings(called).count == 1)
        for slice in 0..<4 { _ = mean(&owing, 2, slice: slice) }
        _ = finish(&owing, 2)
        #expect(encodings(owing.handle(.committed(key: key(2)), at: .zero)).isEmpty)
    }

    /// All who held round 1 are gone: it is begun again, and what was said of it is void.
    @Test func aRunThatBeginsAgainForgetsCommits() throws {
        var round = afterFirstRound()
        _ = round.handle(.committed(key: key(1), allExperts: true), at: .zero)
        var plan = try #require(round.plan).plan
        plan.planVersion = 2
        plan.fragments[0].round = 1
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        _ = round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
        _ = step(&round, 3)
        var waiting = round
        _ = waiting.handle(.computed(step: 4, loss: 1, tokens: 60), at: .zero)
        #expect(waiting.stage == .readyToShare(step: 4, tokens: 60), "round 1 is not committed")
        _ = round.handle(.committed(key: key(1)), at: .zero)
        let order = try #require(encodings(step(&round, 4)).first)
        #expect(order.chunks.map(\.slice) == [2, 0])
        // Expert 2 is due in odd rounds.
        #expect(mean(&round, 2, slice: 3).first == .release(PayloadHandle(rawValue: 20_003)))
    }

    @Test func aWeightThatNobodyCanHaveIsNoTrap() {
        var round = started()
        for number in UInt32(1)...2 {
            _ = round.stepOfTwo(number, experts: [1, 1, 1], weight: .max)
        }
        #expect(weight(&round, 1, slice: 0) == .max)
    }

    /// There are no new tokens, and what has waited still counts by its own.
    @Test func afterTheLastStepWhatHasWaitedCountsByItsTokens() {
        var round = afterFirstRound(steps: 2)
        _ = round.handle(.committed(key: key(1), allExperts: true), at: .zero)
        // Two steps of 100 tokens, a tenth of them each; round 1 took in what expert 0 had learnt.
        #expect((0..<3).map { weight(&round, 2, slice: $0) } == [0, 0, 20])
    }

    @Test func theFirstOfAReplicaReportsTheLoads() throws {
        var round = started()
        for number in UInt32(1)...2 { _ = step(&round, number) }
        for slice in [0, 1, 3] { _ = mean(&round, 1, slice: slice) }
        let report = try #require(finish(&round, 1))
        #expect(report.experts.map(\.tokens) == [100, 20, 40])
        _ = round.handle(.committed(key: key(1)), at: .zero)
        for number in UInt32(3)...4 { _ = step(&round, number) }
        for slice in [0, 1, 2] { _ = mean(&round, 2, slice: slice) }
        // Not those that wait: what was used since the report before.
        #expect(finish(&round, 2)?.experts.map(\.tokens) == [100, 20, 40])
    }
}
