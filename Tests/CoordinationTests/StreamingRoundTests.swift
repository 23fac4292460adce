import ClusterModel
import Coordination
import Testing
import WireProtocol

/// One worker's round (east-1, a replica of one) with two fragments of four elements each, H 4 and tau 2:
/// turns 1 and 2 leave after steps 2 and 4.
@Suite struct StreamingRoundTests {
    private let order = FragmentOrder(count: 2)

    private func configuration(
        inner: RunConfiguration.Schedule.Inner = .none
    ) -> RunConfiguration {
        var configuration = Fixtures.configuration(
            outer: .streaming, inner: inner, syncEvery: 4, steps: 12)
        configuration.schedule.fragments = 2
        configuration.schedule.overlap = 2
        configuration.schedule.blend = 0.5
        return configuration
    }

    private func started(
        inner: RunConfiguration.Schedule.Inner = .none
    ) -> WorkerRound {
        let configuration = configuration(inner: inner)
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        let plan = Fixtures.plan(elements: 8, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    /// Takes the next step; what the machine wants after it.
    private func step(_ round: inout WorkerRound) -> [WorkerRound.Effect] {
        let next = round.step + 1
        _ = round.handle(.computed(step: next, loss: 1, tokens: 10), at: .zero)
        return round.handle(
            .absorbed(
                key: .inner(region: RegionID(0), step: next), target: .optimiserStep, digest: 0),
            at: .zero)
    }

    private func absorption(_ effects: [WorkerRound.Effect]) -> TrainerOrder.Absorption? {
        for case .train(.absorb(let absorption)) in effects { return absorption }
        return nil
    }

    /// Hands over every position of the mean of `turn`.
    private func complete(_ turn: UInt32, _ round: inout WorkerRound) -> [WorkerRound.Effect] {
        (0..<4).flatMap { slice in
            round.handle(
                .mean(
                    WorkerRound.Mean(
                        key: order.key(of: turn), slice: slice, position: 0,
                        payload: Fixtures.payload(UInt64(turn) * 10 + UInt64(slice), elements: 1),
                        weight: 40, mayLeave: true)), at: .zero)
        }
    }

    /// Resumed with a step left and what an outage had left unmerged; somebody dies as that step, the last
    /// one, is taken. Both turns count for the tokens of the step: the unmerged work is in the parameters it
    /// began from, and counts as a round only where no step follows it.
    @Test func unmergedWorkThatAStepFollowsCountsWithItsTokens() throws {
        let configuration = configuration()
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        round.resume(step: 11, round: 5, hasRest: true)
        var plan = Fixtures.plan(elements: 8, configuration: configuration)
        for index in plan.fragments.indices {
            plan.fragments[index].round = order.rounds(of: FragmentID(index), through: 5) + 1
        }
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        #expect(round.stage == .computing(step: 12))
        _ = round.handle(.computed(step: 12, loss: 1, tokens: 10), at: .zero)
        plan.planVersion = 2
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        _ = round.handle(
            .absorbed(
                key: .inner(region: RegionID(0), step: 12), target: .optimiserStep, digest: 0),
            at: .zero)
        #expect(round.step == 12 && round.holdings == [])
        let effects = round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
        var leaving: [TrainerOrder.Encoding] = []
        for case .train(.encode(let encoding)) in effects { leaving.append(encoding) }
        #expect(leaving.map(\.round) == [order.key(of: 6), order.key(of: 7)])
        for encoding in leaving {
            let chunk = try #require(encoding.chunks.first)
            let sent = round.handle(
                .encoded(
                    key: encoding.key, epoch: encoding.epoch, slice: chunk.slice,
                    position: chunk.position, payload: Fixtures.payload(9, elements: 1)),
                at: .zero)
            let weights = sent.compactMap {
                if case .contribute(_, _, _, _, _, _, let weight, _) = $0 { weight } else { nil }
            }
            #expect(weights == [10], "\(encoding.key)")
        }
    }

    @Test func aTurnLeavesAndTheNextStepBegins() throws {
        var round = started()
        #expect(step(&round).encoding == nil)
        let effects = step(&round)
        let leaving = try #require(effects.encoding)
        #expect(leaving.round == order.key(of: 1) && leaving.source == .keptOuterGradient)
        #expect(leaving.keeps && leaving.fragment == [ElementRange(start: 4, count: 4)])
        // The order matters: the values are kept before the next step changes them.
        #expect(effects.last == .train(.compute(step: 3, samples: 16..<18)))
        #expect(round.stage == .computing(step: 3) && round.flightKeys == [order.key(of: 1)])
    }

    @Test func theMeanIsAppliedExactlyTauStepsLater() throws {
        var round = started()
        for _ in 1...2 { _ = step(&round) }
        #expect(absorption(complete(1, &round)) == nil)
        #expect(absorption(step(&round)) == nil)
        let effects = step(&round)
        // Step 4: turn 2 leaves first, then turn 1 is applied.
        #expect(effects.encoding?.round == order.key(of: 2))
        let applied = try #require(absorption(effects))
        #expect(applied.key == order.key(of: 1) && applied.blend == 0.5)
        #expect(applied.step == 4 && applied.turn == 1 && applied.target == .outerStep)
        let after = round.handle(
            .absorbed(key: order.key(of: 1), target: .outerStep, digest: 5), at: .zero)
        #expect(
            after.contains(.report(Report(key: order.key(of: 1), digest: 5, step: 4, tokens: 40))))
        #expect(round.stage == .computing(step: 5) && round.round == 1)
    }

    @Test func aMeanThatIsLateBlocksTheStepItIsDueAt() throws {
        var round = started()
        for _ in 1...4 { _ = step(&round) }
        let key = order.key(of: 1)
        #expect(round.stage == .sharing(key))
        var shards = ShardReduction()
        shards.open(key, geometry: try #require(round.plan).geometry(of: key), rank: Rank(0))
        // What one replica has sent says nothing of the others: a wait until each has begun.
        let others = try #require(round.plan).contributingGroups.indices.dropFirst()
        for group in others {
            #expect(round.idleKind(shards: shards) == .wait)
            let part = ShardReduction.Contribution(
                key: key, slice: 0, position: 0, group: group,
                handle: PayloadHandle(rawValue: 900 + UInt64(group)), weight: 1, mayLeave: true)
            _ = shards.handle(.contribution(part))
        }
        #expect(round.idleKind(shards: shards) == .transfer)
        #expect(absorption(complete(1, &round))?.key == order.key(of: 1))
    }

    @Test func weightsCountTheStepsSinceTheFragmentLeft() throws {
        var round = started()
        var weights: [CollectiveKey: UInt64] = [:]
        for _ in 1...4 {
            if let leaving = step(&round).encoding, let chunk = leaving.chunks.first {
                let effects = round.handle(
                    .encoded(
                        key: leaving.key, epoch: leaving.epoch, slice: chunk.slice, position: 0,
                        payload: Fixtures.payload(90, elements: 1)), at: .zero)
                if case .contribute(_, leaving.key, _, _, _, _, let weight, _) = effects.first {
                    weights[leaving.round] = weight
                }
            }
        }
        #expect(weights == [order.key(of: 1): 20, order.key(of: 2): 40])
    }

    @Test func restartContributesWhatLeftAndNotWhatIsThereNow() throws {
        var round = started()
        for _ in 1...3 { _ = step(&round) }
        let plan = Fixtures.plan(
            version: 2, seats: [0, 2, 3], elements: 8, configuration: configuration())
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        #expect(round.holdings == [Holding(key: order.key(of: 1), state: .inFlight)])
        let effects = round.handle(
            .go(
                planVersion: 2,
                verdicts: [Verdict(key: order.key(of: 1), verdict: .restart, holder: .none)]),
            at: .zero)
        let again = try #require(effects.encoding)
        #expect(again.source == .keptOuterGradient && !again.keeps)
        #expect(again.epoch == Epoch(rawValue: 2) && again.round == order.key(of: 1))
        #expect(round.stage == .computing(step: 4))
    }

    @Test func aTurnWaitsForTheCommitOfItsFragment() {
        var round = started()
        for _ in 1...2 { _ = step(&round) }
        _ = complete(1, &round)
        for _ in 3...4 { _ = step(&round) }
        _ = round.handle(
            .absorbed(key: order.key(of: 1), target: .outerStep, digest: 5), at: .zero)
        _ = complete(2, &round)
        _ = step(&round)
        // Step 6 is the second departure of fragment 1; round 1 of it is applied, not committed.
        _ = round.handle(.computed(step: 6, loss: 1, tokens: 10), at: .zero)
        #expect(round.stage == .readyToShare(step: 6, tokens: 10))
        #expect(
            round.waiting(shards: ShardReduction())?.activity
                == "the commit of outer round 1 of fragment 1")
        _ = round.handle(.committed(key: order.key(of: 1)), at: .zero)
        #expect(
            round.stage
                == .absorbing(.inner(region: RegionID(0), step: 6), .optimiserStep))
    }

