import ClusterModel
import Coordination
import ExpertRouting
import WireProtocol

/// What the tokens of a modelled step want and where they go: each choice of an expert is a token of its
/// own, experts have the shares that they are said to have, and the budget is used up as in a real step
/// (``CrossingAllowance``).
struct RoutedStep {
    /// Choices by expert, block after block, before any was changed.
    private(set) var wanted: [UInt32]
    /// By layer of a pass and by region: tokens that go there.
    private(set) var leaving: [[Int]] = []
    /// Tokens that wanted to leave and had to stay.
    private(set) var stayed = 0
    /// Of the step, times layers.
    let tokens: Int
    let hasOwners: Bool

    /// - Parameter shares: of the tokens that choose each expert, block after block.
    init(
        _ plan: ActivePlan, shares: [Float], model: RunConfiguration.Model, regions: Int
    ) {
        let layers = plan.plan.experts.count
        let (own, passes) = (
            Int(plan.me.microBatch) * model.context, Self.passes(Int(plan.me.microBatch), model)
        )
        tokens = own * layers
        let owners = plan.plan.expertOwners.map(\.region)
        hasOwners = owners.contains { $0 != .none }
        wanted = Array(repeating: 0, count: shares.count)
        var allowance = CrossingAllowance(
            budgets: (0..<regions).map {
                $0 == plan.me.region.index ? 0 : plan.tokenBudget(to: RegionID($0))
            }, parts: max(1, layers * passes))
        for pass in 0..<passes {
            let present = own * (pass + 1) / passes - own * pass / passes
            var first = 0
            for (layer, block) in plan.plan.experts.enumerated() {
                var abroad = Array(repeating: 0, count: regions)
                for expert in first..<first + Int(block.count) {
                    let count = Int((Double(shares[expert]) * Double(present)).rounded())
                    wanted[expert] += UInt32(count)
                    guard hasOwners, owners[expert] != .none, owners[expert] != plan.me.region
                    else { continue }
                    abroad[owners[expert].index] += count
                }
                first += Int(block.count)
                leaving.append(
                    abroad.enumerated().map { region, count in
                        let most = min(count, present)
                        let left = (0..<most).count { _ in
                            allowance.take([region], part: pass * layers + layer)
                        }
                        stayed += most - left
                        return left
                    })
            }
        }
    }

    /// In how many passes a trainer computes so many sequences.
    static func passes(_ sequences: Int, _ model: RunConfiguration.Model) -> Int {
        let most = RunConfiguration.Model.sequencesPerPass(
            context: model.context, hasExperts: true)
        return max(1, (sequences + most - 1) / most)
    }

    /// Where nothing is computed: the use of a block's experts falls evenly from 1.9 times the mean to a
    /// tenth of it, in all regions alike.
    static func modelledShares(_ plan: ActivePlan, topK: Int) -> [Float] {
        plan.plan.experts.flatMap { block in
            (0..<Int(block.count)).map { expert in
                let place = Float(Int(block.count) - 1 - expert) / Float(max(1, block.count - 1))
                return min(1, Float(topK) * (0.1 + 1.8 * place) / Float(block.count))
            }
        }
    }
}

/// What became of a modelled worker's tokens, over all steps.
struct ModelledCrossing {
    /// Nil before the first step under a plan with owners.
    private(set) var total: RunEvent.TokensCrossed?
    private var last: UInt32 = 0
    /// Of the step under way.
    var routed: RoutedStep?

    /// A step, which counts once however often it is computed. A token that has to stay changes one choice.
    mutating func note(_ step: UInt32, regions: Int) {
        guard let routed, routed.hasOwners, step > last else { return }
        last = step
        var sum = total ?? RunEvent.TokensCrossed(regions: regions)
        sum.steps += 1
        sum.tokens += UInt64(routed.tokens)
        for part in routed.leaving {
            for region in 0..<regions { sum.crossed[region] += UInt64(part[region]) }
        }
        sum.stayed += UInt64(routed.stayed)
        sum.changed += UInt64(routed.stayed)
        total = sum
    }
}
