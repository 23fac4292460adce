import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Experts that their holders keep from round to round (Protocols/longhaul-1.md, section 7.12).
@Suite struct KeptExpertTests {
    /// One layer of 300,000 elements: 60,000 of nobody, then four experts of 60,000. Two regions of two.
    private static let configuration: RunConfiguration = {
        var configuration = Fixtures.configuration(outer: .diloco, syncEvery: 1, steps: 4)
        configuration.model.layers = 1
        configuration.model.experts = .init(count: 4, width: 8, spread: .region, keep: .holder)
        return configuration
    }()
    private static let inner = CollectiveKey.inner(region: RegionID(0), step: 1)
    private static let outer = CollectiveKey.outer(fragment: FragmentID(0), round: 1)

    private func plan(version: UInt32 = 1, seats: [Int] = [0, 1, 2, 3]) -> Plan {
        var plan = Fixtures.plan(
            version: version, seats: seats, configuration: Self.configuration)
        plan.experts = Self.configuration.plannedExperts(elements: Fixtures.parameterCount)
        return plan
    }

    /// Of a member, under the first plan.
    private func started(_ worker: Int, holders: [UInt16]?) -> WorkerRound {
        var round = WorkerRound(
            worker: WorkerID(worker), region: RegionID(worker / 2),
            configuration: Self.configuration)
        _ = round.handle(.plan(plan(), epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        if let holders {
            _ = round.handle(.placed(holders: holders, epoch: Epoch(rawValue: 1)), at: .zero)
        }
        return round
    }

    /// What is encoded for a collective, in order.
    private func encoded(
        _ effects: [WorkerRound.Effect], for key: CollectiveKey
    ) -> TrainerOrder.Encoding? {
        for case .train(.encode(let order)) in effects where order.key == key { return order }
        return nil
    }

    /// The same, ranges joined, in the vector's order.
    private func ranges(_ chunks: [TrainerOrder.Chunk]) -> [Range<UInt64>] {
        chunks.map(\.range).sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) {
            if $0.last?.upperBound == $1.lowerBound {
                $0[$0.count - 1] = $0[$0.count - 1].lowerBound..<$1.upperBound
            } else {
                $0.append($1)
            }
        }
    }

    /// Step 1 computed, its mean there and applied: the round leaves.
    private func departing(_ round: inout WorkerRound) -> [WorkerRound.Effect] {
        _ = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        for slice in 0..<2 {
            let mean = WorkerRound.Mean(
                key: Self.inner, slice: slice, position: 0,
                payload: Fixtures.payload(UInt64(slice) + 1, elements: 30_000), weight: 512,
                mayLeave: true)
            _ = round.handle(.mean(mean), at: .zero)
        }
        #expect(
            round.stage == .absorbing(Self.inner, .optimiserStep), "nothing of an expert is awaited"
        )
        return round.handle(
            .absorbed(
                key: Self.inner, target: .optimiserStep, digest: 0,
                experts: [0.5, 0.5, 0.5, 0.5]), at: .zero)
    }

    @Test func `a region's all-reduce has what is nobody's`() throws {
        var round = started(0, holders: [0, 1, 1, 0])
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        let order = try #require(encoded(effects, for: Self.inner))
        // As the region lays it out: half of what is nobody's, experts 0 and 1, the other half, 2 and 3.
        #expect(ranges(order.chunks) == [0..<30_000, 150_000..<180_000])
    }

    @Test func `whoever held an expert contributes it to the round`() throws {
        for (worker, experts) in [(0, [0, 3]), (1, [1, 2])] {
            var round = started(worker, holders: [0, 1, 1, 0])
            let effects = departing(&round)
            let order = try #require(encoded(effects, for: Self.outer))
            let whole = experts.map { UInt64(60_000 * ($0 + 1))..<UInt64(60_000 * ($0 + 2)) }
            let sent = ranges(order.chunks.filter { $0.range.lowerBound >= 60_000 })
            #expect(sent == ranges(whole.map { .init(slice: 0, position: 0, range: $0) }))
            // Residues of what the other contributes are not this worker's any more.
            #expect(
                order.elsewhere.filter { $0.range.lowerBound >= 60_000 }.reduce(0) {
                    $0 + $1.range.count
                } == 120_000)
        }
    }

    @Test func `what is nobody's is sent once, as without`() throws {
        var sent: [Range<UInt64>] = []
        for worker in 0..<2 {
            var round = started(worker, holders: [0, 1, 1, 0])
            let order = try #require(encoded(departing(&round), for: Self.outer))
            sent += order.chunks.map(\.range).filter { $0.lowerBound < 60_000 }
        }
        #expect(sent.reduce(0) { $0 + $1.count } == 60_000)
    }

    @Test func `after a death survivors contribute what they held under their old ranks`() throws {
        var round = started(1, holders: [0, 1, 1, 0])
        _ = departing(&round)
        // Rank 0 of the region is gone, and the other one alone.
        _ = round.handle(
            .plan(plan(version: 2, seats: [1, 2, 3]), epoch: Epoch(rawValue: 2)), at: .zero)
        let verdict = Verdict(key: Self.outer, verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        let order = try #require(encoded(effects, for: Self.outer))
        #expect(order.chunks.reduce(0) { $0 + $1.range.count } == 300_000)
        #expect(round.stage == .sharing(Self.outer))
    }

    @Test func `owners take an expert from any member of a region, anything else from one`() {
        let other = started(2, holders: [0, 1, 1, 0])
        guard let plan = other.plan else { return }
        let geometry = plan.geometry(of: Self.outer)
        var kept = 0
        for slice in 0..<geometry.sliceCount {
            let sender = geometry.sender(group: 0, slice: slice)
            let another = Rank(sender == Rank(0) ? 1 : 0)
            for position in 0..<geometry.positionCount(ofSlice: slice) {
                func may(_ rank: Rank) -> Bool {
                    plan.mayContribute(
                        rank, group: 0, slice: slice, position: position, to: Self.outer, geometry)
                }
                let isExpert = geometry.expert(ofSlice: slice, position: position) != nil
                #expect(may(sender) && may(another) == isExpert && !may(Rank(2)))
                kept += isExpert ? 1 : 0
            }
        }
        #expect(kept >= 4)
    }
}
