/// How unevenly experts are used.
package struct ExpertLoads: Equatable, Sendable {
    /// Tokens by expert; sums over unequal workers and regions are exact.
    package private(set) var tokens: [UInt64]

    package init(experts: Int) { tokens = Array(repeating: 0, count: experts) }
    package init(tokens: [UInt64]) { self.tokens = tokens }

    package mutating func add(_ routing: ExpertGate.Routing) {
        for choice in routing.choices { tokens[choice.expert] += 1 }
    }

    package mutating func merge(_ other: ExpertLoads) {
        precondition(tokens.count == other.tokens.count, "loads of other experts")
        for index in tokens.indices { tokens[index] += other.tokens[index] }
    }

    package var mean: Double {
        Double(tokens.reduce(0, +)) / Double(max(1, tokens.count))
    }

    /// MaxVio = (highest load - mean) / mean (Wang et al. 2024, arXiv 2408.15664); 0 without tokens.
    package var maxViolation: Double {
        let mean = mean
        return mean > 0 ? (Double(tokens.max() ?? 0) - mean) / mean : 0
    }

    /// Shares of all tokens; equal shares without tokens.
    package var shares: [Double] {
        let total = Double(tokens.reduce(0, +))
        guard total > 0 else { return tokens.map { _ in 1 / Double(max(1, tokens.count)) } }
        return tokens.map { Double($0) / total }
    }
}

/// Balancing without an auxiliary loss (Wang et al. 2024, arXiv 2408.15664; DeepSeek-V3 section 2.1.2):
/// after each step the bias of an expert below the mean load rises by a fixed rate, above it falls.
package struct BiasBalancer: Equatable, Sendable {
    package let rate: Float
    package private(set) var bias: [Float]

    package init(experts: Int, rate: Float = 0.001) {
        self.rate = rate
        bias = Array(repeating: 0, count: experts)
    }

    /// - Parameter loads: of one step, summed over all workers.
    package mutating func update(_ loads: ExpertLoads) {
        precondition(loads.tokens.count == bias.count, "loads of other experts")
        // mean - load has the sign of total - load * experts, without rounding.
        let total = loads.tokens.reduce(0, +)
        for index in bias.indices {
            let share = loads.tokens[index] * UInt64(bias.count)
            if share < total { bias[index] += rate } else if share > total { bias[index] -= rate }
        }
    }
}

/// The sequence-wise balance loss: alpha sum f_i P_i, with f_i the share of the sequence's choices times
/// experts / k, and P_i the mean normalised score (DeepSeek-V3, equations 17 to 20).
package func sequenceLoss(
    scores: [[Float]], routings: [ExpertGate.Routing], topK: Int, alpha: Float = 1e-4
) -> Float {
    guard let experts = scores.first?.count, !scores.isEmpty else { return 0 }
    precondition(scores.count == routings.count, "a routing for every token")
    var uses = [Float](repeating: 0, count: experts)
    var shares = uses
    for (token, routing) in zip(scores, routings) {
        let sum = token.reduce(0, +)
        for expert in 0..<experts where sum > 0 { shares[expert] += token[expert] / sum }
        for choice in routing.choices { uses[choice.expert] += 1 }
    }
    let tokens = Float(scores.count)
    let factor = Float(experts) / (Float(topK) * tokens)
    return alpha * zip(uses, shares).reduce(0) { $0 + $1.0 * factor * $1.1 / tokens }
}
