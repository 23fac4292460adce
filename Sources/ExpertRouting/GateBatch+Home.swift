extension GateBatch {
    /// One token's choices become those of a gate that had fewer experts to choose from: the same logits,
    /// and so the same scores.
    package mutating func replace(_ token: Int, with home: GateBatch) {
        precondition(home.gate.topK == gate.topK && token < home.tokens, "another batch")
        for slot in token * gate.topK..<(token + 1) * gate.topK {
            experts[slot] = home.experts[slot]
            weights[slot] = home.weights[slot]
        }
        cutoffs[token] = home.cutoffs[token]
    }
}
