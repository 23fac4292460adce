import ExpertRouting
import Testing

@Suite struct GateTests {
    /// Published figures of DeepSeek-V3's gate: 8 experts in 4 groups of 2, 2 groups kept, top-2, scale 2.5.
    private static let gate = ExpertGate(
        groupSizes: [2, 2, 2, 2], keptGroups: 2, topK: 2, scoring: .sigmoid, scale: 2.5)
    private static let logits: [Float] = [0.5, -1, 1.2, 0.3, -0.2, 2, 0.9, 0.8]
    private static let bias: [Float] = [0, 0, 0, 0.4, 0, -0.6, 0, 0.05]

    @Test func `group-limited top-k chooses by biased and weighs by unbiased scores`() {
        let routing = Self.gate.route(Self.logits, bias: Self.bias)
        #expect(routing.keptGroups == [1, 3])
        #expect(routing.choices.map(\.expert) == [3, 2])
        #expect(abs(routing.choices[0].weight - 1.069353) < 2e-6)
        #expect(abs(routing.choices[1].weight - 1.430647) < 2e-6)
    }

    @Test func `ties go to the lower index, and every choice is legal`() {
        let equal = Self.gate.route(
            [Float](repeating: 0.25, count: 8), bias: [Float](repeating: 0, count: 8))
        #expect(equal.keptGroups == [0, 1])
        #expect(equal.choices.map(\.expert) == [0, 1])
        #expect(equal.choices.map(\.weight) == [1.25, 1.25])
    }

    @Test(arguments: ExpertGate.Scoring.allCases)
    func `a gate without groups is plain top-k`(scoring: ExpertGate.Scoring) {
        let gate = ExpertGate(groupSizes: [8], keptGroups: 1, topK: 3, scoring: scoring)
        let routing = gate.route(Self.logits, bias: [Float](repeating: 0, count: 8))
        #expect(routing.choices.map(\.expert) == [5, 2, 6])
        #expect(abs(routing.choices.reduce(0) { $0 + $1.weight } - 1) < 1e-6)
        #expect(routing.cutoff == gate.scores(Self.logits)[7])
    }

    @Test func `groups may be regions of unequal size`() {
        let gate = ExpertGate(groupSizes: [5, 1, 2], keptGroups: 1, topK: 1)
        var seen: Set<Int> = []
        for expert in 0..<8 {
            var logits = [Float](repeating: -4, count: 8)
            logits[expert] = 4
            let routing = gate.route(logits, bias: [Float](repeating: 0, count: 8))
            #expect(routing.choices.map(\.expert) == [expert])
            seen.formUnion(routing.keptGroups)
        }
        #expect(seen == [0, 1, 2])
    }

    @Test func `the exponential is right over its whole range`() {
        #expect(exponential(0) == 1)
        #expect(exponential(-200) == 0 && exponential(200) == .infinity)
        #expect(exponential(.nan).isNaN)
        // e^x e^-x = 1, and e^1 as printed.
        #expect(abs(exponential(1) - 2.718_281_8) < 1e-6)
        for step in -800...800 {
            let x = Float(step) / 10
            #expect(abs(exponential(x) * exponential(-x) - 1) < 1e-6, "\(x)")
            #expect(exponential(x + 0.1) > exponential(x))
        }
    }
}
