import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Whole rounds, from HELLO to the last commit, with messages delivered by hand.
@Suite struct StartAndRoundTests {
    @Test func fourWorkersGatherLinkAndStart() {
        var cluster = TestCluster()
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.settle()
        #expect(cluster.coordinator.phase == .gathering)
        #expect(cluster.coordinator.plan == nil)
        #expect((0..<3).allSatisfy { cluster.node($0).machine.phase == .member })

        // The last seat is taken: a plan goes out, and GO only when every lane of it stands.
        cluster.holds = {
            $0.channel
                == .lane(from: WorkerID(3), to: WorkerID(0), role: .dialler, index: 0)
        }
        cluster.launch(3)
        cluster.settle()
        #expect(
            cluster.coordinator.phase
                == .reconfiguring(waitingFor: [WorkerID(0)], since: cluster.now))
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        #expect(
            cluster.coordinator.plan?.members.map(\.name) == [
                "east-1", "east-2", "west-1", "west-2",
            ])
        #expect((0..<4).allSatisfy { cluster.round($0).isFrozen })

        cluster.holds = {
            if case .trainer = $0.channel { true } else { false }
        }
        cluster.settle()
        #expect(cluster.coordinator.phase == .running)
        #expect((0..<4).allSatisfy { cluster.round($0).stage == .computing(step: 1) })
    }

    @Test func dilocoTrainsToTheEndWithOneDigestPerRound() {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 6))
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect((0..<4).allSatisfy { cluster.node($0).finished == .ok })
        #expect((0..<4).allSatisfy { cluster.round($0).step == 6 })
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
        cluster.settle()
        #expect(cluster.queue.isEmpty)
    }

    @Test func regionsTrainApartBetweenOuterRounds() {
        let cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 4, steps: 8)
        ) {
            // Step 3 is computed and no further.
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        let live = (0..<4).map { cluster.node($0).trainer.live }
        #expect(live[0] == live[1] && live[2] == live[3] && live[0] != live[2])
        #expect((0..<4).allSatisfy { cluster.round($0).step == 2 })
        #expect(cluster.committedRound == 0)
    }

    @Test func everyStepOuterScheduleMakesEveryStepARound() {
        let cluster = TestCluster.started(Fixtures.configuration(outer: .everyStep, steps: 5))
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 5)
        #expect(Set((0..<4).map { cluster.node($0).trainer.live }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func workersWithoutInnerScheduleAreReplicasOfTheirOwn() {
        let cluster = TestCluster.started(
            Fixtures.configuration(outer: .localSGD, inner: .none, syncEvery: 3, steps: 6))
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 2)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func shortLastIntervalStillEndsInARound() {
        let cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 4, steps: 6))
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 2)
        #expect((0..<4).allSatisfy { cluster.round($0).step == 6 })
    }

    @Test func commitSaysTheTokensOfBothRegions() {
        let cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 2, steps: 2))
        var tokens: [UInt64] = []
        for case .roundCommitted(_, _, let members, let count) in cluster.events {
            #expect(members == 4)
            tokens.append(count)
        }
        // Four workers, two steps, two samples of 128 tokens.
        #expect(tokens == [4 * 2 * 2 * 128])
    }

    /// Slices of 12 MB where a lane lets 8 MiB be under way.
    @Test func modelLargerThanTheLanesCreditTrains() {
        var cluster = TestCluster(Fixtures.configuration(steps: 2), parameterCount: 6_000_000)
        for seat in 0..<4 { cluster.launch(seat) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 1)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    /// The mean of a slice that does not need this worker's part may be there before this worker has
    /// finished its own step: it must count.
    @Test func meanThatOvertakesTheOwnStepIsKept() {
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 1, steps: 2)
        ) {
            if case .order(.absorb(let order)) = $0.content {
                $0.channel == .trainer(WorkerID(1)) && order.target == .optimiserStep
            } else {
                false
            }
        }
        #expect(cluster.round(0).stage == .sharing(.outer(fragment: FragmentID(0), round: 1)))
        cluster.holds = { _ in false }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 2)
        #expect(cluster.violations == [])
    }
}
