import ExpertRouting
import TrainingKernels

/// The choices of one step's tokens where some experts are computed in one region only: a token that wants
/// those of other regions goes there while the budget lasts; after that its gate has only what its own region
/// computes.
final class HomeGate {
    let crossing: TokenCrossing
    private(set) var counts: CrossingCounts
    private var allowance: CrossingAllowance
    /// Of the last batch, every token as if it had to stay.
    private var batch: GateBatch
    private let topK: Int
    private let isOwn: [[Bool]]

    /// Keeps an expert from being chosen, and is a number, so that sums with it are.
    private static let never: Float = -1e9

    /// - Parameters:
    ///   - capacity: tokens of a pass at most.
    ///   - passes: of this step.
    init(_ experts: ExpertShape, _ crossing: TokenCrossing, capacity: Int, passes: Int) {
        self.crossing = crossing
        isOwn = crossing.isOwn
        topK = experts.topK
        counts = CrossingCounts(
            wanted: Array(repeating: 0, count: crossing.owners.count * experts.count),
            crossed: crossing.budgets.map { _ in 0 })
        allowance = CrossingAllowance(
            budgets: crossing.budgets, parts: crossing.owners.count * max(1, passes))
        batch = GateBatch(
            gate: ExpertGate(
                groupSizes: [experts.count], keptGroups: 1, topK: topK, scoring: experts.scoring,
                normalises: topK > 1), capacity: capacity)
    }

    /// Changes the choices of tokens that have to stay.
    ///
    /// - Parameter part: of the step's budget, block after block and pass after pass.
    /// - Returns: whether any was changed.
    func limit(
        _ kept: ExpertActivations, layer: Int, part: Int, logits: Span<Float>, stride: Int,
        bias: Span<Float>
    ) -> Bool {
        let (tokens, count) = (kept.batch.tokens, isOwn[layer].count)
        kept.isOwn = isOwn[layer]
        kept.stays = Array(repeating: false, count: tokens)
        var isRouted = false
        var targets: [Int] = []
        for token in 0..<tokens {
            targets.removeAll(keepingCapacity: true)
            for slot in token * topK..<(token + 1) * topK {
                let expert = Int(kept.batch.experts[slot])
                counts.wanted[layer * count + expert] += 1
                guard !isOwn[layer][expert], let owner = crossing.owners[layer][expert],
                    !targets.contains(owner)
                else { continue }
                targets.append(owner)
            }
            guard !targets.isEmpty else { continue }
            if allowance.take(targets, part: part) {
                for region in targets { counts.crossed[region] += 1 }
                continue
            }
            if !isRouted {
                let home = (0..<count).map { isOwn[layer][$0] ? bias[$0] : Self.never }
                batch.route(logits, stride: stride, tokens: tokens, bias: home.span)
                isRouted = true
            }
            stay(token, kept)
        }
        return isRouted
    }

    private func stay(_ token: Int, _ kept: ExpertActivations) {
        let slots = token * topK..<(token + 1) * topK
        let old = Array(kept.batch.experts[slots])
        kept.batch.replace(token, with: batch)
        kept.stays[token] = true
        counts.stayed += 1
        counts.changed += slots.count { !old.contains(kept.batch.experts[$0]) }
    }
}
