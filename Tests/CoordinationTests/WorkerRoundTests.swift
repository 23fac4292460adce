import ClusterModel
import Coordination
import Testing
import WireProtocol

/// One worker's round (east-1, rank 0) with a model of four elements: two per slice inside the region,
/// one per slice in the pool, so that each slice is one chunk.
@Suite struct WorkerRoundTests {
    private let inner = CollectiveKey.inner(region: RegionID(0), step: 1)
    private let outer = CollectiveKey.outer(fragment: FragmentID(0), round: 1)

    private func started(
        _ configuration: RunConfiguration = Fixtures.configuration(syncEvery: 1)
    ) -> WorkerRound {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        _ = round.handle(
            .plan(
                Fixtures.plan(elements: 4, configuration: configuration),
                epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    private func sharing(
        _ configuration: RunConfiguration = Fixtures.configuration(syncEvery: 1)
    ) -> WorkerRound {
        var round = started(configuration)
        _ = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        return round
    }

    private func mean(
        _ key: CollectiveKey, slice: Int, handle: UInt64, elements: UInt64 = 2,
        mayLeave: Bool = true
    ) -> WorkerRound.Mean {
        WorkerRound.Mean(
            key: key, slice: slice, position: 0,
            payload: Fixtures.payload(handle, elements: elements), weight: 512, mayLeave: mayLeave)
    }

    /// Through the inner step, up to the encoding of the outer round.
    private func sharingOuter() -> WorkerRound {
        var round = sharing()
        for slice in 0..<2 {
            _ = round.handle(.mean(mean(inner, slice: slice, handle: UInt64(slice) + 1)), at: .zero)
        }
        _ = round.handle(
            .absorbed(key: inner, target: .optimiserStep, digest: 0), at: .zero)
        return round
    }

    @Test func nothingHappensWithoutAPlan() {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: Fixtures.configuration())
        #expect(round.handle(.coordinatorLost, at: .zero) == [])
        #expect(round.stage == .idle && round.isFrozen)
        #expect(round.idleKind(shards: ShardReduction()) == .recover)
        #expect(round.waiting(shards: ShardReduction())?.activity == "the first plan")
    }

    @Test func planFreezesAndGoComputes() {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: Fixtures.configuration())
        let plan = WorkerRound.Event.plan(Fixtures.plan(), epoch: Epoch(rawValue: 1))
        #expect(round.handle(plan, at: .zero) == [.abandonShards])
        #expect(round.isFrozen && round.stage == .idle)
        #expect(
            round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
                == [.train(.compute(step: 1, samples: 0..<2))])
        #expect(!round.isFrozen && round.stage == .computing(step: 1))
    }

