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

/// The same loss of sequences in a batch, and what its gradient needs.
package struct SequenceBalance: Sendable {
    /// Sum over the sequences, without alpha.
    package private(set) var loss = 0.0
    /// f by `[sequence][expert]`.
    package private(set) var frequencies: [Float] = []

    package init() {}

    /// - Parameter sequence: tokens of a sequence; the batch has whole ones.
    package mutating func update(_ batch: borrowing GateBatch, sequence: Int) {
        let (experts, topK) = (batch.gate.experts, batch.gate.topK)
        precondition(sequence > 0 && batch.tokens % sequence == 0, "whole sequences only")
        let count = batch.tokens / sequence
        loss = 0
        frequencies = Array(repeating: 0, count: count * experts)
        var shares = [Double](repeating: 0, count: experts)
        for index in 0..<count {
            for expert in 0..<experts { shares[expert] = 0 }
            for token in index * sequence..<(index + 1) * sequence {
                var sum: Float = 0
                for expert in 0..<experts { sum += batch.scores[token * experts + expert] }
                if sum > 0 {
                    for expert in 0..<experts {
                        shares[expert] += Double(batch.scores[token * experts + expert] / sum)
                    }
                }
                for slot in token * topK..<(token + 1) * topK {
                    frequencies[index * experts + Int(batch.experts[slot])] += 1
                }
            }
            for expert in 0..<experts {
                let place = index * experts + expert
                frequencies[place] *= Float(experts) / Float(topK * sequence)
                loss += Double(frequencies[place]) * shares[expert] / Double(sequence)
            }
        }
    }
}
