import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Workers that come late, come back, or bring a saved state.
@Suite struct JoinAndResumeTests {
    /// Three of four seats have waited long enough and train; everything stops before `step`.
    private func threeOfFour(steps: UInt32 = 12, before step: UInt32 = 3) -> TestCluster {
        var cluster = TestCluster(Fixtures.configuration(syncEvery: 2, steps: steps))
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= step } else { false }
        }
        cluster.advance(to: 70)
        return cluster
    }

    @Test func gatheringEndsWithTheWorkersThatAreThere() {
        let cluster = threeOfFour()
        #expect(cluster.coordinator.phase == .running)
        #expect(cluster.coordinator.plan?.members.count == 3)
        #expect(cluster.waited(for: "west-2", by: cluster.events))
    }

    @Test func joinerTakesOverAStateAtTheRoundBoundary() {
        var cluster = threeOfFour()
        cluster.launch(3)
        cluster.settle()
        let plan = cluster.coordinator.plan
        // Round 1 is committed: nobody can be past round 3 without having seen this plan.
        #expect(plan?.activateAtRound == 3)
        #expect(plan?.members.map(\.state) == [.ready, .ready, .ready, .needsState])
        #expect(plan?.members[3].stateSource == Rank(2))
        #expect((0..<3).allSatisfy { !cluster.round($0).isFrozen })

        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 8 } else { false }
        }
        cluster.settle()
        #expect(cluster.coordinator.phase == .running)
        #expect(cluster.round(3).step == 7)
        #expect(cluster.node(3).trainer.live == cluster.node(2).trainer.live)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(3).finished == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    /// The plan that takes the joiner in is overtaken by one without the dead member.
    @Test func joinerSurvivesADeathBeforeItsBoundary() {
        var cluster = threeOfFour()
        cluster.launch(3)
        cluster.settle()
        cluster.kill(1)
        cluster.settle()
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 4))
        #expect(cluster.coordinator.plan?.members.map(\.name) == ["east-1", "west-1", "west-2"])
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(3).finished == .ok)
        #expect(Set([0, 2, 3].map { cluster.node($0).trainer.outer }).count == 1)
    }

    /// One region of four; three of them train, and stop where round 3 ends.
    private func joinerAtTheBoundary(
        holding hold: @escaping (TestCluster.Delivery) -> Bool
    ) -> TestCluster {
        var cluster = TestCluster(Fixtures.configuration(syncEvery: 2, steps: 12), sizes: [4])
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 3 } else { false }
        }
        cluster.advance(to: 70)
        cluster.launch(3)
        cluster.settle()
        cluster.holds = hold
        cluster.settle()
        return cluster
    }

    private func isPiece(_ delivery: TestCluster.Delivery, readAt seat: Int) -> Bool {
        guard delivery.channel == .trainer(WorkerID(seat)),
            case .order(.readState(let request, _)) = delivery.content
        else { return false }
        return request.count > 0
    }

    private func taken(_ cluster: TestCluster) -> [RunEvent.StateTaken] {
        cluster.node(3).events.compactMap {
            if case .stateTaken(let taken) = $0 { taken } else { nil }
        }
    }

    /// fp32 bytes of the five vectors of a state.
    private let wholeState = 5 * 4 * Fixtures.parameterCount

    /// Who comes into a replica begins with its live parameters, who is one of its own with the outer copy.
    @Test(arguments: RunConfiguration.Schedule.Inner.allCases, [false, true])
    func whatAJoinerBeginsWith(inner: RunConfiguration.Schedule.Inner, sharesGradients: Bool) throws
    {
        let configuration = Fixtures.configuration(
            outer: sharesGradients ? .everyStep : .diloco, inner: inner,
            syncEvery: sharesGradients ? 1 : 2, steps: 12)
        var cluster = TestCluster(configuration)
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 3 } else { false }
        }
        cluster.advance(to: 70)
        cluster.launch(3)
        cluster.holds = { if case .order(.takeOver) = $0.content { true } else { false } }
        cluster.settle()
        let handover = try #require(
            cluster.queue.compactMap { delivery -> TrainerOrder.Handover? in
                if case .order(.takeOver(let handover)) = delivery.content { handover } else { nil }
            }.first)
        let isOwn = inner == .none && !sharesGradients
        #expect(handover.beginsFromOuterCopy == isOwn)
        #expect(handover.items.contains { $0.item == .parameters } == !isOwn)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    /// What stands there may be about to be dropped, and would count if the coordinator heard it after GO.
    @Test func noOfferIsSaidFromABoundaryPlanToItsGo() {
        var cluster = TestCluster(
            Fixtures.configuration(outer: .decoupled, inner: .none, syncEvery: 1, steps: 12))
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 3 } else { false }
        }
        cluster.advance(to: 70)
        cluster.launch(3)
        cluster.settle()
        cluster.holds = {
            if case .control(.ready, _) = $0.content { true } else { false }
        }
        cluster.settle()
        #expect((0..<3).allSatisfy { cluster.round($0).isFrozen && cluster.round($0).offer != nil })
        // Longer than an offer waits before it is said again.
        cluster.advance(to: 75)
        let isSaid = cluster.queue.contains {
            if case .control(.offer, _) = $0.content { true } else { false }
        }
        #expect(!isSaid)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    @Test func stateComesFromEveryMemberOfTheRegion() throws {
        var cluster = joinerAtTheBoundary { _ in false }
        cluster.release()
        let taken = try #require(taken(cluster).first)
        #expect(taken.sources.map(\.worker) == [WorkerID(0), WorkerID(1), WorkerID(2)])
        #expect(taken.sources.allSatisfy { $0.bytes >= wholeState / 5 })
        #expect(taken.bytes == wholeState)
        #expect(taken.resumedBytes == 0)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
    }

    @Test func aSourceThatDiesCostsWhatItHadNotSent() throws {
        var cluster = joinerAtTheBoundary { isPiece($0, readAt: 1) }
        #expect(taken(cluster) == [])
        #expect(cluster.coordinator.plan?.planVersion == 2)
        cluster.kill(1)
        cluster.release()
        // The others stood at the boundary: the joiner stays in the plan, with what it has.
        let taken = try #require(taken(cluster).first)
        #expect(taken.round == 3)
        #expect(taken.bytes == wholeState)
        #expect(taken.resumedBytes > 0 && taken.resumedBytes < wholeState)
        #expect(!taken.sources.map(\.worker).contains(WorkerID(1)))
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set([0, 2, 3].map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func theReferenceMayDieToo() throws {
        var cluster = joinerAtTheBoundary { isPiece($0, readAt: 0) }
        let plan = try #require(cluster.coordinator.plan)
        #expect(plan.members[3].stateSource == Rank(0))
        cluster.kill(0)
        cluster.release()
        let taken = try #require(taken(cluster).first)
        #expect(taken.bytes == wholeState)
        #expect(taken.resumedBytes > 0)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
    }

    /// Seed 156: a holder's trainer answers a request of the epoch before.
    @Test func anAnswerThatAPlanHasOvertakenIsNotSent() throws {
        var cluster = joinerAtTheBoundary { isPiece($0, readAt: 1) }
        cluster.kill(0)
        cluster.settle()
        cluster.release()
        #expect(try #require(taken(cluster).first).bytes == wholeState)
        #expect(cluster.violations == [])
        #expect(cluster.coordinatorResult == .ok)
    }

    /// Seeds 165 and 255: a holder describes what it has when everything has come from the others.
    @Test func aDescriptionThatComesTooLateIsNobodysFault() {
        var cluster = joinerAtTheBoundary { delivery in
            guard case .order(.readState(let request, _)) = delivery.content else { return false }
            return delivery.channel == .trainer(WorkerID(2)) && request.count == 0
        }
        #expect(taken(cluster).first?.sources.map(\.worker) == [WorkerID(0), WorkerID(1)])
        cluster.release()
        #expect(cluster.violations == [])
        #expect(cluster.coordinatorResult == .ok)
    }

    /// Seed 393: LANE-HELLO came before the plan that names its sender, and so did the sender's death.
    @Test func anEarlierLifesGreetingIsForgotten() {
        var cluster = threeOfFour()
        let hello = LaneHello(peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(3))
        cluster.give(
            .lane(
                LaneID(peer: WorkerID(3), role: .acceptor),
                Worker.LaneFrame(
                    incarnation: Incarnation(rawValue: 1), epoch: .none, sequence: 0,
                    message: .laneHello(hello), payload: nil, payloadBytes: 0)),
            to: WorkerID(0))
        cluster.launch(3, incarnation: 2)
        cluster.release()
        #expect(cluster.violations == [])
        #expect(cluster.coordinatorResult == .ok)
    }

    @Test func restartedProcessReplacesItsFormerLife() {
        var cluster = TestCluster.started(Fixtures.configuration(syncEvery: 2, steps: 16)) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        cluster.queue.removeAll { $0.channel.involves(WorkerID(1)) }
        cluster.launch(1, incarnation: 2)
        cluster.settle()
        #expect(
            cluster.events.contains(
                .workerEvicted(
                    worker: WorkerID(1), name: "east-2", reason: "restarted under the same name")))
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(1).finished == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    // MARK: Resuming

    /// A trainer as it was saved: `round` outer rounds in common, then steps of its own.
    private func saved(round: UInt32, step: UInt32) -> TrainerModel {
        var trainer = TrainerModel(seat: WorkerID(0))
        for number in 0..<round {
            trainer.take(UInt64(number), .outerStep, step: 0, round: number + 1)
        }
        for next in (2 * round)..<step {
            trainer.take(UInt64(next), .optimiserStep, step: next + 1, round: 0)
        }
        return trainer
    }

    @Test func savedStatesOfUnlikeStepsResumeFromTheFurthest() {
        var cluster = TestCluster(Fixtures.configuration(syncEvery: 2, steps: 12))
        let states = [
            saved(round: 2, step: 5), saved(round: 2, step: 7), saved(round: 2, step: 6),
            saved(round: 1, step: 3),
        ]
        cluster.holds = {
            if case .order(.compute) = $0.content { true } else { false }
        }
        for seat in 0..<4 { cluster.launch(seat, saved: states[seat]) }
        cluster.settle()
        let plan = cluster.coordinator.plan
        #expect(plan?.fragments.first?.round == 3)
        #expect(plan?.members.map(\.state) == [.needsState, .ready, .ready, .needsState])
        #expect(plan?.members.map(\.stateSource) == [Rank(1), .none, .none, Rank(2)])
        #expect((0..<4).map { cluster.round($0).step } == [7, 7, 6, 6])
        #expect((0..<4).allSatisfy { cluster.round($0).round == 2 })
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    /// East has one more step than west before the same end and needs fewer rounds.
    @Test func replicaThatFinishesEarlierServesTheRoundsOfTheOther() {
        var cluster = TestCluster(Fixtures.configuration(syncEvery: 2, steps: 10))
        for seat in 0..<4 {
            cluster.launch(seat, saved: saved(round: 2, step: seat < 2 ? 8 : 5))
        }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect((0..<4).allSatisfy { cluster.round($0).step == 10 })
        // West: 7, 9, 10 after step 5.
        #expect(cluster.committedRound == 5)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    private func notes(_ cluster: TestCluster) -> [String] {
        cluster.events.compactMap {
            guard case .note("coordinator", let text) = $0, text.contains("no committed") else {
                return nil
            }
            return text
        }
    }

    private func weights(_ cluster: TestCluster) -> [UInt64] {
        cluster.events.compactMap {
            if case .roundCommitted(let key, _, _, let tokens) = $0, key.scope == .pool {
                tokens
            } else {
                nil
            }
        }
    }

    private func isMerged(_ cluster: TestCluster, _ seat: Int) -> Bool {
        cluster.node(seat).trainer.live == cluster.node(seat).trainer.outer
    }

    /// All steps were taken in an outage in which nothing could be merged: what they learnt is merged now.
    @Test(arguments: [RunConfiguration.Schedule.Outer.diloco, .decoupled])
    func whatWasTrainedInAnOutageIsMerged(outer: RunConfiguration.Schedule.Outer) {
        var cluster = TestCluster(Fixtures.configuration(outer: outer, syncEvery: 2, steps: 6))
        for seat in 0..<4 { cluster.launch(seat, saved: saved(round: 2, step: 6)) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect((0..<4).allSatisfy { isMerged(cluster, $0) })
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
        #expect(
            notes(cluster) == [
                "all 6 steps are taken, but what east-1, east-2, west-1, west-2 learnt in the last "
                    + "ones is in no committed round after 2: one more takes it in"
            ])
    }

    @Test(arguments: [RunConfiguration.Schedule.Outer.diloco, .decoupled])
    func whatWasMergedIsOver(outer: RunConfiguration.Schedule.Outer) {
        var cluster = TestCluster(Fixtures.configuration(outer: outer, syncEvery: 2, steps: 6))
        var over = saved(round: 3, step: 6)
        over.step = 6
        for seat in 0..<4 { cluster.launch(seat, saved: over) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 0)
        #expect(notes(cluster) == [])
    }

    /// One of east comes back with an older state and takes over its neighbour's; west has two steps left.
    /// East's rest counts as one round: 2 steps of 4 samples.
    @Test func whoTakesOverSuchAStateContributesToo() {
        var configuration = Fixtures.configuration(syncEvery: 2, steps: 6)
        configuration.model.context = 128
        var cluster = TestCluster(configuration)
        var west = saved(round: 2, step: 4)
        west.step = 4
        let states = [saved(round: 2, step: 6), saved(round: 1, step: 3), west, west]
        for seat in 0..<4 { cluster.launch(seat, saved: states[seat]) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect(weights(cluster) == [2 * (2 * 4 * 128)])
        #expect((0..<4).allSatisfy { isMerged(cluster, $0) })
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
        #expect(notes(cluster) == [])
    }

    /// The same where sets are closed: a replica counts only when all its members offer.
    @Test func whoTakesOverSuchAStateOffersToo() {
        var cluster = TestCluster(
            Fixtures.configuration(outer: .decoupled, syncEvery: 2, steps: 6))
        var west = saved(round: 2, step: 4)
        west.step = 4
        let states = [saved(round: 2, step: 6), saved(round: 1, step: 3), west, west]
        for seat in 0..<4 { cluster.launch(seat, saved: states[seat]) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect((0..<4).allSatisfy { isMerged(cluster, $0) })
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func newcomerWithoutStateTakesTheSavedOneOfItsRegion() {
        var cluster = TestCluster(Fixtures.configuration(syncEvery: 2, steps: 10))
        for seat in 0..<3 { cluster.launch(seat, saved: saved(round: 2, step: 5)) }
        cluster.launch(3)
        cluster.settle()
        #expect(cluster.coordinator.plan?.members[3].state == .needsState)
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }
}
