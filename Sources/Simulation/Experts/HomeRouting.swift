import ClusterModel
import ExpertRouting

/// What a batch was routed with.
struct RoutedTokens {
    let logits: [Float]
    let bias: [Float]
    let region: Int
    let layer: Int
    /// Tokens that each stands for.
    let scale: Double

    init(_ logits: [Float], _ bias: [Float], region: Int, layer: Int, scale: Double) {
        self.logits = logits
        self.bias = bias
        self.region = region
        self.layer = layer
        self.scale = scale
    }
}

/// Routing under `across: budget`: a token that wants experts of other regions goes there while the budget
/// lasts; after that its gate has the experts of its own region only.
struct HomeRouting {
    private(set) var budget: CrossingBudget
    /// Of the last batch, every token as if it had to stay; routed when the first one has to.
    private(set) var batch: GateBatch
    /// Of the last batch: which tokens had to stay.
    private(set) var stays: [Bool] = []
    /// Which experts the region of the last batch has.
    private(set) var isOwn: [Bool] = []
    /// Choices by expert of the last batch before any was changed.
    private(set) var wanted: [Int] = []
    private let topK: Int

    /// Keeps an expert from being chosen, and is a number, so that sums with it are.
    private static let never: Float = -1e9

    init(_ shape: RoutingShape) {
        budget = CrossingBudget(shape)
        batch = GateBatch(gate: shape.gateAtHome(), capacity: shape.scenario.tokens)
        topK = shape.experts.topK
    }

    mutating func beginStep() { budget.beginStep() }

    /// The choices of all tokens, `[token][choice]`.
    mutating func route(
        _ tokens: RoutedTokens, _ free: GateBatch, _ sites: ExpertSites, _ tally: inout RoutingTally
    ) -> [Int32] {
        var choices = free.experts
        isOwn = sites.owners.map { $0 == nil || $0 == tokens.region }
        stays = Array(repeating: false, count: free.tokens)
        wanted = Array(repeating: 0, count: sites.owners.count)
        var isRouted = false
        for token in 0..<free.tokens {
            let slots = token * topK..<(token + 1) * topK
            var targets: [Int] = []
            for slot in slots {
                let expert = Int(choices[slot])
                wanted[expert] += 1
                guard !isOwn[expert], let owner = sites.owners[expert], !targets.contains(owner)
                else { continue }
                targets.append(owner)
            }
            guard !targets.isEmpty else { continue }
            if budget.take(tokens.scale, from: tokens.region, to: targets, layer: tokens.layer) {
                tally.crossed += tokens.scale
                continue
            }
            if !isRouted { routeAtHome(tokens, count: free.tokens) }
            isRouted = true
            stays[token] = true
            tally.stayed += tokens.scale
            let old = choices[slots]
            let new = batch.experts[slots]
            tally.changed += UInt64(new.count { !old.contains($0) })
            choices.replaceSubrange(slots, with: new)
        }
        return choices
    }

    private mutating func routeAtHome(_ tokens: RoutedTokens, count: Int) {
        let bias = zip(tokens.bias, isOwn).map { $1 ? $0 : Self.never }
        batch.route(tokens.logits.span, stride: bias.count, tokens: count, bias: bias.span)
    }
}
