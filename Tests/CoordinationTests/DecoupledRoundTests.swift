import ClusterModel
import Coordination
import Testing
import WireProtocol

/// One worker's round (east-1, a replica of one) under `decoupled`: H 2, eight elements, four owners.
@Suite struct DecoupledRoundTests {
    private let epoch = Epoch(rawValue: 1)

    private func key(_ round: UInt32) -> CollectiveKey {
        .outer(fragment: FragmentID(0), round: round)
    }

    private var configuration: RunConfiguration {
        Fixtures.configuration(outer: .decoupled, inner: .none, syncEvery: 2, steps: 6)
    }

    private func started() -> WorkerRound {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        let plan = Fixtures.plan(elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: epoch), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    private func step(_ round: inout WorkerRound) -> [WorkerRound.Effect] {
        let next = round.step + 1
        _ = round.handle(.computed(step: next, loss: 1, tokens: 10), at: .zero)
        return round.handle(
            .absorbed(
                key: .inner(region: RegionID(0), step: next), target: .optimiserStep, digest: 0),
            at: .zero)
    }

    private func close(
        _ number: UInt32, ranks: [Int], epoch: UInt32 = 1, _ round: inout WorkerRound
    ) -> [WorkerRound.Effect] {
        let close = Close(
            key: key(number),
            contributions: ranks.map { Close.Contribution(rank: Rank($0), weight: 50) })
        return round.handle(.closed(close, epoch: Epoch(rawValue: epoch)), at: .zero)
    }

    private func complete(_ number: UInt32, _ round: inout WorkerRound) -> [WorkerRound.Effect] {
        (0..<4).flatMap { slice in
            round.handle(
                .mean(
                    WorkerRound.Mean(
                        key: key(number), slice: slice, position: 0,
                        payload: Fixtures.payload(UInt64(100 * Int(number) + slice), elements: 2),
                        weight: 50, mayLeave: true)), at: .zero)
        }
    }

    private func encodings(_ effects: [WorkerRound.Effect]) -> [TrainerOrder.Encoding] {
        effects.compactMap { if case .train(.encode(let encoding)) = $0 { encoding } else { nil } }
    }

    private func absorption(_ effects: [WorkerRound.Effect]) -> TrainerOrder.Absorption? {
        for case .train(.absorb(let absorption)) in effects { return absorption }
        return nil
    }

    private func offers(_ effects: [WorkerRound.Effect]) -> [Offer] {
        effects.compactMap { if case .offer(let offer) = $0 { offer } else { nil } }
    }

    private func absorbed(_ number: UInt32, _ round: inout WorkerRound) -> [WorkerRound.Effect] {
        round.handle(.absorbed(key: key(number), target: .outerStep, digest: 7), at: .zero)
    }

    @Test func anOfferIsKeptAndTrainingGoesOn() {
        var round = started()
        #expect(offers(step(&round)) == [])
        let effects = step(&round)
        #expect(offers(effects) == [Offer(fragment: FragmentID(0), step: 2, tokens: 20, steps: 2)])
        let kept = encodings(effects)
        #expect(kept.count == 1 && kept[0].keeps && kept[0].chunks.isEmpty)
        #expect(kept[0].source == .offeredOuterGradient)
        // It trains on, and offers nothing further while this one stands.
        #expect(round.stage == .computing(step: 3))
        _ = step(&round)
        #expect(offers(step(&round)) == [] && round.stage == .computing(step: 5))
    }

    @Test func whoIsCountedSendsOnCloseAndNotBefore() {
        var round = started()
        _ = step(&round)
        _ = step(&round)
        let effects = close(1, ranks: [0, 2], &round)
        let sent = encodings(effects)
        #expect(sent.count == 1 && !sent[0].keeps && sent[0].chunks.count == 4)
        #expect(effects.contains(.openShard(key(1))))
        #expect(
            effects.contains(
                .closeShard(key(1), [.init(group: 0, weight: 50), .init(group: 2, weight: 50)])))
        // Said again: nothing.
        #expect(close(1, ranks: [0, 2], &round) == [])
        // Chunks carry the weight of CLOSE.
        let payload = Fixtures.payload(1, elements: 2)
        let contributed = round.handle(
            .encoded(key: key(1), epoch: epoch, slice: 1, position: 0, payload: payload),
            at: .zero)
        #expect(
            contributed == [
                .contribute(
                    to: Rank(1), key: key(1), slice: 1, position: 0, group: 0, payload: payload,
                    weight: 50, mayLeave: false)
            ])
    }

    @Test func aMeanIsTakenInBetweenTwoStepsAndKeepsWhatCameSince() {
        var round = started()
        _ = step(&round)
        _ = step(&round)
        _ = close(1, ranks: [0, 2], &round)
        // Complete in the middle of step 3: applied after it.
        #expect(absorption(complete(1, &round)) == nil)
        #expect(round.stage == .computing(step: 3))
        let applied = absorption(step(&round))
        #expect(applied?.key == key(1) && applied?.carried == .sinceOffer)
        let after = absorbed(1, &round)
        #expect(round.offer == nil && round.round == 1)
        #expect(
            after.contains(.report(Report(key: key(1), digest: 7, step: 3, tokens: 50))))
        #expect(round.stage == .computing(step: 4))
        // The next offer counts from the last one, not from the application.
        let offer = offers(step(&round))
        #expect(offer == [Offer(fragment: FragmentID(0), step: 4, tokens: 20, steps: 2)])
    }

    @Test func whoIsLateTakesTheMeanInAndKeepsAllItHas() {
        var round = started()
        _ = step(&round)
        let effects = close(1, ranks: [2, 3], &round)
        #expect(encodings(effects).isEmpty && effects.contains(.openShard(key(1))))
        _ = complete(1, &round)
        let second = step(&round)
        // It offers what it has before it takes the mean in.
        #expect(offers(second).map(\.step) == [2])
        #expect(absorption(second)?.carried == .everything)
        _ = absorbed(1, &round)
        #expect(round.offer?.step == 2 && round.round == 1)
        // Its contribution goes into the next round.
        #expect(encodings(close(2, ranks: [0, 1], &round)).first?.chunks.count == 4)
    }

    @Test func afterTheLastStepWhatIsMergedBecomesTheOuterCopy() {
        var round = started()
        for _ in 1...6 { _ = step(&round) }
        #expect(round.offer?.step == 2 && round.stage == .idle)
        _ = close(1, ranks: [0], &round)
        let first = absorption(complete(1, &round))
        #expect(first?.carried == .sinceOffer)
        let last = absorbed(1, &round)
        #expect(offers(last) == [Offer(fragment: FragmentID(0), step: 6, tokens: 40, steps: 4)])
        _ = close(2, ranks: [0], &round)
        let final = absorption(complete(2, &round))
        #expect(final?.carried == nil && final?.blend == 0)
        #expect(absorbed(2, &round).contains(.trained))
        #expect(round.stage == .trained && round.offer == nil)
        // Others go on: it takes their means in, its own parameters equal the outer copy.
        _ = close(3, ranks: [1], &round)
        #expect(absorption(complete(3, &round))?.carried == .everything)
        _ = absorbed(3, &round)
        #expect(round.stage == .trained && round.round == 3)
    }

    @Test func aDeathLeavesTheOfferAndANewSetBeginsAgain() {
        var round = started()
        _ = step(&round)
        _ = step(&round)
        _ = close(1, ranks: [0, 2], &round)
        let plan = Fixtures.plan(
            version: 2, seats: [0, 1, 3], elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        #expect(round.holdings.first { $0.key == key(1) }?.state == .inFlight)
        // Of the old epoch, and frozen: nothing begins.
        #expect(close(1, ranks: [0], epoch: 1, &round) == [])
        #expect(close(1, ranks: [0], epoch: 2, &round) == [])
        let verdict = Verdict(key: key(1), verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(offers(effects).map(\.step) == [2])
        let again = encodings(effects)
        #expect(again.count == 1 && !again[0].keeps && again[0].epoch == Epoch(rawValue: 2))
        #expect(round.flightKeys == [key(1)])
    }

    @Test func whatIsCompletedElsewhereIsFetchedByThoseWhoHadNotBegun() {
        var round = started()
        _ = step(&round)
        let plan = Fixtures.plan(version: 2, elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        _ = close(1, ranks: [2], epoch: 2, &round)
        let verdict = Verdict(key: key(1), verdict: .complete, holder: Rank(3))
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        let pulls = (0..<4).map {
            WorkerRound.Effect.pull(from: Rank(3), key: key(1), slice: $0, position: 0)
        }
        #expect(effects.filter { if case .pull = $0 { true } else { false } } == pulls)
        #expect(encodings(effects).isEmpty)
    }

    @Test func aBoundaryDropsTheOffer() {
        var round = started()
        _ = step(&round)
        _ = step(&round)
        var plan = Fixtures.plan(version: 2, elements: 8, configuration: configuration)
        plan.activateAtRound = 1
        _ = round.handle(.boundary(turn: 1), at: .zero)
        _ = close(1, ranks: [2], &round)
        _ = complete(1, &round)
        _ = step(&round)
        _ = absorbed(1, &round)
        #expect(round.stage == .idle && round.offer != nil)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        #expect(round.offer != nil && round.isFrozen)
        let go = round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
        #expect(round.offer == nil)
        #expect(offers(go) == [] && round.stage == .computing(step: 4))
        _ = step(&round)
        #expect(offers(step(&round)).map(\.steps) == [2])
    }

    /// Seed 4266: a death takes a boundary plan back that only some members have in force.
    @Test func aBoundaryThatIsTakenBackChangesNothing() {
        var boundary = Fixtures.plan(version: 2, elements: 8, configuration: configuration)
        boundary.activateAtRound = 1
        let repair = Fixtures.plan(
            version: 3, seats: [0, 1, 3], elements: 8, configuration: configuration)
        /// Offers round 1 is closed without, and takes its mean in after step 2.
        func offersAfter(adopting adopts: Bool) -> [Offer] {
            var round = started()
            _ = step(&round)
            _ = round.handle(.boundary(turn: 1), at: .zero)
            _ = close(1, ranks: [2], &round)
            _ = complete(1, &round)
            _ = step(&round)
            _ = absorbed(1, &round)
            if adopts {
                _ = round.handle(.plan(boundary, epoch: Epoch(rawValue: 2)), at: .zero)
            }
            _ = round.handle(.plan(repair, epoch: Epoch(rawValue: 3)), at: .zero)
            let go = round.handle(.go(planVersion: 3, verdicts: []), at: .zero)
            #expect(round.stage == .computing(step: 3))
            return offers(go)
        }
        let standing = [Offer(fragment: FragmentID(0), step: 2, tokens: 20, steps: 2)]
        #expect(offersAfter(adopting: true) == standing)
        #expect(offersAfter(adopting: false) == standing)
    }

    @Test func whatIsCompletedElsewhereIsFetchedAlsoIfCloseComesAfterGo() {
        var round = started()
        _ = step(&round)
        let plan = Fixtures.plan(version: 2, elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: key(1), verdict: .complete, holder: Rank(3))
        _ = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(round.flightKeys.isEmpty)
        let effects = close(1, ranks: [2], epoch: 2, &round)
        let pulls = (0..<4).map {
            WorkerRound.Effect.pull(from: Rank(3), key: key(1), slice: $0, position: 0)
        }
        #expect(effects.filter { if case .pull = $0 { true } else { false } } == pulls)
        #expect(!effects.contains(.openShard(key(1))))
        // Of the next round the verdict says nothing.
        _ = complete(1, &round)
        _ = step(&round)
        _ = absorbed(1, &round)
        #expect(close(2, ranks: [2], epoch: 2, &round).contains(.openShard(key(2))))
    }

    @Test func whatIsAppliedIsCollectedNoMore() {
        var round = started()
        _ = step(&round)
        _ = close(1, ranks: [2], &round)
        #expect(!complete(1, &round).contains(.abandonShard(key(1))))
        _ = step(&round)
        #expect(absorbed(1, &round).contains(.abandonShard(key(1))))
    }

    // MARK: What an earlier run had not merged

    /// A replica of two, micro-batches of two: 2 steps of 2 members.
    private func resumed(seats: [Int], hasState: Bool) -> WorkerRound {
        var configuration = Fixtures.configuration(outer: .decoupled, syncEvery: 2, steps: 6)
        configuration.model.context = 10
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        if hasState { round.resume(step: 6, round: 2, hasRest: true) }
        let plan = Fixtures.plan(seats: seats, elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: epoch), at: .zero)
        return round
    }

    private func start(_ round: inout WorkerRound, version: UInt32) -> [Offer] {
        let go = round.handle(.go(planVersion: version, verdicts: []), at: .zero)
        #expect(round.stage == .idle)
        return offers(go)
    }

    private static let rest = Offer(fragment: FragmentID(0), step: 6, tokens: 80, steps: 2)

    /// East-2 is gone before GO, and another member of the replica may not have seen the plan with it.
    @Test func whatIsLeftCountsByThePlanThatStarts() {
        var plain = resumed(seats: [0, 1, 2, 3], hasState: true)
        #expect(start(&plain, version: 1) == [Self.rest])
        var round = resumed(seats: [0, 1, 2, 3], hasState: true)
        let next = Fixtures.plan(
            version: 2, seats: [0, 2, 3], elements: 8,
            configuration: Fixtures.configuration(outer: .decoupled, syncEvery: 2, steps: 6))
        _ = round.handle(.plan(next, epoch: Epoch(rawValue: 2)), at: .zero)
        var half = Self.rest
        half.tokens = 40
        #expect(start(&round, version: 2) == [half])
        // Offered once: a death afterwards changes nothing of it.
        var last = next
        last.planVersion = 3
        _ = round.handle(.plan(last, epoch: Epoch(rawValue: 3)), at: .zero)
        #expect(start(&round, version: 3) == [half])
    }

    /// Members of a replica offer alike, also those that have taken the state over under the first plan.
    @Test func whoTakesOverWhatIsLeftOffersItToo() {
        var round = resumed(seats: [0, 1, 2, 3], hasState: false)
        _ = round.handle(.stateInstalled(step: 6, round: 2, hasRest: true), at: .zero)
        #expect(start(&round, version: 1) == [Self.rest])
    }

    @Test func aRoundTooFarAheadIsAViolation() {
        var round = started()
        let effects = close(2, ranks: [0], &round)
        guard case .violation = effects.first else {
            Issue.record("\(effects)")
            return
        }
        #expect(round.flightKeys.isEmpty)
    }
}
