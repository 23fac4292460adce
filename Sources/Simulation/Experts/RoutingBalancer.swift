import ClusterModel
import ExpertRouting

/// The selection biases of one layer and the rule that moves them after each step.
struct RoutingBalancer: Sendable {
    private enum Rule: Sendable {
        case none
        case bias(BiasBalancer)
        /// k / E.
        case quantile(share: Double)
    }

    private var rule: Rule
    private(set) var bias: [Float]
    /// Of this step, under `quantile`.
    private var histogram: QuantileHistogram?

    /// - Parameter isOn: otherwise biases stay 0.
    init(_ experts: RunConfiguration.Model.Experts, isOn: Bool) {
        bias = Array(repeating: 0, count: experts.count)
        switch experts.balance {
        case .bias where isOn:
            rule = .bias(
                BiasBalancer(experts: experts.count, rate: Float(experts.balanceRate)))
        case .quantile where isOn:
            rule = .quantile(share: Double(experts.topK) / Double(experts.count))
        case .bias, .quantile, .none: rule = .none
        }
    }

    /// What every expert lacks for the tokens of a batch; of no interest to rules that go by loads.
    ///
    /// - Parameters:
    ///   - routing: where some of them had to stay at home.
    ///   - weight: of a token.
    mutating func count(_ batch: GateBatch, _ routing: HomeRouting?, weight: UInt64) {
        guard case .quantile = rule else { return }
        var counts = histogram ?? QuantileHistogram(bias: bias)
        histogram = nil
        for token in 0..<batch.tokens {
            if let routing, routing.stays[token] {
                counts.add(
                    routing.home, token: token, weight: weight,
                    isCandidate: { routing.isOwn[$0] })
            } else {
                counts.add(batch, token: token, weight: weight)
            }
        }
        histogram = counts
    }

    /// - Parameter loads: of one step.
    mutating func update(_ loads: ExpertLoads) {
        switch rule {
        case .none: break
        case .bias(var balancer):
            balancer.update(loads)
            bias = balancer.bias
            rule = .bias(balancer)
        case .quantile(let share):
            guard let counts = histogram else { return }
            bias = counts.bias(share: share)
            histogram = nil
        }
    }
}
