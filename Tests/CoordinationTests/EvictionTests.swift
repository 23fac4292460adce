import ClusterModel
import Coordination
import Testing
import WireProtocol

/// A member dies, falls silent or computes something else.
@Suite struct EvictionTests {
    private static let inner = CollectiveKey.inner(region: RegionID(0), step: 1)

    private static func isChunk(_ delivery: TestCluster.Delivery, _ kind: ChunkKind) -> Bool {
        if case .frame(let frame, _) = delivery.content, case .chunk(let chunk) = frame.message {
            chunk.kind == kind
        } else {
            false
        }
    }

    private static func isLane(_ delivery: TestCluster.Delivery, from seat: Int) -> Bool {
        if case .lane(let from, _, _, _) = delivery.channel {
            from == WorkerID(seat)
        } else {
            false
        }
    }

    @Test func deathInsideAnInnerCollectiveRestartsItWithTheSurvivors() {
        var cluster = TestCluster.started(sizes: [3, 2]) {
            Self.isLane($0, from: 2) && Self.isChunk($0, .contribution)
        }
        #expect(cluster.round(0).stage == .sharing(Self.inner))
        cluster.kill(2)
        cluster.release()

        #expect(
            cluster.events.contains(
                .workerEvicted(
                    worker: WorkerID(2), name: "east-3", reason: "its connection was reset")))
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 2))
        #expect(
            cluster.verdicts.contains(
                Verdict(key: Self.inner, verdict: .restart, holder: .none)))
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set([0, 1, 3, 4].map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func memberThatHoldsTheMeanCompletesItForTheOthers() {
        var cluster = TestCluster.started(sizes: [3, 2]) {
            // east-3 has contributed everywhere, but its own slice's mean never reaches east-2.
            $0.channel == .lane(from: WorkerID(2), to: WorkerID(1), role: .acceptor, index: 0)
                && Self.isChunk($0, .mean)
        }
        #expect(cluster.round(0).step == 1)
        #expect(cluster.round(1).stage == .sharing(Self.inner))
        cluster.kill(2)
        var pulls = 0
        cluster.holds = {
            if case .frame(let frame, _) = $0.content, case .pull = frame.message { pulls += 1 }
            return false
        }
        cluster.settle()

        #expect(
            cluster.verdicts.contains(
                Verdict(key: Self.inner, verdict: .complete, holder: Rank(0))))
        // 300,000 elements over three owners: two chunks.
        #expect(pulls == 2)
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set([0, 1, 3, 4].map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func deathInsideAnOuterCollectiveRestartsItWithTheSurvivors() {
        let outer = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
        var cluster = TestCluster.started {
            if case .frame(let frame, _) = $0.content, case .chunk(let chunk) = frame.message {
                chunk.key.scope == .pool && Self.isLane($0, from: 3)
            } else {
                false
            }
        }
        #expect(cluster.round(0).stage == .sharing(outer))
        cluster.kill(3)
        cluster.release()
        #expect(cluster.verdicts == [Verdict(key: outer, verdict: .restart, holder: .none)])
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    /// The trainer is inside its step while the plan changes; the exchange that follows the step waits
    /// for GO and is then started once.
    @Test func stepThatEndsBeforeGoStartsTheOuterExchangeOnce() {
        let steps: (TestCluster.Delivery) -> Bool = {
            if case .order(.absorb) = $0.content { true } else { false }
        }
        let go: (TestCluster.Delivery) -> Bool = {
            guard case .control(.go, _) = $0.content else { return false }
            return $0.channel == .toWorker(WorkerID(0))
        }
        var cluster = TestCluster.started(
            Fixtures.configuration(outer: .diloco, syncEvery: 1, steps: 3), holds: steps)
        cluster.kill(3)
        cluster.holds = { steps($0) || go($0) }
        cluster.settle()
        cluster.holds = go
        cluster.settle()
        #expect(cluster.round(0).isFrozen)
        #expect(
            cluster.round(0).stage
                == .readyToExchange(.outer(fragment: FragmentID(0), round: 1), weight: 512))
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
    }

    /// GO reaches one member late: means of the new attempt are there before it.
    @Test func meansBeforeGoCountForTheNewAttempt() {
        var cluster = TestCluster.started {
            if case .frame(let frame, _) = $0.content, case .chunk(let chunk) = frame.message {
                chunk.key.scope == .pool && Self.isLane($0, from: 3)
            } else {
                false
            }
        }
        cluster.kill(3)
        cluster.holds = {
            if case .control(.go, _) = $0.content {
                $0.channel == .toWorker(WorkerID(1))
            } else {
                false
            }
        }
        cluster.settle()
        #expect(cluster.round(1).isFrozen)
        #expect(!cluster.round(0).isFrozen)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func tooFewSurvivorsEndTheRunWithSavedStates() {
        var cluster = TestCluster.started(Fixtures.configuration(minimumWorkers: 4)) {
            Self.isChunk($0, .contribution)
        }
        cluster.kill(0)
        cluster.settle()
        #expect(cluster.coordinatorResult == .quorumLost)
        #expect((1..<4).allSatisfy { cluster.node($0).finished == .quorumLost })
    }

    // MARK: Silence

    private func trainingForever(
        _ deadlines: RunConfiguration.Deadlines = .standard
    ) -> TestCluster {
        var configuration = Fixtures.configuration(steps: 4)
        configuration.deadlines = deadlines
        return TestCluster.started(configuration) { Self.isChunk($0, .contribution) }
    }

    @Test func silenceOfTenSecondsIsReportedAndForgiven() {
        var cluster = trainingForever()
        cluster.stopped = [WorkerID(3)]
        cluster.holds = { _ in false }
        cluster.advance(to: 4.9)
        #expect(!cluster.waited(for: "west-2", by: cluster.events))
        // Everybody was last heard of at 1 s.
        cluster.advance(to: 6.1)
        #expect(cluster.waited(for: "west-2", by: cluster.events))
        #expect(cluster.waited(for: "west-2", by: cluster.node(2).events))
        cluster.advance(to: 11)
        cluster.stopped = []
        cluster.settle()
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(3).finished == .ok)
    }

    @Test func silenceOfFifteenSecondsEvicts() {
        var cluster = trainingForever()
        cluster.stopped = [WorkerID(3)]
        cluster.holds = { _ in false }
        cluster.advance(to: 15.4)
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        cluster.advance(to: 17)
        #expect(
            cluster.events.contains(
                .workerEvicted(worker: WorkerID(3), name: "west-2", reason: "silent for 15 s")))
        #expect(cluster.coordinatorResult == .ok)
        // When it wakes up it is told, and leaves with its state saved.
        cluster.stopped = []
        cluster.advance(to: 25)
        #expect(cluster.node(3).finished == .evicted)
    }

    private static func crossesWest(_ delivery: TestCluster.Delivery) -> Bool {
        let west = [WorkerID(2), WorkerID(3)]
        switch delivery.channel {
        case .toCoordinator(let worker), .toWorker(let worker): return west.contains(worker)
        case .lane(let from, let to, _, _): return west.contains(from) != west.contains(to)
        case .trainer, .reducer: return false
        }
    }

    /// A region that is silent as a whole has lost its link: 20 s of that cost nobody a place.
    @Test func outageOfARegionsLinkEvictsNobody() {
        var cluster = trainingForever()
        cluster.holds = Self.crossesWest
        cluster.advance(to: 21)
        #expect(cluster.waited(for: "west-1", by: cluster.events))
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        cluster.release()
        cluster.advance(to: 30)
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        #expect(cluster.coordinatorResult == .ok)
        #expect((0..<4).allSatisfy { cluster.node($0).finished == .ok })
        #expect(cluster.violations == [])
    }

    /// The shortest silence, and a patience that leaves no time to see that the region is silent as a whole.
    @Test(arguments: [Interval.seconds(1), .milliseconds(4_900)])
    func outageOfARegionsLinkEvictsNobodyWhateverThePatience(patience: Interval) {
        var deadlines = RunConfiguration.Deadlines.standard
        deadlines.silence = RunConfiguration.Deadlines.shortestSilence
        deadlines.patience = patience
        var cluster = trainingForever(deadlines)
        cluster.advance(to: 0.7)
        // West-2 is heard once more.
        cluster.holds = { Self.crossesWest($0) && $0.channel != .toCoordinator(WorkerID(3)) }
        cluster.advance(to: 1.2)
        cluster.holds = Self.crossesWest
        cluster.advance(to: 14)
        #expect(cluster.waited(for: "west-1", by: cluster.events))
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        cluster.advance(to: 18)
        #expect(
            cluster.events.contains(
                .workerEvicted(worker: WorkerID(2), name: "west-1", reason: "silent for 15 s")))
    }

    @Test func outageOfThreeTimesTheSilenceLimitEvictsTheRegion() {
        var cluster = trainingForever()
        cluster.holds = Self.crossesWest
        cluster.advance(to: 45.4)
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        cluster.advance(to: 47)
        #expect(
            cluster.events.contains(
                .workerEvicted(worker: WorkerID(2), name: "west-1", reason: "silent for 45 s")))
        #expect(cluster.coordinatorResult == .ok)
    }

    @Test func pauseOfTheWholeMachineEvictsNobody() {
        var cluster = trainingForever()
        cluster.now = .at(100)
        cluster.holds = { _ in false }
        cluster.advance(to: 104)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.coordinator.epoch == Epoch(rawValue: 1))
        #expect(
            !(0..<4).contains { seat in
                cluster.node(seat).events.contains {
                    if case .coordinatorLost = $0 { true } else { false }
                }
            })
    }

    // MARK: Digests

    @Test func deviatingDigestOfAMinorityIsEvicted() {
        var cluster = TestCluster.started {
            if case .order(.absorb(let order)) = $0.content {
                order.target == .outerStep
            } else {
                false
            }
        }
        cluster.nodes[WorkerID(3)]!.trainer.corruptsRound = 1
        cluster.release()
        #expect(cluster.node(3).finished == .digestMismatch)
        #expect(cluster.violations == ["west-2: digest of outer round 1 differs"])
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect((0..<3).allSatisfy { cluster.node($0).finished == .ok })
    }

    @Test func digestsWithoutAMajorityEndTheRun() {
        var cluster = TestCluster.started(sizes: [1, 1]) {
            if case .order(.absorb(let order)) = $0.content {
                order.target == .outerStep
            } else {
                false
            }
        }
        cluster.nodes[WorkerID(1)]!.trainer.corruptsRound = 1
        cluster.release()
        #expect(cluster.coordinatorResult == .digestMismatch)
        #expect((0..<2).allSatisfy { cluster.node($0).finished == .digestMismatch })
        #expect(cluster.committedRound == 0)
    }
}

extension TestCluster {
    func waited(for name: String, by events: [RunEvent]) -> Bool {
        events.contains {
            if case .waiting(_, _, let names, _, _, _) = $0 { names.contains(name) } else { false }
        }
    }
}
