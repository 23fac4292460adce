import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Members that cannot be dialled, and pairs that cannot reach each other.
@Suite struct DetourTests {
    /// Names of each detour of the plan in force: one, the other, who passes on.
    private func detours(_ cluster: TestCluster) -> [[String]] {
        guard let plan = cluster.coordinator.plan else { return [] }
        return plan.detours.map { detour in
            [detour.a, detour.b, detour.relay].map { plan.members[$0.index].name }
        }
    }

    private func agrees(_ cluster: TestCluster, _ seats: [Int]) -> Bool {
        Set(seats.map { cluster.node($0).trainer.outer }).count == 1
    }

    /// No transport comes up for what `dialler` dials to `acceptor`.
    private func isDial(_ delivery: TestCluster.Delivery, _ dialler: Int, _ acceptor: Int) -> Bool {
        guard case .transportUp = delivery.content else { return false }
        return delivery.channel
            == .lane(from: WorkerID(acceptor), to: WorkerID(dialler), role: .dialler, index: 0)
    }

    private func notes(_ cluster: TestCluster) -> [String] {
        cluster.events.compactMap {
            if case .note("coordinator", let text) = $0 { text } else { nil }
        }
    }

    private func evictions(_ cluster: TestCluster) -> [String] {
        cluster.events.compactMap {
            guard case .workerEvicted(_, let name, let reason) = $0 else { return nil }
            return "\(name): \(reason)"
        }
    }

    // MARK: Dialling out

