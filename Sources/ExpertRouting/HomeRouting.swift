/// The choices of a batch where some experts are computed in one region only: a token that wants those of
/// other regions goes there if it may; else it chooses again with what its own region computes.
package struct HomeRouting: Sendable {
    /// What became of a batch's tokens.
    package struct Outcome: Equatable, Sendable {
        /// By region that they left for; one that leaves for two counts for both.
        package var crossed: [Int]
        /// Tokens that left at all.
        package var left = 0
        /// Tokens that wanted to leave and had to stay, and how many of their choices that changed.
        package var stayed = 0
        package var changed = 0
    }

    /// Of the last batch of which any had to stay, every token as if it had to.
    package private(set) var home: GateBatch
    /// Of the last batch: which tokens had to stay.
    package private(set) var stays: [Bool] = []
    /// By expert, that the region of the last batch computes it.
    package private(set) var isOwn: [Bool] = []
    /// Choices by expert of the last batch before any was changed.
    package private(set) var wanted: [Int] = []
    private var bias: [Float] = []

    /// Keeps an expert from being chosen, and is a number, so that sums with it are.
    private static let never: Float = -1e9

    /// - Parameters:
    ///   - gate: of free tokens. One that has to stay has all its region's experts to choose from, in one
    ///     group.
    ///   - capacity: tokens of a batch at most.
    package init(_ gate: ExpertGate, capacity: Int) {
        home = GateBatch(
            gate: ExpertGate(
                groupSizes: [gate.experts], keptGroups: 1, topK: gate.topK, scoring: gate.scoring,
                normalises: gate.normalises), capacity: capacity)
    }

    /// Changes the choices of tokens that have to stay.
    ///
    /// - Parameters:
    ///   - batch: routed with these logits and biases.
    ///   - owners: by expert, the region that computes it alone; nil: every region does.
    ///   - region: of the batch.
    ///   - regions: how many there are.
    ///   - mayLeave: asked in the order of tokens, whether one may go to all of these regions.
    package mutating func limit(
        _ batch: inout GateBatch, owners: [Int?], region: Int, regions: Int, logits: Span<Float>,
        stride: Int, bias: Span<Float>, mayLeave: ([Int]) -> Bool
    ) -> Outcome {
        let (tokens, topK) = (batch.tokens, batch.gate.topK)
        isOwn = owners.map { $0 == nil || $0 == region }
        stays = Array(repeating: false, count: tokens)
        wanted = Array(repeating: 0, count: owners.count)
        var outcome = Outcome(crossed: Array(repeating: 0, count: regions))
        var targets: [Int] = []
        for token in 0..<tokens {
            targets.removeAll(keepingCapacity: true)
            for slot in token * topK..<(token + 1) * topK {
                let expert = Int(batch.experts[slot])
                wanted[expert] += 1
                guard !isOwn[expert], let owner = owners[expert], !targets.contains(owner) else {
                    continue
                }
                targets.append(owner)
            }
            guard !targets.isEmpty else { continue }
            if mayLeave(targets) {
                outcome.left += 1
                for target in targets { outcome.crossed[target] += 1 }
                continue
            }
            if outcome.stayed == 0 {
                routeAtHome(logits, stride: stride, tokens: tokens, bias: bias)
            }
            outcome.stayed += 1
            outcome.changed += stay(token, &batch)
        }
        return outcome
    }

    private mutating func routeAtHome(
        _ logits: Span<Float>, stride: Int, tokens: Int, bias free: Span<Float>
    ) {
        bias.removeAll(keepingCapacity: true)
        for expert in isOwn.indices { bias.append(isOwn[expert] ? free[expert] : Self.never) }
        let limited = bias
        home.route(logits, stride: stride, tokens: tokens, bias: limited.span)
    }

    /// How many choices are others now.
    private mutating func stay(_ token: Int, _ batch: inout GateBatch) -> Int {
        let slots = token * batch.gate.topK..<(token + 1) * batch.gate.topK
        let old = Array(batch.experts[slots])
        batch.replace(token, with: home)
        stays[token] = true
        return slots.count { !old.contains(batch.experts[$0]) }
    }
}