    @Test func goOfAnotherPlanIsAViolation() {
        var round = started()
        #expect(
            round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
                == [.violation("GO for plan 2, which is not in force here")])
        #expect(round.stage == .computing(step: 1))
    }

    @Test func planWithoutThisWorkerIsAViolation() {
        var round = started()
        let plan = Fixtures.plan(version: 2, seats: [1, 2, 3])
        #expect(
            round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
                == [.violation("a plan that does not contain this worker")])
        #expect(round.plan?.epoch == Epoch(rawValue: 1))
    }

    @Test func gradientIsEncodedForEveryOwnerOfTheRegion() {
        var round = started()
        let effects = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        #expect(round.stage == .sharing(inner))
        #expect(
            effects.first
                == .event(.stepped(worker: WorkerID(0), step: 1, loss: 2, tokens: 256)))
        #expect(effects.contains(.openShard(inner)))
        guard case .train(.encode(let order)) = effects.last else {
            Issue.record("no encoding: \(effects)")
            return
        }
        #expect(order.source == .gradient && order.transform == .fp32)
        #expect(order.chunks.map(\.slice) == [1, 0])
        #expect(order.chunks.map(\.range) == [2..<4, 0..<2])
    }

    @Test func gradientOfAnotherStepIsAViolation() {
        var round = started()
        #expect(
            round.handle(.computed(step: 2, loss: 2, tokens: 256), at: .zero).count == 1)
        #expect(round.stage == .computing(step: 1))
    }

    @Test func encodedChunkGoesToItsOwner() {
        var round = sharing()
        let payload = Fixtures.payload(5, elements: 2)
        #expect(
            round.handle(
                .encoded(
                    key: inner, epoch: Epoch(rawValue: 1), slice: 1, position: 0,
                    payload: payload), at: .zero)
                == [
                    .contribute(
                        to: Rank(1), key: inner, slice: 1, position: 0, group: 0,
                        payload: payload, weight: 256, mayLeave: true)
                ])
    }

    @Test func chunkOfAnAbandonedAttemptIsReleased() {
        var round = sharing()
        #expect(
            round.handle(
                .encoded(
                    key: inner, epoch: Epoch(rawValue: 9), slice: 1, position: 0,
                    payload: Fixtures.payload(5, elements: 2)), at: .zero)
                == [.release(PayloadHandle(rawValue: 5))])
        #expect(round.stage == .sharing(inner))
    }

    @Test func ownMeanGoesToTheMembersAndTheLastOneStartsTheStep() {
        var round = sharing()
        let own = mean(inner, slice: 0, handle: 1)
        #expect(round.handle(.mean(own), at: .zero) == [.forward(to: Rank(1), own)])
        #expect(round.stage == .sharing(inner))
        // Its own slice is reduced: the other's mean is on its way.
        #expect(round.idleKind(shards: ShardReduction()) == .transfer)
        let effects = round.handle(.mean(mean(inner, slice: 1, handle: 2)), at: .zero)
        #expect(round.stage == .absorbing(inner, .optimiserStep))
        guard case .train(.absorb(let order)) = effects.last else {
            Issue.record("no absorption: \(effects)")
            return
        }
        #expect(order.step == 1 && order.target == .optimiserStep)
        #expect(order.means.map(\.range) == [0..<2, 2..<4])
    }

    @Test func secondMeanOfAPositionIsReleased() {
        var round = sharing()
        _ = round.handle(.mean(mean(inner, slice: 0, handle: 1)), at: .zero)
        #expect(
            round.handle(.mean(mean(inner, slice: 0, handle: 2)), at: .zero)
                == [.release(PayloadHandle(rawValue: 2))])
    }

    @Test func meanOfAnotherLengthIsReleased() {
        var round = sharing()
        #expect(
            round.handle(.mean(mean(inner, slice: 0, handle: 2, elements: 1)), at: .zero)
                == [.release(PayloadHandle(rawValue: 2))])
        #expect(round.heldMean(key: inner, slice: 0, position: 0) == nil)
    }

    @Test func meanOfADistantRoundIsAViolation() {
        var round = sharing()
        let distant = CollectiveKey.outer(fragment: FragmentID(0), round: 9)
        let effects = round.handle(
            .mean(mean(distant, slice: 0, handle: 2, elements: 1)), at: .zero)
        #expect(effects.first == .release(PayloadHandle(rawValue: 2)))
        guard case .violation = effects.last else {
            Issue.record("accepted: \(effects)")
            return
        }
    }

    @Test func earlyMeanCountsOnceItsExchangeBegins() {
        var round = sharing()
        // Rank 2's slice of the outer round, while this worker shares its gradient.
        let early = mean(outer, slice: 2, handle: 20, elements: 1)
        #expect(round.handle(.mean(early), at: .zero) == [])
        #expect(
            round.handle(.mean(mean(outer, slice: 2, handle: 21, elements: 1)), at: .zero).first
                == .release(PayloadHandle(rawValue: 21)))
        for slice in 0..<2 {
            _ = round.handle(.mean(mean(inner, slice: slice, handle: UInt64(slice) + 1)), at: .zero)
        }
        _ = round.handle(
            .absorbed(key: inner, target: .optimiserStep, digest: 0), at: .zero)
        #expect(round.stage == .sharing(outer))
        #expect(round.heldMean(key: outer, slice: 2, position: 0)?.payload == early.payload)
    }

    @Test func earlyMeansOfAnOldPlanAreReleased() {
        var round = sharing()
        _ = round.handle(.mean(mean(outer, slice: 2, handle: 20, elements: 1)), at: .zero)
        let plan = Fixtures.plan(version: 2, seats: [0, 1, 2], elements: 4)
        #expect(
            round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
                == [.abandonShards, .release(PayloadHandle(rawValue: 20))])
    }

    @Test func fragmentStaysWhenOneMemberDoesNotKnowTheCommit() {
        var round = sharing()
        _ = round.handle(.mean(mean(inner, slice: 0, handle: 1)), at: .zero)
        _ = round.handle(
            .mean(mean(inner, slice: 1, handle: 2, mayLeave: false)), at: .zero)
        _ = round.handle(
            .absorbed(key: inner, target: .optimiserStep, digest: 0), at: .zero)
        #expect(round.stage == .computing(step: 2))
        #expect(round.round == 0 && round.step == 1)
    }

    @Test func outerStepIsReportedWithItsDigest() {
        var round = sharingOuter()
        #expect(round.stage == .sharing(outer))
        for slice in 0..<4 {
            _ = round.handle(
                .mean(mean(outer, slice: slice, handle: UInt64(slice) + 10, elements: 1)),
                at: .zero)
        }
        #expect(round.stage == .absorbing(outer, .outerStep))
        let effects = round.handle(
            .absorbed(key: outer, target: .outerStep, digest: 77), at: .zero)
        #expect(
            effects.contains(.report(Report(key: outer, digest: 77, step: 1, tokens: 512))))
        #expect(effects.last == .train(.compute(step: 2, samples: 8..<10)))
        #expect(round.round == 1 && round.step == 1)
    }

    @Test func holdingsTellInFlightHeldAndApplied() {
        var round = sharing()
        #expect(round.holdings == [Holding(key: inner, state: .inFlight)])
        for slice in 0..<2 {
            _ = round.handle(.mean(mean(inner, slice: slice, handle: UInt64(slice) + 1)), at: .zero)
        }
        #expect(round.holdings == [Holding(key: inner, state: .holdsMean)])
        _ = round.handle(
            .absorbed(key: inner, target: .optimiserStep, digest: 0), at: .zero)
        #expect(
            round.holdings == [
                Holding(key: outer, state: .inFlight), Holding(key: inner, state: .applied),
            ])
    }

    @Test func verdictCompletePullsOnlyWhatIsMissing() {
        var round = sharing()
        _ = round.handle(.mean(mean(inner, slice: 0, handle: 1)), at: .zero)
        let plan = Fixtures.plan(version: 2, seats: [0, 1, 2], elements: 4)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: inner, verdict: .complete, holder: Rank(1))
        #expect(
            round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
                == [.pull(from: Rank(1), key: inner, slice: 1, position: 0)])
        _ = round.handle(.mean(mean(inner, slice: 1, handle: 2)), at: .zero)
        #expect(round.stage == .absorbing(inner, .optimiserStep))
    }

    @Test func verdictRestartContributesAgainUnderTheNewPlan() {
        var round = sharing()
        _ = round.handle(.mean(mean(inner, slice: 0, handle: 1)), at: .zero)
        let plan = Fixtures.plan(version: 2, seats: [0, 2, 3], elements: 4)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: inner, verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(effects.first == .release(PayloadHandle(rawValue: 1)))
        guard case .train(.encode(let order)) = effects.last else {
            Issue.record("no encoding: \(effects)")
            return
        }
        #expect(order.epoch == Epoch(rawValue: 2))
        #expect(order.chunks.map(\.range) == [0..<4])
    }

    @Test func checkpointsAndEvaluationsFollowTheirCadence() {
        var configuration = Fixtures.configuration(outer: .everyStep, inner: .none, steps: 4)
        configuration.training.checkpointEvery = 2
        configuration.training.evaluateEvery = 2
        var round = started(configuration)
        var orders: [TrainerOrder] = []
        for step in UInt32(1)...4 {
            let key = CollectiveKey.outer(fragment: FragmentID(0), round: step)
            _ = round.handle(.computed(step: step, loss: 1, tokens: 1), at: .zero)
            for slice in 0..<4 {
                let handle = UInt64(step) * 10 + UInt64(slice)
                _ = round.handle(
                    .mean(mean(key, slice: slice, handle: handle, elements: 1)), at: .zero)
            }
            for effect in round.handle(
                .absorbed(key: key, target: .pooledOptimiserStep, digest: 1), at: .zero)
            {
                if case .train(let order) = effect { orders.append(order) }
            }
            _ = round.handle(.committed(key: key), at: .zero)
        }
        #expect(
            orders.filter {
                if case .compute = $0 { false } else { true }
            } == [.evaluate(step: 2), .checkpoint(step: 2, round: 2), .evaluate(step: 4)])
        #expect(round.stage == .trained)
    }
}
