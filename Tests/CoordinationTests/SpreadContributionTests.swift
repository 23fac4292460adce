import ClusterModel
import Coordination
import Testing
import WireProtocol

/// What a region reduces where each expert is computed by one of its members: the holder alone contributes
/// it (Protocols/longhaul-1.md, section 7.11).
@Suite struct SpreadContributionTests {
    /// One layer of 300,000 elements: 60,000 of nobody, then four experts of 60,000.
    private static func configuration(
        _ outer: RunConfiguration.Schedule.Outer = .diloco
    ) -> RunConfiguration {
        var configuration = Fixtures.configuration(outer: outer, syncEvery: 1, steps: 4)
        configuration.model.layers = 1
        configuration.model.experts = .init(count: 4, width: 8, spread: .region)
        return configuration
    }

    private static let inner = CollectiveKey.inner(region: RegionID(0), step: 1)

    // MARK: One worker

    private func plan(version: UInt32 = 1, seats: [Int] = [0, 1, 2, 3]) -> Plan {
        let configuration = Self.configuration()
        var plan = Fixtures.plan(version: version, seats: seats, configuration: configuration)
        plan.experts = configuration.plannedExperts(elements: Fixtures.parameterCount)
        return plan
    }

    private func started() -> WorkerRound {
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: Self.configuration())
        _ = round.handle(.plan(plan(), epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    private func fragment(_ effects: [WorkerRound.Effect]) -> [ElementRange] {
        for case .train(.encode(let order)) in effects { return order.fragment }
        return []
    }

    private func place(_ round: inout WorkerRound, _ holders: [UInt16]) -> [WorkerRound.Effect] {
        round.handle(.placed(holders: holders, epoch: Epoch(rawValue: 1)), at: .zero)
    }

    /// Ranges that this worker encodes, with neighbours joined.
    private func encoded(_ effects: [WorkerRound.Effect]) -> [Range<UInt64>] {
        for case .train(.encode(let order)) in effects {
            #expect(order.absent.isEmpty && order.elsewhere.isEmpty)
            let ranges = order.chunks.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
            return ranges.reduce(into: []) {
                if $0.last?.upperBound == $1.lowerBound {
                    $0[$0.count - 1] = $0[$0.count - 1].lowerBound..<$1.upperBound
                } else {
                    $0.append($1)
                }
            }
        }
        return []
    }

    @Test func `a member contributes its own experts and what is nobody's`() {
        var round = started()
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        // A half of what is nobody's, experts 0 and 1 of 4: its own slice; then the other half.
        #expect(encoded(effects) == [0..<180_000])
        #expect(
            fragment(effects) == [
                ElementRange(start: 0, count: 30_000), ElementRange(start: 60_000, count: 120_000),
                ElementRange(start: 30_000, count: 30_000),
                ElementRange(start: 180_000, count: 120_000),
            ])
        #expect(round.stage == .sharing(Self.inner))
        var weights: [UInt64] = []
        for (position, elements) in [(0, UInt64(30_000)), (1, 60_000), (2, 60_000)] {
            let sent = round.handle(
                .encoded(
                    key: Self.inner, epoch: Epoch(rawValue: 1), slice: 0, position: position,
                    payload: Fixtures.payload(UInt64(position + 1), elements: elements)), at: .zero)
            guard case .contribute(let to, _, _, _, 0, _, let weight, _) = sent.first else {
                Issue.record("\(sent)")
                continue
            }
            #expect(to == Rank(0))
            weights.append(weight)
        }
        // Two members of equal micro-batches: an expert's chunk stands for the tokens of both.
        #expect(weights == [256, 512, 512])
    }

    @Test func `experts placed anew are contributed by whom they are with now`() {
        var round = started()
        #expect(place(&round, [0, 1, 1, 0]) == [])
        let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        #expect(encoded(effects) == [0..<90_000, 150_000..<180_000, 240_000..<300_000])
        _ = round.handle(
            .plan(plan(version: 2, seats: [0, 1, 2]), epoch: Epoch(rawValue: 2)), at: .zero)
        // Of the plan before, come too late.
        #expect(place(&round, [1, 1, 0, 0]) == [])
        let verdict = Verdict(key: Self.inner, verdict: .restart, holder: .none)
        _ = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(round.stage == .computing(step: 1))
        let again = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
        #expect(encoded(again) == [0..<180_000])
        #expect(round.stage == .sharing(Self.inner))
    }

    @Test func `a placement that does not fit the plan is refused, and changes nothing`() {
        for holders: [UInt16] in [[0, 1, 1], [0, 1, 2, 0]] {
            var round = started()
            let said = place(&round, holders)
            guard said.count == 1, case .violation = said[0] else {
                Issue.record("\(said)")
                continue
            }
            let effects = round.handle(.computed(step: 1, loss: 1, tokens: 256), at: .zero)
            #expect(encoded(effects) == [0..<180_000])
        }
    }

    // MARK: A cluster

    @Test(arguments: [[2, 2], [3, 2], [4, 1], [1, 3]])
    func `an expert leaves its holder once, everything else as without`(sizes: [Int]) {
        var elements: [Int: UInt64] = [:]
        var foreign: [String] = []
        var seen: Set<String> = []
        let block = Self.configuration().plannedExperts(elements: Fixtures.parameterCount)[0]
        var cluster = TestCluster(Self.configuration(), sizes: sizes)
        cluster.holds = { delivery in
            guard let chunk = delivery.chunk, chunk.key.scope == .region,
                chunk.kind == .contribution, chunk.key.round == 1,
                seen.insert("\(delivery.channel) \(chunk)").inserted
            else { return false }
            let region = chunk.key.region.index
            elements[region, default: 0] += UInt64(chunk.elements)
            let members = sizes[region]
            let isAlone = chunk.weight == UInt64(members) * 256
            if isAlone != (chunk.weight != 256) { foreign.append("\(chunk)") }
            return false
        }
        for seat in Fixtures.topology(sizes).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(foreign == [])
        #expect(Set(cluster.nodes.values.map { $0.trainer.outer }).count == 1)
        for (region, members) in sizes.enumerated() where members > 1 {
            let expected = RegionTraffic(
                elements: Fixtures.parameterCount, workers: members, spread: [block])
            #expect(elements[region] == expected.contributions)
            #expect(expected.contributions < UInt64(members - 1) * Fixtures.parameterCount)
        }
        for node in cluster.nodes.values { #expect(node.machine.round.step == 4) }
    }

    @Test(arguments: [[2, 2], [3, 2], [3]])
    func `parts of one collective of all are the holder's too`(sizes: [Int]) {
        var parts: UInt64 = 0
        var seen: Set<String> = []
        var cluster = TestCluster(Self.configuration(.everyStep), sizes: sizes)
        cluster.holds = { delivery in
            if let chunk = delivery.chunk, chunk.key.scope == .region, chunk.key.round == 1,
                seen.insert("\(delivery.channel) \(chunk)").inserted
            {
                parts += UInt64(chunk.elements)
            }
            return false
        }
        for seat in Fixtures.topology(sizes).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set(cluster.nodes.values.map { $0.trainer.outer }).count == 1)
        let others = UInt64(sizes.reduce(0, +) - sizes.count)
        // 60,000 of nobody from all but the reducer; 240,000 in each region once, less what stays.
        #expect(parts > others * 60_000)
        #expect(parts < others * 60_000 + UInt64(sizes.count) * 240_000)
    }

    /// A holder's death with what it had not sent yet: the others compute its experts, in the same step.
    @Test(arguments: [RunConfiguration.Schedule.Outer.diloco, .everyStep], ["parts", "means"])
    func `a holder that dies in the middle of a collective leaves one mean`(
        outer: RunConfiguration.Schedule.Outer, lost: String
    ) {
        let dies = 2
        var computed = 0
        var cluster = TestCluster(Self.configuration(outer), sizes: [3, 2])
        cluster.holds = { delivery in
            if case .order(.compute(step: 1, _)) = delivery.content,
                delivery.channel == .trainer(WorkerID(0))
            {
                computed += 1
            }
            guard let chunk = delivery.chunk, chunk.key.round == 1 else { return false }
            guard lost == "parts" else { return chunk.kind == .mean }
            return delivery.sender == WorkerID(dies) && chunk.key.scope == .region
        }
        for seat in Fixtures.topology([3, 2]).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        let key =
            outer == .everyStep
            ? CollectiveKey.outer(fragment: FragmentID(0), round: 1) : Self.inner
        #expect(cluster.round(0).stage == .sharing(key))
        cluster.kill(dies)
        let before = computed
        cluster.settle()
        #expect(
            cluster.verdicts.contains(Verdict(key: key, verdict: .restart, holder: .none)))
        #expect(computed > before, "computed again, with the dead one's experts")
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set([0, 1, 3, 4].map { cluster.node($0).trainer.outer }).count == 1)
        for seat in [0, 1, 3, 4] { #expect(cluster.round(seat).step == 4) }
    }

    @Test func `an owner that has not computed the step keeps a holder's contribution`() {
        var reductions = 0
        var cluster = TestCluster(Self.configuration(), sizes: [3, 2])
        cluster.holds = { delivery in
            if case .reduction(let key, _, _, _, _, _, _) = delivery.content,
                delivery.channel == .reducer(WorkerID(1)), key == Self.inner
            {
                reductions += 1
            }
            guard case .order(.compute(step: 1, _)) = delivery.content else { return false }
            return delivery.channel == .trainer(WorkerID(1))
        }
        for seat in Fixtures.topology([3, 2]).seats { cluster.launch(Int(seat.id.rawValue)) }
        cluster.settle()
        #expect(reductions == 0)
        #expect(cluster.round(0).stage == .sharing(Self.inner))
        // Rank 0 holds two of four experts, more than the slice of one of three: rank 1 owns an end.
        #expect(cluster.round(1).stage == .computing(step: 1))
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
        #expect(Set(cluster.nodes.values.map { $0.trainer.outer }).count == 1)
    }
}
