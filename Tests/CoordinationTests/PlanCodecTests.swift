import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Which transform crosses which link under a plan (decision 15).
@Suite struct PlanCodecTests {
    /// Ranks 0, 1 in region 0 and 2, 3 in region 1; int8 where nothing else is said.
    private func plan(_ codecs: [(Int, Int, TransformID)], worker: Int = 0) throws -> ActivePlan {
        var plan = Fixtures.plan()
        plan.codecs = codecs.map {
            PlanCodec(from: RegionID($0.0), to: RegionID($0.1), transform: $0.2)
        }
        return try #require(
            ActivePlan(
                epoch: Epoch(rawValue: 1), plan: plan,
                schedule: Fixtures.configuration().schedule, worker: WorkerID(worker)))
    }

    private let pool = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
    private let inner = CollectiveKey.inner(region: RegionID(0), step: 1)

    @Test func contributionsFollowTheirLinkAndMeansTheirOwner() throws {
        let plan = try plan([(0, 1, .int4), (1, 0, .bf16), (0, 0, .int4)])
        func transform(_ from: Int, _ to: Int) -> TransformID {
            plan.contributionTransform(of: pool, from: Rank(from), to: Rank(to))
        }
        #expect(transform(0, 2) == .int4)
        #expect(transform(2, 0) == .bf16)
        // Inside a region no link is crossed, whatever its means are encoded with.
        #expect(transform(0, 1) == .int8)
        #expect(transform(3, 2) == .int8)
        #expect(plan.meanTransform(of: pool) == .int4)
        #expect(plan.meanTransform(of: inner) == .fp32)
        #expect(plan.contributionTransform(of: inner, from: Rank(0), to: Rank(1)) == .fp32)
        let other = try self.plan([(0, 1, .int4), (0, 0, .int4)], worker: 3)
        #expect(other.meanTransform(of: pool) == .int8)
    }

    /// One order to encode for each transform, every chunk in one of them, and what is kept is kept once.
    @Test func aContributionIsEncodedByLink() throws {
        var configuration = Fixtures.configuration(syncEvery: 1)
        configuration.wire.choosesBetween = true
        var plan = Fixtures.plan(seats: [0, 2], configuration: configuration)
        plan.codecs = [PlanCodec(from: RegionID(0), to: RegionID(1), transform: .int4)]
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .at(1))
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .at(1))
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .at(2))
        var orders: [TrainerOrder.Encoding] = []
        func take(_ effects: [WorkerRound.Effect]) {
            for case .train(.encode(let order)) in effects where order.key.scope == .pool {
                orders.append(order)
            }
        }
        // Alone in its region: no exchange there.
        let inner = CollectiveKey.inner(region: RegionID(0), step: 1)
        take(
            round.handle(
                .absorbed(key: inner, target: .optimiserStep, digest: 0, experts: []), at: .at(3)))
        #expect(orders.map(\.transform).count == 2)
        #expect(Set(orders.map(\.transform)) == [.int8, .int4])
        let pool = try #require(round.plan).geometry(of: self.pool)
        for order in orders {
            for chunk in order.chunks {
                let isFar = pool.owner(ofSlice: chunk.slice) == Rank(1)
                #expect(order.transform == (isFar ? .int4 : .int8))
            }
        }
        let sent = Set(orders.flatMap(\.chunks).map { [$0.slice, $0.position] })
        let expected = pool.slicesSent(by: Rank(0)).reduce(0) {
            $0 + pool.positionCount(ofSlice: $1)
        }
        #expect(sent.count == expected)
    }
}
