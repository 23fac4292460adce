import ClusterModel
import ExpertRouting

/// What may cross between regions in a simulation of routing: the prices, allowances and choices of a real
/// run, where a routed token stands for many.
struct RoutingBudget {
    /// `[from][to]`: tokens that may leave in a step, all layers together.
    let tokens: [[Int]]
    private(set) var routing: HomeRouting
    private let layers: Int
    /// Of this step, by region of the tokens.
    private var allowances: [CrossingAllowance] = []

    init(_ shape: RoutingShape) {
        layers = shape.layers
        tokens = shape.devices.indices.map { from in
            shape.devices.indices.map { to in
                from == to ? 0 : Int(shape.tokensThatMayCross(from, to))
            }
        }
        routing = HomeRouting(shape.gate(), capacity: shape.scenario.tokens)
        beginStep()
    }

    mutating func beginStep() {
        allowances = tokens.map { CrossingAllowance(budgets: $0, parts: layers) }
    }

    /// - Parameter scale: tokens that each of the batch stands for.
    mutating func limit(
        _ batch: inout GateBatch, owners: [Int?], region: Int, layer: Int, scale: Double,
        logits: Span<Float>, bias: Span<Float>
    ) -> HomeRouting.Outcome {
        var allowance = allowances[region]
        defer { allowances[region] = allowance }
        return routing.limit(
            &batch, owners: owners, region: region, regions: tokens.count, logits: logits,
            stride: owners.count, bias: bias,
            mayLeave: { allowance.take($0, part: layer, count: scale) })
    }

    /// Of this step: used / allowed over all directions.
    var usedShare: Double {
        let all = tokens.reduce(0) { $0 + $1.reduce(0, +) }
        let used = allowances.reduce(0) { $0 + $1.used.reduce(0, +) }
        return all > 0 ? used / Double(all) : 0
    }
}
