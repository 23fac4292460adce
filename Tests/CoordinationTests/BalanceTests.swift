import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Micro-batches follow measured rates, and the samples of a step stay the same whoever draws them.
@Suite struct BalanceTests {
    /// East-1 is three times as fast as east-2; the two of the west are alike.
    private func cluster(
        adapts: Bool, launching seats: Range<Int> = 0..<4, steps: UInt32 = 40
    ) -> TestCluster {
        var configuration = Fixtures.configuration(syncEvery: 4, steps: steps)
        configuration.schedule.adapts = adapts
        var cluster = TestCluster(configuration)
        for seat in seats { launch(seat, of: &cluster) }
        return cluster
    }

    private func launch(_ seat: Int, of cluster: inout TestCluster) {
        cluster.launch(seat)
        cluster.nodes[WorkerID(seat)]!.trainer.secondsPerSample =
            .milliseconds(seat == 1 ? 90 : 30)
    }

    private func batches(_ cluster: TestCluster) -> [UInt32] {
        cluster.coordinator.plan?.members.map(\.microBatch) ?? []
    }

    private func reasons(_ cluster: TestCluster) -> [String] {
        cluster.events.compactMap {
            if case .epochStarted(_, _, let reason) = $0 { reason } else { nil }
        }
    }

    @Test func theFasterOneGetsMoreAndThenNothingChanges() {
        var cluster = cluster(adapts: true)
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(batches(cluster) == [3, 1, 2, 2])
        #expect(cluster.coordinator.plan?.members.map(\.sampleOffset) == [0, 3, 4, 6])
        #expect(cluster.coordinator.plan?.samplesPerStep == 8)
        // Known with the first round, in force two rounds later, once.
        #expect(cluster.coordinator.plan?.activateAtRound == 3)
        #expect(reasons(cluster).count == 2)
        #expect(
            reasons(cluster).last
                == "balance: east: 2 + 2 -> 3 + 1 sequences, measured 33.3, 11.1 per second, a step "
                + "180 ms -> 90 ms")
        #expect(cluster.violations == [])
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
        // Nobody drew more or less in all: the samples of a step are the same ones.
        #expect((0..<2).map { cluster.node($0).trainer.samples }.reduce(0, +) == 160)
        #expect(cluster.node(0).trainer.samples == 3 * 4 * 2 + 28 * 3)
    }

    @Test func neverMeansNever() {
        var cluster = cluster(adapts: false)
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(batches(cluster) == [2, 2, 2, 2])
        #expect(reasons(cluster).count == 1)
    }

    /// A death cannot wait, and nobody's samples move with it; at the next boundary the survivor takes
    /// what its mate would have drawn.
    @Test func survivorsTakeOverAtTheNextBoundary() {
        var cluster = cluster(adapts: true)
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 22 } else { false }
        }
        cluster.settle()
        cluster.kill(3)
        cluster.settle()
        #expect(cluster.coordinator.plan?.activateAtRound == 0)
        #expect(batches(cluster) == [3, 1, 2])
        #expect(cluster.coordinator.plan?.members.map(\.sampleOffset) == [0, 3, 4])
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(batches(cluster) == [3, 1, 4])
        #expect(reasons(cluster).last?.hasPrefix("balance: west: 2 -> 4 sequences") == true)
        // Round 6 was the first to be committed without it.
        #expect(cluster.coordinator.plan?.activateAtRound == 8)
        #expect(cluster.violations == [])
    }

    /// Three of four share what four would draw; the fourth gets its part with the plan it joins by.
    @Test func aLateJoinerGetsItsPart() {
        var cluster = cluster(adapts: true, launching: 0..<3)
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 14 } else { false }
        }
        cluster.advance(to: 70)
        #expect(batches(cluster) == [3, 1, 4])
        launch(3, of: &cluster)
        cluster.settle()
        #expect(batches(cluster) == [3, 1, 2, 2])
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(3).finished == .ok)
        #expect(cluster.violations == [])
    }
}
