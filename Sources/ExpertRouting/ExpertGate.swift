/// How a token's logits become experts and weights: scores, groups, top-k (DeepSeek-V3, arXiv 2412.19437,
/// section 2.1.2). A group may be a device, a worker or a region: keeping few groups bounds how many places
/// a token is sent to.
package struct ExpertGate: Equatable, Sendable {
    package enum Scoring: String, Codable, CaseIterable, Sendable {
        case softmax
        /// Each expert by itself; with normalised weights as in DeepSeek-V3.
        case sigmoid
    }

    /// Experts, in group order: group g has experts [bounds[g], bounds[g + 1]).
    package let groupBounds: [Int]
    /// Groups a token may use.
    package let keptGroups: Int
    /// Experts a token uses.
    package let topK: Int
    package let scoring: Scoring
    /// Weights of the chosen experts sum to `scale`; otherwise they are scores times `scale`.
    package let normalises: Bool
    package let scale: Float

    package var experts: Int { groupBounds[groupBounds.count - 1] }
    package var groups: Int { groupBounds.count - 1 }

    /// - Parameter groupSizes: experts of each group; regions may have unequal numbers.
    /// - Precondition: groups are not empty, and any `keptGroups` of them have `topK` experts.
    package init(
        groupSizes: [Int], keptGroups: Int, topK: Int, scoring: Scoring = .sigmoid,
        normalises: Bool = true, scale: Float = 1
    ) {
        precondition(!groupSizes.isEmpty && groupSizes.allSatisfy { $0 > 0 }, "empty group")
        precondition((1...groupSizes.count).contains(keptGroups), "\(keptGroups) kept groups")
        let fewest = groupSizes.sorted().prefix(keptGroups).reduce(0, +)
        precondition((1...fewest).contains(topK), "top-\(topK) of as few as \(fewest) experts")
        groupBounds = groupSizes.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        self.keptGroups = keptGroups
        self.topK = topK
        self.scoring = scoring
        self.normalises = normalises
        self.scale = scale
    }

    /// One chosen expert.
    package struct Choice: Equatable, Sendable {
        package var expert: Int
        package var weight: Float
    }

    /// What a token's logits lead to.
    package struct Routing: Equatable, Sendable {
        /// In descending order of biased score; combining in this order makes the sum independent of
        /// arrival.
        package var choices: [Choice]
        /// Highest biased score of an expert that was not chosen although its group was kept; nil when
        /// there is none. What quantile balancing measures against.
        package var cutoff: Float?
        package var keptGroups: [Int]
    }

    /// Unbiased scores in [0, 1] of one token.
    package func scores(_ logits: [Float]) -> [Float] {
        precondition(logits.count == experts, "\(logits.count) logits for \(experts) experts")
        switch scoring {
        case .sigmoid: return logits.map { 1 / (1 + exponential(-$0)) }
        case .softmax:
            let highest = logits.max() ?? 0
            let powers = logits.map { exponential($0 - highest) }
            let sum = powers.reduce(0, +)
            return powers.map { $0 / sum }
        }
    }

    /// Biased scores choose; unbiased ones weigh. Ties go to the lower index.
    package func route(_ logits: [Float], bias: [Float]) -> Routing {
        precondition(bias.count == experts, "\(bias.count) biases for \(experts) experts")
        let scores = scores(logits)
        let biased = zip(scores, bias).map { $0 + $1 }
        let kept = best(
            keptGroups, of: (0..<groups).map { (index: $0, score: groupScore($0, biased)) }
        )
        .map(\.index)
        let candidates = kept.sorted().flatMap { group in
            (groupBounds[group]..<groupBounds[group + 1]).map { (index: $0, score: biased[$0]) }
        }
        let ranked = best(min(topK + 1, candidates.count), of: candidates)
        let chosen = ranked.prefix(topK)
        let total = chosen.reduce(Float(0)) { $0 + scores[$1.index] }
        let factor = normalises && total > 0 ? scale / total : scale
        return Routing(
            choices: chosen.map { Choice(expert: $0.index, weight: scores[$0.index] * factor) },
            cutoff: ranked.count > topK ? ranked[topK].score : nil, keptGroups: kept)
    }

    /// The sum of a group's two highest biased scores; of a single expert, its score.
    func groupScore(_ group: Int, _ biased: [Float]) -> Float {
        var first = -Float.infinity
        var second = -Float.infinity
        for expert in groupBounds[group]..<groupBounds[group + 1] {
            let score = biased[expert]
            if score > first {
                (first, second) = (score, first)
            } else if score > second {
                second = score
            }
        }
        return second == -.infinity ? first : first + second
    }

    private func best(
        _ count: Int, of items: [(index: Int, score: Float)]
    ) -> ArraySlice<(index: Int, score: Float)> {
        items.sorted { $0.score != $1.score ? $0.score > $1.score : $0.index < $1.index }
            .prefix(count)
    }
}
