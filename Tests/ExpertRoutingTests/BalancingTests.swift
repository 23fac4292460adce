import ExpertRouting
import Testing

@Suite struct BalancingTests {
    @Test func `a bias moves by its rate towards the mean`() {
        var balancer = BiasBalancer(experts: 4)
        balancer.update(ExpertLoads(tokens: [10, 2, 6, 6]))
        #expect(balancer.bias == [-0.001, 0.001, 0, 0])
        balancer.update(ExpertLoads(tokens: [10, 2, 6, 6]))
        #expect(balancer.bias == [-0.002, 0.002, 0, 0])
    }

    @Test func `the violation counts the fullest expert against the mean`() {
        #expect(abs(ExpertLoads(tokens: [10, 2, 6, 6]).maxViolation - 2.0 / 3) < 1e-12)
        #expect(ExpertLoads(experts: 4).maxViolation == 0)
        #expect(RoutingDivergence.normalisedEntropy(ExpertLoads(tokens: [5, 5, 5, 5])) == 1)
        let (a, b) = (ExpertLoads(tokens: [9, 0]), ExpertLoads(tokens: [0, 4]))
        #expect(abs(RoutingDivergence.jensenShannon(a, b) - 1) < 1e-12)
        #expect(RoutingDivergence.jensenShannon(a, a) == 0)
    }

    /// Tokens whose logits favour low experts, by a small generator.
    private func logits(_ count: Int, experts: Int, seed: UInt64) -> [[Float]] {
        var state = seed
        return (0..<count).map { _ in
            (0..<experts).map { expert in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let noise = Float(state >> 40) / Float(1 << 24)
                return 2 * noise - 0.15 * Float(expert)
            }
        }
    }

    private func loads(_ tokens: [[Float]], _ gate: ExpertGate, _ bias: [Float]) -> ExpertLoads {
        tokens.reduce(into: ExpertLoads(experts: bias.count)) { $0.add(gate.route($1, bias: bias)) }
    }

    @Test(arguments: [[16], [4, 4, 4, 4], [7, 5, 4]])
    func `quantiles balance skewed tokens at once, whoever counted them`(groups: [Int]) {
        let gate = ExpertGate(groupSizes: groups, keptGroups: min(2, groups.count), topK: 2)
        let tokens = logits(4_000, experts: 16, seed: 3)
        var bias = [Float](repeating: 0, count: 16)
        let before = loads(tokens, gate, bias).maxViolation
        for _ in 0..<6 {
            var whole = QuantileHistogram(bias: bias)
            // Unequal workers: 3,700 and 300 tokens.
            var first = QuantileHistogram(bias: bias)
            var second = QuantileHistogram(bias: bias)
            for (index, token) in tokens.enumerated() {
                let routing = gate.route(token, bias: bias)
                let scores = gate.scores(token)
                whole.add(scores: scores, routing: routing, gate: gate)
                if index < 3_700 {
                    first.add(scores: scores, routing: routing, gate: gate)
                } else {
                    second.add(scores: scores, routing: routing, gate: gate)
                }
            }
            second.merge(first)
            #expect(second == whole)
            bias = whole.bias(share: 2.0 / 16)
            #expect(abs(bias.reduce(0, +)) < 1e-4)
        }
        let after = loads(tokens, gate, bias).maxViolation
        #expect(after < before / 3, "\(before) -> \(after)")
    }

    @Test func `the sequence-wise loss is alpha for equal use and more for unequal`() {
        let gate = ExpertGate(groupSizes: [2], keptGroups: 1, topK: 1)
        let even = [[Float]]([[0.9, 0.1], [0.1, 0.9]])
        let odd = [[Float]]([[0.9, 0.1], [0.8, 0.2]])
        func loss(_ scores: [[Float]]) -> Float {
            let routings = scores.map { token in
                gate.route(token.map { $0 * 4 }, bias: [0, 0])
            }
            return sequenceLoss(scores: scores, routings: routings, topK: 1, alpha: 1)
        }
        #expect(abs(loss(even) - 1) < 1e-6)
        #expect(abs(loss(odd) - 2 * 0.85) < 1e-6)
    }
}
