import ExpertRouting
import Testing

@Suite struct DispatchTests {
    @Test func `capacity is k int(f ceil(T / E)), and 0 means none`() {
        func rows(_ k: Int, _ f: Double, _ t: Int, _ e: Int) -> Int? {
            ExpertCapacity.rows(topK: k, factor: f, tokens: t, experts: e)
        }
        #expect(rows(2, 1, 128, 8) == 32)
        #expect(rows(2, 1.25, 128, 8) == 40)
        #expect(rows(1, 1.1, 100, 8) == 14)
        #expect(rows(2, 1.05, 10, 4) == 6)
        #expect(rows(2, 0, 128, 8) == nil)
    }

    private func choices(_ tokens: Int, experts: Int, topK: Int, seed: UInt64) -> [Int32] {
        var noise = Noise(state: seed)
        return (0..<tokens).flatMap { _ -> [Int32] in
            var left = Array(0..<Int32(experts))
            return (0..<topK).map { _ in
                left.remove(at: Int(abs(noise.next()) * 0.999 * Float(left.count)))
            }
        }
    }

    @Test(arguments: [1, 4, 16])
    func `every choice has its own row, in its expert's block, in order of tokens`(alignment: Int) {
        var plan = DispatchPlan(experts: 5, topK: 2, capacity: 40, alignment: alignment)
        for (seed, tokens) in [(UInt64(1), 40), (2, 12), (3, 4)] {
            let chosen = choices(tokens, experts: 5, topK: 2, seed: seed)
            plan.build(chosen, tokenCount: tokens, sequence: 4, limit: nil)
            #expect(plan.dropped == 0 && plan.counts == plan.demand)
            #expect(plan.counts.reduce(0, +) == 2 * tokens)
            var seen: Set<Int> = []
            for slot in 0..<2 * tokens {
                let row = Int(plan.rows[slot])
                #expect(plan.range(of: Int(chosen[slot])).contains(row))
                #expect(plan.tokens[row] == Int32(slot / 2))
                #expect(seen.insert(row).inserted)
            }
            for expert in 0..<5 {
                let range = plan.range(of: expert)
                #expect(range.lowerBound % alignment == 0)
                let held = plan.tokens[range].prefix(plan.counts[expert])
                #expect(Array(held) == held.sorted())
                #expect(plan.tokens[range].dropFirst(plan.counts[expert]).allSatisfy { $0 == -1 })
            }
        }
    }

    /// What is dropped in a sequence must not depend on the sequences computed with it.
    @Test func `a full expert drops the later tokens of each sequence, alone or together`() {
        let chosen = choices(60, experts: 4, topK: 2, seed: 5)
        var whole = DispatchPlan(experts: 4, topK: 2, capacity: 60)
        whole.build(chosen, tokenCount: 60, sequence: 20, limit: 8)
        var dropped = 0
        for sequence in 0..<3 {
            var alone = DispatchPlan(experts: 4, topK: 2, capacity: 20)
            let part = Array(chosen[sequence * 40..<(sequence + 1) * 40])
            alone.build(part, tokenCount: 20, sequence: 20, limit: 8)
            dropped += alone.dropped
            #expect(alone.counts.allSatisfy { $0 <= 8 })
            for slot in 0..<40 {
                #expect((alone.rows[slot] < 0) == (whole.rows[sequence * 40 + slot] < 0))
            }
            for expert in 0..<4 where alone.demand[expert] > 8 {
                let slots = (0..<40).filter { part[$0] == Int32(expert) }
                #expect(slots.prefix(8).allSatisfy { alone.rows[$0] >= 0 })
                #expect(slots.dropFirst(8).allSatisfy { alone.rows[$0] < 0 })
            }
        }
        #expect(dropped > 0 && whole.dropped == dropped)
        #expect(whole.demand.reduce(0, +) == 120)
    }

    @Test func `directions from a mean of shares are those of the summed counts`() {
        var noise = Noise(state: 11)
        for _ in 0..<500 {
            let experts = 8
            let tokens = (0..<5).map { _ in 1 + Int(abs(noise.next()) * 3_000) }
            let counts = tokens.map { tokens in
                (0..<experts).map { _ in tokens / 4 + Int(noise.next() * 2) }
            }
            // As owners reduce: f = Float(w / sum w), f_0 x_0, then += f_i x_i.
            let total = Double(tokens.reduce(0, +))
            var mean = [Float](repeating: 0, count: experts)
            for worker in 0..<5 {
                let factor = Float(Double(tokens[worker]) / total)
                for expert in 0..<experts {
                    let share = Float(counts[worker][expert]) / Float(tokens[worker]) * 0x1p-10
                    mean[expert] = worker == 0 ? factor * share : mean[expert] + factor * share
                }
            }
            let sums = (0..<experts).map { expert in counts.reduce(0) { $0 + $1[expert] } }
            let all = sums.reduce(0, +)
            let expected = sums.map {
                $0 * experts < all ? 1 : $0 * experts > all ? -1 : 0 as Float
            }
            #expect(BiasBalancer.directions(mean) == expected)
        }
        #expect(BiasBalancer.directions([0, 0]) == [0, 0])
    }

    @Test func `quantiles of weighted bins are those of the counts`() {
        let bias: [Float] = [0.1, -0.1]
        let bins = QuantileBins(bias: bias)
        var noise = Noise(state: 2)
        let gate = ExpertGate(groupSizes: [2], keptGroups: 1, topK: 1)
        var histogram = QuantileHistogram(bias: bias)
        for _ in 0..<1_000 {
            let logits = [noise.next(), noise.next()]
            histogram.add(
                scores: gate.scores(logits), routing: gate.route(logits, bias: bias), gate: gate)
        }
        let shares = histogram.counts.map { $0.map { Double(Float($0) / 1_000 * 0x1p-10) } }
        for (a, b) in zip(bins.bias(shares, share: 0.5), histogram.bias(share: 0.5)) {
            #expect(abs(a - b) < 1e-5)
        }
    }
}
