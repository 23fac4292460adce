import ClusterModel
import Coordination
import Testing
import WireProtocol

/// What rounds wait for, and what happens when the coordinator says nothing any more.
@Suite struct CoordinatorLossTests {
    private static func isReport(_ delivery: TestCluster.Delivery, of seat: Int) -> Bool {
        if case .control(.report, _) = delivery.content {
            delivery.channel == .toCoordinator(WorkerID(seat))
        } else {
            false
        }
    }

    @Test func nobodyLeavesForTheNextRoundBeforeTheCommitIsKnown() {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 6)
        ) { Self.isReport($0, of: 3) }
        // Round 1 is applied everywhere and committed nowhere; step 4 is the next boundary.
        #expect(cluster.committedRound == 0)
        for seat in 0..<4 {
            #expect(cluster.round(seat).stage == .readyToShare(step: 4, tokens: 256))
            #expect(cluster.round(seat).round == 1)
        }
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
    }

    @Test func everyStepAbsorbsNoRoundBeforeTheOneBeforeIsCommitted() {
        var cluster = TestCluster.started(Fixtures.configuration(outer: .everyStep, steps: 3)) {
            Self.isReport($0, of: 3)
        }
        let second = CollectiveKey.outer(fragment: FragmentID(0), round: 2)
        for seat in 0..<4 {
            #expect(cluster.round(seat).stage == .awaitingCommit(second))
            #expect(cluster.round(seat).step == 1)
        }
        cluster.release()
        #expect(cluster.committedRound == 3)
    }

    /// One member of a replica has the commit, the other does not: they leave together or not at all.
    @Test func commitKnownToHalfAReplicaHoldsTheFragmentForBoth() {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 8)
        ) {
            if case .control(.commit, _) = $0.content {
                $0.channel == .toWorker(WorkerID(1))
            } else {
                false
            }
        }
        cluster.give(.controlDown, to: WorkerID(1))
        cluster.settle()
        // east-2 trains past the boundary of step 4 and takes east-1 along; the west waits for them.
        #expect(cluster.round(0).step == cluster.round(1).step)
        #expect(cluster.round(0).step > 4)
        #expect(cluster.round(0).round == 1)
        #expect(
            cluster.round(2).stage == .sharing(.outer(fragment: FragmentID(0), round: 2)))
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    private func clusterWithoutCoordinator() -> TestCluster {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 20)
        ) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        cluster.killCoordinator()
        cluster.release()
        return cluster
    }

    @Test func trainingGoesOnPastTheBoundaryWithoutACoordinator() {
        var cluster = clusterWithoutCoordinator()
        // Round 2 was agreed on before the loss; the boundary after it waits.
        #expect(cluster.round(0).stage == .readyToShare(step: 6, tokens: 256))
        cluster.advance(to: 7)
        for seat in 0..<4 {
            #expect(cluster.round(seat).step == 19)
            #expect(cluster.round(seat).round == 2)
            #expect(
                cluster.node(seat).events.contains(
                    .coordinatorLost(
                        worker: WorkerID(seat), since: .at(1), until: .at(61))))
        }
    }

    @Test func deadlineWithoutACoordinatorSavesAndLeavesWith69() {
        var cluster = clusterWithoutCoordinator()
        cluster.advance(to: 60.5)
        #expect((0..<4).allSatisfy { cluster.node($0).finished == nil })
        #expect(
            cluster.waits(of: 0).contains { $0.names == ["coordinator"] },
            "a wait is never silent")
        cluster.advance(to: 63)
        for seat in 0..<4 {
            #expect(cluster.node(seat).finished == .unavailable)
            #expect(cluster.node(seat).machine.phase == .left)
        }
    }

    @Test func returningCoordinatorEndsTheOutage() {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 20)
        ) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        // The connection is down for eight seconds: nothing arrives, nothing is lost.
        cluster.holds = {
            if case .toWorker = $0.channel { true } else { false }
        }
        cluster.advance(to: 9)
        #expect(cluster.round(0).step > 6)
        cluster.release()
        #expect(cluster.node(0).events.contains(.coordinatorReturned(worker: WorkerID(0))))
        cluster.advance(to: 20)
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }
}
