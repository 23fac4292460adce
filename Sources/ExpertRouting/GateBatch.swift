/// Routes many tokens at once: eight tokens side by side in lanes, expert after expert. The same experts,
/// weights and cutoffs as `ExpertGate.route`, bit by bit; that one is the reference in tests.
///
/// Arrays are allocated once and used again for every batch.
package struct GateBatch: Sendable {
    package typealias Lanes = SIMD8<Float>
    package typealias Indices = SIMD8<Int32>

    package let gate: ExpertGate
    /// Tokens of the last batch.
    package private(set) var tokens = 0
    /// Unbiased, `[token][expert]`.
    package private(set) var scores: [Float]
    /// Chosen experts in descending order of biased score, `[token][choice]`.
    package internal(set) var experts: [Int32]
    /// Of the chosen, `[token][choice]`.
    package internal(set) var weights: [Float]
    /// As `ExpertGate.Routing.cutoff`; minus infinity where there is none.
    package internal(set) var cutoffs: [Float]
    /// `[token][group]`; all true when every group is kept.
    package private(set) var keeps: [Bool]

    private var laneScores: [Lanes]
    private var laneBiased: [Lanes]
    private var ranking: LaneRanking
    private var groupRanking: LaneRanking

    /// - Parameter capacity: tokens of a batch at most.
    package init(gate: ExpertGate, capacity: Int) {
        precondition(capacity > 0 && gate.experts <= Int(Int32.max), "capacity \(capacity)")
        self.gate = gate
        scores = Array(repeating: 0, count: capacity * gate.experts)
        experts = Array(repeating: 0, count: capacity * gate.topK)
        weights = Array(repeating: 0, count: capacity * gate.topK)
        cutoffs = Array(repeating: -.infinity, count: capacity)
        keeps = Array(repeating: true, count: capacity * gate.groups)
        laneScores = Array(repeating: Lanes(), count: gate.experts)
        laneBiased = laneScores
        ranking = LaneRanking(places: gate.topK + 1)
        groupRanking = LaneRanking(places: gate.keptGroups)
    }

    /// - Parameters:
    ///   - logits: `tokens` rows, `stride` floats apart, of at least `gate.experts`.
    ///   - bias: one per expert.
    package mutating func route(_ logits: Span<Float>, stride: Int, tokens: Int, bias: Span<Float>)
    {
        precondition(tokens <= cutoffs.count && stride >= gate.experts, "batch of \(tokens)")
        precondition(bias.count == gate.experts, "\(bias.count) biases")
        precondition(tokens == 0 || logits.count >= (tokens - 1) * stride + gate.experts)
        self.tokens = tokens
        var first = 0
        while first < tokens {
            let count = min(8, tokens - first)
            for expert in 0..<gate.experts {
                var lanes = Lanes()
                for lane in 0..<count { lanes[lane] = logits[(first + lane) * stride + expert] }
                laneScores[expert] = lanes
            }
            score()
            for expert in 0..<gate.experts {
                laneBiased[expert] = laneScores[expert] + bias[expert]
            }
            if gate.keptGroups < gate.groups { limitGroups(first, count) }
            choose(first, count)
            first += count
        }
    }

    /// Logits in `laneScores` become scores.
    private mutating func score() {
        switch gate.scoring {
        case .sigmoid:
            for expert in laneScores.indices {
                laneScores[expert] = 1 / (1 + exponential(0 - laneScores[expert]))
            }
        case .softmax:
            var highest = laneScores[0]
            for lanes in laneScores { highest.replace(with: lanes, where: lanes .> highest) }
            var sum = Lanes()
            for expert in laneScores.indices {
                laneScores[expert] = exponential(laneScores[expert] - highest)
                sum += laneScores[expert]
            }
            for expert in laneScores.indices { laneScores[expert] /= sum }
        }
    }

    /// Experts of groups that are not kept can no longer be chosen.
    private mutating func limitGroups(_ first: Int, _ count: Int) {
        let never = Lanes(repeating: -.infinity)
        groupRanking.clear()
        for group in 0..<gate.groups {
            let bounds = gate.groupBounds[group]..<gate.groupBounds[group + 1]
            var highest = never
            var second = never
            for expert in bounds {
                let score = laneBiased[expert]
                let isHighest = score .> highest
                second.replace(with: highest, where: isHighest)
                second.replace(with: score, where: .!isHighest .& (score .> second))
                highest.replace(with: score, where: isHighest)
            }
            groupRanking.insert(bounds.count > 1 ? highest + second : highest, Int32(group))
        }
        for group in 0..<gate.groups {
            var isKept = groupRanking.indices[0] .== Indices(repeating: Int32(group))
            for place in groupRanking.indices.dropFirst() {
                isKept .|= place .== Indices(repeating: Int32(group))
            }
            for expert in gate.groupBounds[group]..<gate.groupBounds[group + 1] {
                laneBiased[expert].replace(with: never, where: .!isKept)
            }
            for lane in 0..<count { keeps[(first + lane) * gate.groups + group] = isKept[lane] }
        }
    }

    private mutating func choose(_ first: Int, _ count: Int) {
        ranking.clear()
        for expert in 0..<gate.experts { ranking.insert(laneBiased[expert], Int32(expert)) }
        for lane in 0..<count {
            let token = first + lane
            var total: Float = 0
            for choice in 0..<gate.topK {
                let expert = ranking.indices[choice][lane]
                let score = laneScores[Int(expert)][lane]
                experts[token * gate.topK + choice] = expert
                weights[token * gate.topK + choice] = score
                total += score
            }
            let factor = gate.normalises && total > 0 ? gate.scale / total : gate.scale
            for choice in 0..<gate.topK { weights[token * gate.topK + choice] *= factor }
            cutoffs[token] = ranking.values[gate.topK][lane]
            for expert in 0..<gate.experts {
                scores[token * gate.experts + expert] = laneScores[expert][lane]
            }
        }
    }
}

/// The highest values and their indices, of eight rows at once; ties stay in order of insertion.
private struct LaneRanking: Sendable {
    private(set) var values: [SIMD8<Float>]
    private(set) var indices: [SIMD8<Int32>]

    init(places: Int) {
        values = Array(repeating: SIMD8(), count: places)
        indices = Array(repeating: SIMD8(), count: places)
    }

    /// Places begin with distinct indices, so that values that are not numbers still leave a legal choice.
    mutating func clear() {
        for place in values.indices {
            values[place] = SIMD8(repeating: -.infinity)
            indices[place] = SIMD8(repeating: Int32(place))
        }
    }

    mutating func insert(_ value: SIMD8<Float>, _ index: Int32) {
        var value = value
        var index = SIMD8<Int32>(repeating: index)
        // Once a row has found its place, all behind move down, equal ones too.
        var isPlaced = SIMDMask<SIMD8<Int32>>(repeating: false)
        for place in values.indices {
            isPlaced .|= value .> values[place]
            let (displaced, displacedIndex) = (values[place], indices[place])
            values[place].replace(with: value, where: isPlaced)
            indices[place].replace(with: index, where: isPlaced)
            value.replace(with: displaced, where: isPlaced)
            index.replace(with: displacedIndex, where: isPlaced)
        }
    }
}
