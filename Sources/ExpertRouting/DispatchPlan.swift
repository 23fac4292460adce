/// Rows an expert takes of a sequence, Tutel's rule: k int(f ceil(T / E)).
package enum ExpertCapacity {
    /// - Parameter factor: f; 0 = every choice is served, `nil` rows.
    package static func rows(topK: Int, factor: Double, tokens: Int, experts: Int) -> Int? {
        precondition(factor >= 0 && tokens > 0 && experts > 0, "capacity factor \(factor)")
        guard factor > 0 else { return nil }
        return topK * Int(factor * Double((tokens + experts - 1) / experts))
    }
}

/// Which row of the experts' input each choice of a batch becomes: a counting sort by expert (MegaBlocks,
/// Gale et al. 2022, arXiv 2211.15841). Inside an expert rows are in the order of tokens, and each expert
/// begins at a multiple of `alignment`; rows up to there hold nothing.
///
/// ```
/// rows    | expert 0 ....... pad | expert 1 .. pad | ... |
/// starts    0                      starts[1]
/// ```
package struct DispatchPlan: Sendable {
    package let experts: Int
    package let topK: Int
    package let alignment: Int
    /// First row by expert, and the end of all.
    package private(set) var starts: [Int]
    /// Rows that hold a token, by expert.
    package private(set) var counts: [Int]
    /// Choices by expert, dropped ones too: what balancing goes by.
    package private(set) var demand: [Int]
    /// `[token][choice]`; -1: dropped, the expert was full.
    package private(set) var rows: [Int32]
    /// By row; -1: nothing.
    package private(set) var tokens: [Int32]
    package private(set) var dropped = 0

    /// - Parameters:
    ///   - capacity: tokens of a batch at most.
    ///   - alignment: rows each expert's block is a multiple of.
    package init(experts: Int, topK: Int, capacity: Int, alignment: Int = 1) {
        precondition(experts > 0 && topK > 0 && capacity > 0 && alignment > 0)
        self.experts = experts
        self.topK = topK
        self.alignment = alignment
        starts = Array(repeating: 0, count: experts + 1)
        counts = Array(repeating: 0, count: experts)
        demand = counts
        rows = Array(repeating: -1, count: capacity * topK)
        tokens = Array(
            repeating: -1,
            count: Self.rowCapacity(
                experts: experts, choices: capacity * topK, alignment: alignment))
    }

    /// Rows at most, padding included.
    package static func rowCapacity(experts: Int, choices: Int, alignment: Int) -> Int {
        choices + experts * (alignment - 1)
    }

    /// Rows of the last batch, padding included.
    package var rowCount: Int { starts[experts] }

    package func range(of expert: Int) -> Range<Int> { starts[expert]..<starts[expert + 1] }

    /// - Parameters:
    ///   - choices: experts by `[token][choice]`; -1: none, neither demanded nor dropped.
    ///   - tokenCount: tokens of the batch, whole sequences.
    ///   - sequence: tokens of a sequence: the unit in which `limit` counts, so that what is dropped does not
    ///     depend on which sequences are computed together.
    ///   - limit: rows an expert takes of one sequence, in the order of tokens, so that no token is dropped
    ///     for a later one; nil: all.
    package mutating func build(
        _ choices: [Int32], tokenCount: Int, sequence: Int, limit: Int?
    ) {
        precondition(tokenCount * topK <= rows.count && choices.count >= tokenCount * topK)
        precondition(sequence > 0 && tokenCount % sequence == 0, "whole sequences only")
        for expert in 0..<experts { (counts[expert], demand[expert]) = (0, 0) }
        dropped = 0
        admit(choices, tokenCount, sequence, limit)
        var end = 0
        for expert in 0..<experts {
            starts[expert] = end
            end += (counts[expert] + alignment - 1) / alignment * alignment
        }
        starts[experts] = end
        for row in 0..<end { tokens[row] = -1 }
        // A choice's place among its expert's rows becomes a row of all.
        for token in 0..<tokenCount {
            for slot in token * topK..<(token + 1) * topK where rows[slot] >= 0 {
                let row = Int(rows[slot]) + starts[Int(choices[slot])]
                rows[slot] = Int32(row)
                tokens[row] = Int32(token)
            }
        }
    }

    /// Sets `rows` to each choice's place among those of its expert.
    private mutating func admit(
        _ choices: [Int32], _ tokenCount: Int, _ sequence: Int, _ limit: Int?
    ) {
        var before = counts
        for token in 0..<tokenCount {
            if limit != nil, token % sequence == 0 { before = counts }
            for slot in token * topK..<(token + 1) * topK {
                let expert = Int(choices[slot])
                guard expert >= 0 else {
                    rows[slot] = -1
                    continue
                }
                demand[expert] += 1
                if let limit, counts[expert] - before[expert] >= limit {
                    rows[slot] = -1
                    dropped += 1
                } else {
                    rows[slot] = Int32(counts[expert])
                    counts[expert] += 1
                }
            }
        }
    }
}
