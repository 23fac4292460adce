package import ClusterModel
import ExpertRouting

/// Which experts tokens would like, step by step: logits for the gate. Equal seeds give equal tokens.
package struct RoutingTrace: Sendable {
    /// Shares of the choices that a run had recorded.
    package struct Recorded: Codable, Equatable, Sendable {
        /// `[step][region][layer][expert]`; regions and layers beyond these begin again from the first.
        package var shares: [[[[Double]]]]
        package init(shares: [[[[Double]]]]) { self.shares = shares }
    }

    private let scenario: RoutingScenario
    private let experts: Int
    private let seed: UInt64
    /// `[layer][expert]`, and `[layer][region][expert]`.
    private var popularity: [[Float]]
    private var own: [[[Float]]]
    private let recorded: Recorded?

    package init(
        _ scenario: RoutingScenario, experts: Int, layers: Int, regions: Int, seed: UInt64,
        recorded: Recorded? = nil
    ) {
        self.scenario = scenario
        self.experts = experts
        self.seed = seed
        self.recorded = recorded
        var generator = SeededGenerator(seed: seed ^ 0x726F_7574_6573)
        func draw() -> [Float] { (0..<experts).map { _ in generator.normal() } }
        popularity = (0..<layers).map { _ in draw() }
        own = (0..<layers).map { _ in (0..<regions).map { _ in draw() } }
    }

    /// What is popular moves; called before each step but the first.
    package mutating func advance(to step: UInt32) {
        let drift = Float(scenario.drift)
        guard drift > 0, recorded == nil else { return }
        var generator = SeededGenerator(seed: seed &+ UInt64(step) &* 0x9E37_79B9)
        // The spread stays what it is: variances of independent draws add up.
        let keeps = (1 - drift * drift).squareRoot()
        for layer in popularity.indices {
            for expert in 0..<experts {
                popularity[layer][expert] =
                    keeps * popularity[layer][expert] + drift * generator.normal()
            }
        }
    }

    /// Logits of `tokens` tokens, `[token][expert]`.
    package func logits(
        step: UInt32, layer: Int, region: Int, tokens: Int, into logits: inout [Float]
    ) {
        var generator = SeededGenerator(
            seed: seed ^ (UInt64(step) << 40 | UInt64(layer) << 20 | UInt64(region)))
        let means = means(step: step, layer: layer, region: region)
        var next = 0
        for _ in 0..<tokens {
            for expert in 0..<experts {
                let noise = recorded == nil ? Self.noise(&generator) : Self.gumbel(&generator)
                logits[next] = means[expert] + noise
                next += 1
            }
        }
    }

    private func means(step: UInt32, layer: Int, region: Int) -> [Float] {
        if let recorded {
            let steps = recorded.shares
            let regions = steps[Int(step - 1) % steps.count]
            let layers = regions[region % regions.count]
            // The top k of ln p + Gumbel noise are k draws by p without replacement.
            return layers[layer % layers.count].map { share in
                Float(RoutingDivergence.logarithm(max(share, 1e-9)))
            }
        }
        let (skew, topics) = (Float(scenario.skew), Float(scenario.topics))
        return (0..<experts).map { expert in
            skew * popularity[layer][expert] + topics * own[layer][region][expert]
        }
    }

    /// Four uniforms of 16 bits from one draw, scaled to variance 1: near enough to a normal one.
    private static func noise(_ generator: inout SeededGenerator) -> Float {
        let bits = generator.next()
        let sum =
            (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        return (Float(sum) * 0x1p-16 - 2) * 1.732_050_8
    }

    private static func gumbel(_ generator: inout SeededGenerator) -> Float {
        let uniform = (Double(generator.next() >> 11) + 0.5) * 0x1p-53
        let exponential = -RoutingDivergence.logarithm(uniform)
        return Float(-RoutingDivergence.logarithm(max(exponential, 1e-300)))
    }
}
