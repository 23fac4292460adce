import ExpertRouting
import Testing

/// Numbers in [-1, 1) of a small generator.
struct Noise {
    var state: UInt64
    mutating func next() -> Float {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 32)) / Float(1 << 31)
    }
}

@Suite struct GateBatchTests {
    private static let gates: [ExpertGate] = ExpertGate.Scoring.allCases.flatMap { scoring in
        [
            ExpertGate(groupSizes: [8], keptGroups: 1, topK: 2, scoring: scoring),
            ExpertGate(groupSizes: [3], keptGroups: 1, topK: 3, scoring: scoring),
            ExpertGate(
                groupSizes: [2, 2, 2, 2], keptGroups: 2, topK: 2, scoring: scoring, scale: 2.5),
            ExpertGate(
                groupSizes: [5, 1, 2], keptGroups: 1, topK: 1, scoring: scoring, normalises: false),
            ExpertGate(groupSizes: [32, 32, 32, 32], keptGroups: 3, topK: 8, scoring: scoring),
        ]
    }

    /// Every number of tokens up to three whole lanes, quantised logits so that there are ties.
    @Test(arguments: gates) func `lanes choose and weigh as the reference does, bit by bit`(
        gate: ExpertGate
    ) {
        var batch = GateBatch(gate: gate, capacity: 24)
        var noise = Noise(state: 7)
        for tokens in 0...24 {
            let stride = gate.experts + tokens % 3
            let ties = tokens % 2 == 0
            let logits = (0..<tokens * stride).map { _ in
                ties ? (noise.next() * 4).rounded() / 2 : noise.next() * 6
            }
            let bias = (0..<gate.experts).map { _ in ties ? 0 : noise.next() / 4 }
            batch.route(logits.span, stride: stride, tokens: tokens, bias: bias.span)
            #expect(batch.tokens == tokens)
            for token in 0..<tokens {
                let row = Array(logits[token * stride..<token * stride + gate.experts])
                let expected = gate.route(row, bias: bias)
                let slots = token * gate.topK..<(token + 1) * gate.topK
                #expect(batch.experts[slots].map(Int.init) == expected.choices.map(\.expert))
                #expect(Array(batch.weights[slots]) == expected.choices.map(\.weight))
                #expect(batch.cutoffs[token] == expected.cutoff ?? -.infinity)
                let scores = batch.scores[token * gate.experts..<(token + 1) * gate.experts]
                #expect(Array(scores) == gate.scores(row))
                let kept = (0..<gate.groups).filter { batch.keeps[token * gate.groups + $0] }
                #expect(kept == expected.keptGroups.sorted())
            }
        }
    }

    @Test func `the exponential in lanes has the scalar's bits`() {
        var noise = Noise(state: 3)
        var arguments: [Float] = [0, -87, 88, -200, 200, .infinity, -.infinity, 1]
        for _ in 0..<8_000 { arguments.append(noise.next() * 95) }
        for start in stride(from: 0, to: arguments.count, by: 8) {
            var lanes = SIMD8<Float>()
            for lane in 0..<8 { lanes[lane] = arguments[start + lane] }
            let result = exponential(lanes)
            for lane in 0..<8 {
                #expect(result[lane] == exponential(lanes[lane]), "\(lanes[lane])")
            }
        }
        #expect(exponential(SIMD8<Float>(repeating: .nan))[3].isNaN)
    }

    @Test func `logits that are no numbers still lead to legal experts`() {
        var batch = GateBatch(gate: Self.gates[2], capacity: 1)
        let logits = [Float](repeating: .nan, count: 8)
        batch.route(logits.span, stride: 8, tokens: 1, bias: [Float](repeating: 0, count: 8).span)
        #expect(batch.experts[0..<2].allSatisfy { (0..<8).contains($0) })
    }

    @Test func `the batch's sequence loss is the reference's, frequencies sum to the experts`() {
        let gate = ExpertGate(groupSizes: [6], keptGroups: 1, topK: 2)
        var batch = GateBatch(gate: gate, capacity: 30)
        var noise = Noise(state: 9)
        let logits = (0..<30 * 6).map { _ in noise.next() * 3 }
        let bias = [Float](repeating: 0, count: 6)
        batch.route(logits.span, stride: 6, tokens: 30, bias: bias.span)
        var balance = SequenceBalance()
        balance.update(batch, sequence: 10)
        let rows = (0..<30).map { Array(logits[$0 * 6..<($0 + 1) * 6]) }
        var expected: Float = 0
        for sequence in 0..<3 {
            let part = rows[sequence * 10..<(sequence + 1) * 10]
            expected += sequenceLoss(
                scores: part.map { gate.scores($0) },
                routings: part.map { gate.route($0, bias: bias) }, topK: 2, alpha: 1)
        }
        #expect(abs(Float(balance.loss) - expected) < 1e-5 * expected)
        for sequence in 0..<3 {
            let part = balance.frequencies[sequence * 6..<(sequence + 1) * 6]
            #expect(abs(part.reduce(0, +) - 6) < 1e-5)
        }
    }
}