    @Test func aLateTurnDoesNotHoldUpTheStepsItsFragmentWaitsFor() {
        var round = started()
        _ = round.handle(.coordinatorLost, at: .zero)
        for step in UInt32(1)...7 {
            _ = self.step(&round)
            guard step == 4 || step == 6 else { continue }
            // Turns 1 and 2, applied when they are due; nobody commits them.
            _ = complete(step / 2 - 1, &round)
            _ = round.handle(
                .absorbed(key: order.key(of: step / 2 - 1), target: .outerStep, digest: 5),
                at: .zero)
        }
        #expect(round.round == 2 && round.flightKeys == [])
        _ = round.handle(.coordinatorReturned, at: .zero)
        for turn in UInt32(1)...2 {
            _ = round.handle(.committed(key: order.key(of: turn)), at: .zero)
        }
        // Turns 3 and 4 are late and leave after steps 8 and 9; turn 5 is due after step 10.
        for _ in 8...9 { _ = step(&round) }
        #expect(round.flightKeys == [order.key(of: 3), order.key(of: 4)])
        _ = round.handle(.computed(step: 10, loss: 1, tokens: 10), at: .zero)
        #expect(
            round.stage == .absorbing(.inner(region: RegionID(0), step: 10), .optimiserStep))
    }

    @Test func nothingLeavesBeyondABoundary() {
        var round = started()
        _ = round.handle(.boundary(turn: 1), at: .zero)
        for _ in 1...2 { _ = step(&round) }
        _ = complete(1, &round)
        _ = step(&round)
        // Turn 2 is due after step 4 and held back; turn 1 is applied there.
        #expect(step(&round).encoding == nil)
        #expect(round.stage == .absorbing(order.key(of: 1), .outerStep))
        _ = round.handle(
            .absorbed(key: order.key(of: 1), target: .outerStep, digest: 5), at: .zero)
        #expect(round.flightKeys == [] && round.round == 1)
    }

    @Test func heldBackMembersVoteAgainstLeaving() throws {
        var round = started(inner: .everyStep)
        _ = round.handle(.boundary(turn: 0), at: .zero)
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 10), at: .zero)
        let sharing = try #require(effects.encoding)
        let contribution = round.handle(
            .encoded(
                key: sharing.key, epoch: sharing.epoch, slice: 0, position: 0,
                payload: Fixtures.payload(90, elements: 4)), at: .zero)
        guard case .contribute(_, _, _, _, _, _, _, let mayLeave) = contribution.first else {
            Issue.record("no contribution: \(contribution)")
            return
        }
        #expect(!mayLeave)
    }
}