    @Test(arguments: [0, 1, 3])
    func whoCannotBeDialledIsAnsweredOnItsOwnLanes(seat: Int) {
        var cluster = TestCluster.started(hidden: [seat]) { isDial($0, 2, seat) }
        #expect(detours(cluster) == [])
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func readyWaitsForTheLaneOfWhoCannotBeDialled() {
        let cluster = TestCluster.started(hidden: [3]) { isDial($0, 3, 0) }
        guard case .reconfiguring(let awaited, _) = cluster.coordinator.phase else {
            Issue.record("\(cluster.coordinator.phase)")
            return
        }
        #expect(awaited == [WorkerID(0), WorkerID(3)])
    }

    @Test func twoWhoOnlyDialOutReachEachOtherOverAThird() {
        let cluster = TestCluster.started(hidden: [1, 3])
        #expect(detours(cluster) == [["east-2", "west-2", "east-1"]])
        #expect(
            notes(cluster) == [
                "east-2 and west-2 have no lane to each other: east-1 passes on between them"
            ])
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func everyPairMayBeRelayed() {
        let cluster = TestCluster.started(hidden: [0, 1, 3])
        #expect(
            detours(cluster) == [
                ["east-1", "east-2", "west-1"], ["east-1", "west-2", "west-1"],
                ["east-2", "west-2", "west-1"],
            ])
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    /// The relay is in no hurry: credit of the two ends holds them back, and nothing is lost.
    @Test func whatARelayHoldsBackArrivesLater() {
        var cluster = TestCluster.started(hidden: [1, 3]) { delivery in
            if case .frame(let frame, _) = delivery.content {
                frame.message.type == .relay && delivery.channel.receiver == WorkerID(0)
            } else {
                false
            }
        }
        #expect(cluster.committedRound == 0)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func aLaneToTheRelayThatBreaksLosesNothing() {
        var cluster = TestCluster.started(hidden: [1, 3]) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        cluster.breakLane(dialler: 1, acceptor: 0)
        cluster.breakLane(dialler: 3, acceptor: 0)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func aRelayThatDiesIsReplaced() {
        var cluster = TestCluster.started(hidden: [1, 3]) {
            if case .frame(let frame, _) = $0.content, case .relay(let relay) = frame.message,
                case .chunk(let chunk) = relay.inner
            {
                chunk.key.scope == .pool && chunk.key.round == 2
            } else {
                false
            }
        }
        #expect(cluster.committedRound == 1)
        cluster.kill(0)
        cluster.release()
        #expect(detours(cluster) == [["east-2", "west-2", "west-1"]])
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func aJoinerTakesOverAStateOverADetour() {
        var cluster = TestCluster(
            Fixtures.configuration(syncEvery: 2, steps: 12), sizes: [2, 1])
        cluster.hidden = [1, 2]
        // Its region has nobody else: the state comes from both, from one of them over a detour.
        for seat in [0, 1] { cluster.launch(seat) }
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 3 } else { false }
        }
        cluster.advance(to: 70)
        cluster.launch(2)
        cluster.release()
        let sources = cluster.node(2).events.compactMap {
            if case .stateTaken(let taken) = $0 { Set(taken.sources.map(\.worker)) } else { nil }
        }
        #expect(sources == [[WorkerID(0), WorkerID(1)]])
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 2]))
        #expect(cluster.violations == [])
    }

    @Test func whereNobodyCanBeDialledTheRunSaysSo() {
        let cluster = TestCluster.started(sizes: [1, 1], hidden: [0, 1])
        let reasons = cluster.sent.compactMap {
            if case .stop(let stop) = $0.message { stop.reason } else { nil }
        }
        #expect(cluster.coordinatorResult == .configuration)
        #expect(reasons.first?.hasPrefix("none of 2 workers can be dialled") == true)
        #expect(cluster.node(0).finished == .configuration)
    }

    @Test func oneAloneNeedsNobody() {
        let cluster = TestCluster.started(sizes: [1], hidden: [0])
        #expect(cluster.coordinatorResult == .ok)
    }

    // MARK: Pairs that cannot reach each other

    @Test func aLaneThatDoesNotOpenIsReplacedByThePeersOwn() {
        var cluster = TestCluster.started { isDial($0, 0, 2) }
        cluster.advance(to: 19)
        #expect(cluster.committedRound == 0)
        cluster.advance(to: 24)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.coordinator.plan?.planVersion == 1)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    /// With a patience shorter than a heartbeat as well: nobody is silent between two.
    @Test(arguments: [Interval.milliseconds(100), .seconds(5)])
    func aPairWithoutALaneGetsADetour(patience: Interval) {
        var configuration = Fixtures.configuration()
        configuration.deadlines.patience = patience
        var cluster = TestCluster.started(configuration) {
            isDial($0, 0, 2) || isDial($0, 2, 0)
        }
        cluster.advance(to: 19)
        #expect(cluster.coordinator.plan?.planVersion == 1)
        cluster.advance(to: 25)
        #expect(cluster.coordinator.plan?.planVersion == 2)
        #expect(detours(cluster) == [["east-1", "west-1", "east-2"]])
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.events.allSatisfy { if case .workerEvicted = $0 { false } else { true } })
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    /// A relay that one of the two cannot reach either is tried once.
    @Test func aDetourThatDoesNotOpenIsReplaced() {
        var cluster = TestCluster.started(hidden: [1, 3]) { delivery in
            if case .frame(let frame, _) = delivery.content {
                frame.message.type == .relay && delivery.channel.receiver == WorkerID(0)
            } else {
                false
            }
        }
        cluster.advance(to: 25)
        #expect(detours(cluster) == [["east-2", "west-2", "west-1"]])
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 2, 3]))
        #expect(cluster.violations == [])
    }

    @Test func withoutADetourTheOneThatLacksMoreLanesGoes() {
        // Nobody reaches west-1, and it reaches nobody.
        var cluster = TestCluster.started { delivery in
            [0, 1, 3].contains { isDial(delivery, $0, 2) || isDial(delivery, 2, $0) }
        }
        cluster.advance(to: 30)
        #expect(cluster.coordinator.plan?.members.map(\.name) == ["east-1", "east-2", "west-2"])
        let reasons = evictions(cluster)
        #expect(reasons.count == 1)
        #expect(reasons.first?.hasPrefix("west-1: no lane to east-1 opens") == true)
        #expect(cluster.node(2).finished == .evicted)
        #expect(cluster.coordinatorResult == .ok)
        #expect(agrees(cluster, [0, 1, 3]))
    }

    @Test func ofTwoTheHigherRankGoes() {
        var cluster = TestCluster.started(sizes: [1, 1]) { isDial($0, 0, 1) || isDial($0, 1, 0) }
        cluster.advance(to: 30)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.node(0).finished == .ok)
        #expect(cluster.node(1).finished == .evicted)
    }

    /// A lane to a process that stands still does not open either; its silence is what counts.
    @Test func whoIsSilentIsNotUnreachable() {
        var cluster = TestCluster.started { isDial($0, 0, 2) || isDial($0, 2, 0) }
        cluster.stopped = [WorkerID(2)]
        cluster.advance(to: 30)
        let reasons = evictions(cluster)
        #expect(reasons == ["west-1: silent for 15 s"])
        #expect(detours(cluster) == [])
    }

    @Test func aRelayNobodyAskedForIsRefused() {
        var cluster = TestCluster.started {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        let relay = Relay(
            origin: WorkerID(1), destination: WorkerID(2), epoch: Epoch(rawValue: 1), sequence: 1,
            inner: .pull(
                Pull(
                    key: .outer(fragment: FragmentID(0), round: 1), kind: .mean, slice: 0,
                    position: 0)))
        let frame = Worker.LaneFrame(
            incarnation: Incarnation(rawValue: 1), epoch: cluster.coordinator.epoch,
            sequence: cluster.lastSequence(from: 1, to: 0) + 1, message: .relay(relay),
            payload: nil, payloadBytes: 0)
        cluster.give(.lane(LaneID(peer: WorkerID(1), role: .acceptor), frame), to: WorkerID(0))
        #expect(cluster.violations.count == 1)
        #expect(cluster.violations.first?.contains("no detour of the plan") == true)
    }
}
