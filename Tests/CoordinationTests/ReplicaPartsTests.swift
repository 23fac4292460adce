import ClusterModel
import Coordination
import Testing
import WireProtocol

/// `inner: none`: every member is a replica, and what a region contributes to a round is reduced from its
/// members' parts before it crosses a link.
@Suite("Parts of replicas") struct ReplicaPartsTests {
    private static func configuration(
        _ outer: RunConfiguration.Schedule.Outer
    ) -> RunConfiguration {
        var configuration = Fixtures.configuration(
            outer: outer, inner: .none, syncEvery: outer == .everyStep ? 1 : 2, steps: 6)
        if outer == .streaming {
            configuration.schedule.fragments = 2
            configuration.schedule.overlap = 1
        }
        return configuration
    }

    private func started(_ configuration: RunConfiguration, seats: [Int] = [0, 1, 2, 3])
        -> WorkerRound
    {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        let plan = Fixtures.plan(seats: seats, configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    /// Steps until something leaves.
    private func leave(_ round: inout WorkerRound) -> [WorkerRound.Effect] {
        for step in UInt32(1)...6 {
            var effects = round.handle(.computed(step: step, loss: 1, tokens: 256), at: .zero)
            effects += round.handle(
                .absorbed(
                    key: .inner(region: RegionID(0), step: step), target: .optimiserStep,
                    digest: 0), at: .zero)
            if effects.encoding != nil { return effects }
        }
        return []
    }

    @Test("a fragment leaves as parts of its own round")
    func leaves() throws {
        var round = started(Self.configuration(.streaming))
        let effects = leave(&round)
        let order = try #require(effects.encoding)
        let key = try #require(round.flightKeys.first)
        let parts = CollectiveKey.parts(of: key, region: RegionID(0))
        #expect(order.key == parts && order.round == key)
        #expect(parts.fragment == key.fragment && parts.roundOfParts == key)
        #expect(order.source == .keptOuterGradient && order.transform == .fp32)
        #expect(effects.contains(.openShard(key)) && effects.contains(.openShard(parts)))
        #expect(round.accepts(parts) && round.accepts(key))
        var later = parts
        later.round = 9
        #expect(!round.accepts(later))
        #expect(round.holdings.map(\.key) == [key], "parts have no verdict")
        let sent = round.handle(
            .encoded(
                key: parts, epoch: Epoch(rawValue: 1), slice: 3, position: 0,
                payload: Fixtures.payload(1, elements: 9_464)), at: .zero)
        guard case .contribute(let to, parts, 3, 0, group: 0, _, weight: let weight, _) = sent.first
        else {
            Issue.record("\(sent)")
            return
        }
        // West owns slice 3; east-2 sends for the region.
        #expect(to == Rank(1) && weight > 0)
    }

    @Test("replicas of one region, and where sets are closed, contribute by themselves")
    func alone() throws {
        var round = started(Self.configuration(.diloco), seats: [0, 1])
        let order = try #require(leave(&round).encoding)
        #expect(order.key == order.round && order.transform == .int8)
        let plan = try #require(round.plan)
        #expect(!plan.reducesParts && plan.contributingGroups == [[Rank(0)], [Rank(1)]])

        let closed = started(Fixtures.configuration(outer: .decoupled, inner: .none))
        #expect(closed.plan?.reducesParts == false)
        #expect(closed.plan?.contributingGroups.count == 4)
    }

    @Test("who has taken all steps is called by a part", arguments: [0, 1])
    func called(fragment: Int) throws {
        var round = started(Self.configuration(.streaming))
        let key = CollectiveKey.parts(
            of: .outer(fragment: FragmentID(fragment), round: 1), region: RegionID(0))
        _ = round.handle(.arrival(key: key), at: .zero)
        #expect(round.accepts(key))
        var other = key
        other.region = RegionID(1)
        #expect(!round.accepts(other), "of another region")
    }

    @Test(
        "every byte crosses once",
        arguments: [
            RunConfiguration.Schedule.Outer.everyStep, .localSGD, .diloco, .streaming, .decoupled,
        ], [[2, 2], [3, 2], [1, 2], [1, 1], [3]])
    func bytes(outer: RunConfiguration.Schedule.Outer, sizes: [Int]) {
        var counts: [String: Int] = [:]
        var seen: Set<String> = []
        var cluster = TestCluster(Self.configuration(outer), sizes: sizes)
        cluster.holds = { delivery in
            guard let chunk = delivery.chunk, chunk.key.round == 1 else { return false }
            let what = "\(chunk.key.scope) \(chunk.kind)"
            let id = "\(what) \(delivery.channel) \(chunk.key) \(chunk.slice) \(chunk.position)"
            if seen.insert(id).inserted { counts[what, default: 0] += Int(chunk.elements) }
            return false
        }
        for seat in Fixtures.topology(sizes).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set(cluster.nodes.values.map { $0.trainer.outer }).count == 1)
        let (all, regions) = (sizes.reduce(0, +), sizes.count)
        let whole = Int(Fixtures.parameterCount)
        let reducesParts = outer != .decoupled && regions > 1
        #expect(counts["region mean"] == nil)
        #expect(
            counts["region contribution"] ?? 0 == (reducesParts ? (all - regions) * whole : 0))
        #expect(
            counts["pool contribution"] ?? 0
                == ((reducesParts ? regions : all) - 1) * whole)
        #expect(counts["pool mean"] == (all - 1) * whole)
        for node in cluster.nodes.values { #expect(node.machine.round.flightKeys == []) }
    }

    /// Of seat 3's death, with what it had not sent yet.
    @Test(
        "a death at any point leaves one mean",
        arguments: [RunConfiguration.Schedule.Outer.diloco, .streaming],
        ["parts", "contributions", "own mean"])
    func death(outer: RunConfiguration.Schedule.Outer, lost: String) {
        let dies = 3
        var cluster = TestCluster.started(Self.configuration(outer)) { delivery in
            guard let chunk = delivery.chunk, chunk.key.round == 1 else { return false }
            let isOwn = delivery.sender == WorkerID(dies)
            return switch lost {
            case "parts": isOwn && chunk.key.scope == .region
            case "contributions": isOwn && chunk.key.scope == .pool && chunk.kind == .contribution
            default: isOwn && chunk.kind == .mean
            }
        }
        guard case .sharing = cluster.round(0).stage else {
            Issue.record("\(cluster.round(0).stage)")
            return
        }
        cluster.kill(dies)
        cluster.release()
        #expect(!cluster.verdicts.isEmpty)
        #expect(cluster.verdicts.allSatisfy { $0.verdict == .restart })
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }
}
