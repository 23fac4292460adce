import ExpertRouting
import TrainingKernels

/// The choices of one step's tokens where some experts are computed in one region only
/// (``HomeRouting``), with the step's budget.
final class HomeGate {
    let crossing: TokenCrossing
    private(set) var counts: CrossingCounts
    private var allowance: CrossingAllowance
    private var routing: HomeRouting

    /// - Parameters:
    ///   - capacity: tokens of a pass at most.
    ///   - passes: of this step.
    init(_ experts: ExpertShape, _ crossing: TokenCrossing, capacity: Int, passes: Int) {
        self.crossing = crossing
        counts = CrossingCounts(
            wanted: Array(repeating: 0, count: crossing.owners.count * experts.count),
            crossed: crossing.budgets.map { _ in 0 })
        allowance = CrossingAllowance(
            budgets: crossing.budgets, parts: crossing.owners.count * max(1, passes))
        routing = HomeRouting(experts.gate, capacity: capacity)
    }

    /// Changes the choices of tokens that have to stay.
    ///
    /// - Parameter part: of the step's budget, block after block and pass after pass.
    /// - Returns: whether any was changed.
    func limit(
        _ kept: ExpertActivations, layer: Int, part: Int, logits: Span<Float>, stride: Int,
        bias: Span<Float>
    ) -> Bool {
        var allowance = allowance
        let outcome = routing.limit(
            &kept.batch, owners: crossing.owners[layer], region: crossing.region,
            regions: crossing.budgets.count, logits: logits, stride: stride, bias: bias,
            mayLeave: { allowance.take($0, part: part) })
        self.allowance = allowance
        kept.isOwn = routing.isOwn
        kept.stays = routing.stays
        let first = layer * routing.wanted.count
        for (expert, count) in routing.wanted.enumerated() {
            counts.wanted[first + expert] += UInt32(count)
        }
        for (region, count) in outcome.crossed.enumerated() { counts.crossed[region] += count }
        counts.stayed += outcome.stayed
        counts.changed += outcome.changed
        return outcome.stayed > 0
    }
}
