/// What a model with experts sends between regions per token it trains on, and what other ways to train it
/// would send: computed, both directions of all links together, values only.
package struct ExpertTraffic: Codable, Equatable, Sendable {
    /// As configured: parameters of everything, experts too, once a round.
    package var configured: Double
    /// Gradients of everything after each step, encoded alike.
    package var everyStep: Double
    /// Experts spread over the regions, each token sent to its choices wherever they are. Without what
    /// the rest of the model would need besides.
    package var tokensCross: Double
    /// Regions besides its own that a token would be sent to in one layer, mean.
    package var foreignRegions: Double

    /// Bytes of an activation on the way: bf16.
    package static let activationBytes = 2.0

    /// Activations of a token that cross for one foreign region of one layer: out and back, forwards and
    /// backwards.
    package static let crossings = 4.0

    /// - Parameters:
    ///   - bytesPerRound: as configured, all directions.
    ///   - tokensPerStep: by region.
    ///   - workers: by region; experts are spread in proportion to them.
    package init(
        model: RunConfiguration.Model, experts: RunConfiguration.Model.Experts,
        syncEvery: UInt32, bytesPerRound: UInt64, tokensPerStep: [UInt64], workers: [Int]
    ) {
        let tokens = Double(tokensPerStep.reduce(0, +))
        everyStep = tokens > 0 ? Double(bytesPerRound) / tokens : 0
        configured = everyStep / Double(max(1, syncEvery))
        let all = Double(workers.reduce(0, +))
        let visits = workers.indices.map { region in
            Self.visits(
                experts: experts.count, of: Double(experts.count * workers[region]) / all,
                topK: experts.topK)
        }
        let sum = visits.reduce(0, +)
        foreignRegions =
            tokens > 0
            ? zip(tokensPerStep, visits).reduce(0) { $0 + Double($1.0) * (sum - $1.1) } / tokens : 0
        tokensCross =
            foreignRegions * Self.crossings * Double(model.layers) * Double(model.width)
            * Self.activationBytes
    }

    /// Chance that one of `topK` different experts of `experts`, all equally likely, is among `own`.
    private static func visits(experts: Int, of own: Double, topK: Int) -> Double {
        var none = 1.0
        for choice in 0..<topK {
            none *= max(0, Double(experts - choice) - own) / Double(experts - choice)
        }
        return 1 - none
    }
}
