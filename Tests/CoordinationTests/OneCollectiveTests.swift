import ClusterModel
import Coordination
import Testing
import WireProtocol

/// `inner: every-step` with `outer: every-step`: one all-reduce of all members, in which regions reduce on
/// the way and have no means of their own.
@Suite struct OneCollectiveTests {
    private static let round = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
    private static let configuration = Fixtures.configuration(outer: .everyStep, syncEvery: 1)

    private static func parts(_ region: Int) -> CollectiveKey {
        .inner(region: RegionID(region), step: 1)
    }

    // MARK: Geometry

    @Test func `each region reduces each slice once, its members equally many`() {
        for sizes in [[2, 2], [3, 2], [1, 4, 2]] {
            var groups: [[Rank]] = []
            for size in sizes {
                let first = groups.reduce(0) { $0 + $1.count }
                groups.append((first..<first + size).map { Rank($0) })
            }
            let pool = CollectiveGeometry(
                epoch: Epoch(rawValue: 1), participants: groups.flatMap(\.self), groups: groups,
                elements: 1_000_003)
            for (group, members) in groups.enumerated() {
                let parts = pool.parts(ofGroup: group)
                #expect(parts.groups == members.map { [$0] })
                #expect(parts.totalPositions == pool.totalPositions)
                for slice in 0..<pool.sliceCount {
                    #expect(parts.range(ofSlice: slice) == pool.range(ofSlice: slice))
                    #expect(parts.owner(ofSlice: slice) == pool.sender(group: group, slice: slice))
                }
                for member in members {
                    // Everybody has a part of everything.
                    #expect(parts.slicesSent(by: member) == Array(0..<pool.sliceCount))
                    #expect(parts.slices(ownedBy: member) == pool.slicesSent(by: member))
                }
                let shares = members.map { parts.slices(ownedBy: $0).count }
                #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= sizes.count)
            }
        }
    }

    // MARK: One worker

    private func started(_ plan: Plan, worker: Int = 0) -> WorkerRound {
        var round = WorkerRound(
            worker: WorkerID(worker), region: RegionID(worker / 2),
            configuration: Self.configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    @Test func `the gradient leaves at once, as parts of the region's contribution`() throws {
        var round = started(Fixtures.plan(configuration: Self.configuration))
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        #expect(round.stage == .sharing(Self.round))
        #expect(effects.contains(.openShard(Self.round)))
        #expect(effects.contains(.openShard(Self.parts(0))))
        let order = try #require(effects.encoding)
        #expect(order.key == Self.parts(0) && order.round == Self.round)
        #expect(order.source == .gradient && order.transform == .fp32)
        let ranges = order.chunks.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
        #expect(ranges.first?.lowerBound == 0)
        #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
        #expect(ranges.last?.upperBound == Fixtures.parameterCount)
        #expect(
            round.holdings == [Holding(key: Self.round, state: .inFlight)],
            "a region's parts have no verdict")
        // A chunk goes to whoever reduces it in this region, with this member's own weight.
        let sent = round.handle(
            .encoded(
                key: Self.parts(0), epoch: Epoch(rawValue: 1), slice: 3, position: 1,
                payload: Fixtures.payload(1, elements: 9_464)), at: .zero)
        #expect(
            sent == [
                .contribute(
                    to: Rank(1), key: Self.parts(0), slice: 3, position: 1, group: 0,
                    payload: Fixtures.payload(1, elements: 9_464), weight: 256, mayLeave: false)
            ])
    }

    @Test func `to each member all send in one order`() throws {
        let plan = Fixtures.plan(configuration: Self.configuration)
        var orders: [[[Int]]] = []
        for worker in 0..<2 {
            var round = started(plan, worker: worker)
            let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
            let chunks = try #require(effects.encoding).chunks
            // Slices 0 and 2 are reduced by rank 0, 1 and 3 by rank 1.
            orders.append(
                (0..<2).map { owner in
                    chunks.filter { $0.slice % 2 == owner }.map { 10 * $0.position + $0.slice }
                })
            #expect(chunks.first.map { $0.slice % 2 } == 1 - worker, "not everybody to one first")
        }
        #expect(orders[0] == orders[1])
        #expect(orders[0] == [[0, 2, 10, 12], [1, 3, 11, 13]])
    }

    @Test func `a region of one contributes what it has`() throws {
        var round = started(
            Fixtures.plan(seats: [0, 2, 3], configuration: Self.configuration))
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        let order = try #require(effects.encoding)
        #expect(order.key == Self.round && order.transform == .int8)
        #expect(!effects.contains(.openShard(Self.parts(0))))
    }

    @Test func `alone, reduced parts are the mean, which has its place at once`() throws {
        let plan = Fixtures.plan(seats: [0, 1], configuration: Self.configuration)
        var round = started(plan)
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        let mean = WorkerRound.Mean(
            key: Self.round, slice: 0, position: 0,
            payload: Fixtures.payload(7, elements: 65_536), weight: 512, mayLeave: false)
        _ = round.handle(.mean(mean), at: .zero)
        let placed = round.placement(
            ofMean: mean.payload.handle, of: Self.parts(0), slice: 0, position: 0)
        #expect(placed?.key == Self.round)
        #expect(placed?.elements == 0..<65_536)
        #expect(
            round.placement(
                ofMean: PayloadHandle(rawValue: 8), of: Self.parts(0), slice: 0, position: 0) == nil
        )
    }

    @Test func `a mean of a region is refused, whatever its round`() {
        var round = started(Fixtures.plan(configuration: Self.configuration))
        for number in UInt32(0)...2 {
            let key = CollectiveKey.inner(region: RegionID(0), step: number)
            let payload = Fixtures.payload(UInt64(number + 1), elements: 65_536)
            let effects = round.handle(
                .mean(
                    WorkerRound.Mean(
                        key: key, slice: 0, position: 0, payload: payload, weight: 1,
                        mayLeave: true)), at: .zero)
            guard effects.count == 2, case .violation = effects[1] else {
                Issue.record("round \(number): \(effects)")
                continue
            }
            #expect(effects[0] == .release(payload.handle))
        }
    }

    @Test func `a mean of no slice or no position is let go`() {
        var round = started(Fixtures.plan(configuration: Self.configuration))
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        for (slice, position) in [(4, 0), (65_535, 0), (0, 9_999)] {
            let payload = Fixtures.payload(9, elements: 65_536)
            let effects = round.handle(
                .mean(
                    WorkerRound.Mean(
                        key: Self.round, slice: slice, position: position, payload: payload,
                        weight: 1, mayLeave: true)), at: .zero)
            #expect(effects == [.release(payload.handle)], "slice \(slice), position \(position)")
            #expect(round.stage == .sharing(Self.round))
        }
    }

    @Test func `a restart contributes the same under the new plan`() throws {
        var round = started(Fixtures.plan(configuration: Self.configuration))
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        let plan = Fixtures.plan(
            version: 2, seats: [0, 1, 2], configuration: Self.configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: Self.round, verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        let order = try #require(effects.encoding)
        #expect(order.key == Self.parts(0) && order.epoch == Epoch(rawValue: 2))
        #expect(Set(order.chunks.map(\.slice)).count == 3)
        #expect(round.stage == .sharing(Self.round))
    }

    @Test func `spread experts' gradients are computed again, not contributed again`() {
        var configuration = Self.configuration
        configuration.model.experts = .init(count: 4, width: 8, spread: .region)
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        let plans = [[0, 1, 2, 3], [0, 1, 2]].enumerated().map { version, seats in
            Fixtures.plan(
                version: UInt32(version + 1), seats: seats, elements: 400,
                configuration: configuration)
        }
        _ = round.handle(.plan(plans[0], epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        #expect(round.stage == .sharing(Self.round))
        _ = round.handle(.plan(plans[1], epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: Self.round, verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(effects.encoding == nil && round.stage == .computing(step: 1))
        #expect(round.holdings == [])
        let again = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        #expect(again.encoding?.epoch == Epoch(rawValue: 2))
        #expect(round.stage == .sharing(Self.round))
    }

    // MARK: A cluster

    @Test(arguments: [[2, 2], [3, 2], [1, 2], [1, 1], [3], [2, 1, 3]])
    func `regions have no means, every byte crosses once`(sizes: [Int]) {
        var counts: [String: Int] = [:]
        var seen: Set<String> = []
        var cluster = TestCluster(Self.configuration, sizes: sizes)
        cluster.holds = { delivery in
            guard let chunk = delivery.chunk, chunk.key.round == 1 else { return false }
            let what = "\(chunk.key.scope) \(chunk.kind)"
            let place = "\(chunk.key.region.rawValue) \(chunk.slice) \(chunk.position)"
            let id = "\(what) \(delivery.channel) \(place)"
            if seen.insert(id).inserted { counts[what, default: 0] += Int(chunk.elements) }
            return false
        }
        for seat in Fixtures.topology(sizes).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(
            Set(cluster.nodes.values.map { $0.trainer.outer }).count == 1)
        let (all, regions) = (sizes.reduce(0, +), sizes.count)
        let whole = Int(Fixtures.parameterCount)
        #expect(counts["region mean"] == nil)
        #expect(counts["region contribution"] ?? 0 == (all - regions) * whole)
        #expect(counts["pool contribution"] ?? 0 == (regions - 1) * whole)
        #expect(counts["pool mean"] == (all - 1) * whole)
        for node in cluster.nodes.values { #expect(node.machine.round.flightKeys == []) }
    }

    /// Of seat 3's death, with what it had not sent yet.
    @Test(arguments: ["parts", "contributions", "own mean", "all means"])
    func `a death at any point leaves one mean`(lost: String) {
        let dies = 3
        var cluster = TestCluster.started(Self.configuration) { delivery in
            guard let chunk = delivery.chunk, chunk.key.round == 1 else { return false }
            let isOwn = delivery.sender == WorkerID(dies)
            return switch lost {
            case "parts": isOwn && chunk.key.scope == .region
            case "contributions": isOwn && chunk.key.scope == .pool && chunk.kind == .contribution
            case "own mean": isOwn && chunk.kind == .mean
            default: chunk.kind == .mean
            }
        }
        #expect(cluster.round(0).stage == .sharing(Self.round))
        cluster.kill(dies)
        cluster.release()
        #expect(
            cluster.verdicts == [Verdict(key: Self.round, verdict: .restart, holder: .none)])
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func `who holds the mean gives it to the others`() {
        var cluster = TestCluster.started(Self.configuration) { delivery in
            guard let chunk = delivery.chunk, chunk.kind == .mean else { return false }
            // West-2 has contributed everywhere; what it owns never reaches west-1.
            return delivery.channel
                == .lane(from: WorkerID(3), to: WorkerID(2), role: .acceptor, index: 0)
        }
        #expect(cluster.round(0).step == 1)
        #expect(cluster.round(2).stage == .sharing(Self.round))
        cluster.kill(3)
        cluster.release()
        #expect(
            cluster.verdicts.contains(
                Verdict(key: Self.round, verdict: .complete, holder: Rank(0))))
        #expect(cluster.coordinatorResult == .ok)
        #expect(Set((0..<3).map { cluster.node($0).trainer.outer }).count == 1)
        #expect(cluster.violations == [])
    }

    @Test func `who is late is named, in the own region and in others`() {
        var cluster = TestCluster.started(Self.configuration) {
            guard case .order(.compute(step: 1, _)) = $0.content else { return false }
            return $0.channel == .trainer(WorkerID(1))
        }
        cluster.advance(to: 9)
        #expect(cluster.waits(of: 0).last?.names == ["east-2"])
        // It cannot know which member of the other region is late, but who sends for it.
        let names = cluster.waits(of: 2).last?.names ?? []
        #expect(!names.isEmpty && names.allSatisfy { $0.hasPrefix("east") })
        #expect(cluster.waits(of: 0).last?.activity == "outer round 1")
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
    }

    @Test func `waiting ends when everybody has begun to send`() throws {
        var round = started(Fixtures.plan(configuration: Self.configuration))
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        let plan = try #require(round.plan)
        var shards = ShardReduction()
        for key in [Self.round, Self.parts(0)] {
            shards.open(key, geometry: plan.geometry(of: key), rank: Rank(0))
        }
        #expect(round.idleKind(shards: shards) == .wait)
        for (key, slice, group) in [(Self.parts(0), 2, 1), (Self.round, 0, 1)] {
            #expect(round.idleKind(shards: shards) == .wait)
            _ = shards.handle(
                .contribution(
                    ShardReduction.Contribution(
                        key: key, slice: slice, position: 0, group: group,
                        handle: PayloadHandle(rawValue: UInt64(slice + 1)), weight: 1,
                        mayLeave: true)))
        }
        #expect(round.idleKind(shards: shards) == .transfer)
    }
}
