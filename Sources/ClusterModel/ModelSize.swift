extension RunConfiguration.Model {
    /// Values of the alphabet: the model reads and predicts bytes.
    package static let vocabulary = 256

    /// Byte embedding 256 d and positions T d, d = `width`, T = `context`.
    package var embeddingCount: UInt64 {
        UInt64(Self.vocabulary) * UInt64(width) + UInt64(context) * UInt64(width)
    }

    /// What stands together for one layer: 12 d^2 + 13 d (attention with biases 4 d^2 + 4 d, feed-forward
    /// of width 4 d with biases 8 d^2 + 5 d, two norms 4 d). With E experts of width w and s shared ones the
    /// feed-forward part is the gate E d, E experts of 2 w d + w + d and the shared ones as one of width
    /// s w.
    package var layerCount: UInt64 {
        let d = UInt64(width)
        return 4 * d * d + 8 * d + feedForwardCount
    }

    /// Values of the decoder-only transformer with L = `layers`, in the order of the flat vector:
    /// embeddings, L layers, final norm 2 d, and the head 256 d + 256, which costs nothing when it is tied
    /// to the embedding; then, per layer, E selection biases, under quantile balancing with 1,000 bins
    /// each, which no gradient trains. Of a synthetic model the number it is.
    package var parameterCount: UInt64 {
        if let synthetic { return UInt64(synthetic) }
        let d = UInt64(width)
        let vocabulary = UInt64(Self.vocabulary)
        let head = tiedHead ? 0 : vocabulary * d + vocabulary
        return embeddingCount + UInt64(layers) * (layerCount + gateStateCount) + 2 * d + head
    }

    /// Elements of one expert, two products with biases; 0 for a dense model.
    package var expertElements: UInt64 {
        let d = UInt64(width)
        return experts.map { 2 * UInt64($0.width) * d + UInt64($0.width) + d } ?? 0
    }

    /// Elements of a layer before its first expert: attention, norms, gate.
    package var expertOffset: UInt64 {
        let d = UInt64(width)
        return 4 * d * d + 8 * d + UInt64(experts?.count ?? 0) * d
    }

    private var feedForwardCount: UInt64 {
        let d = UInt64(width)
        func layer(_ width: Int) -> UInt64 { 2 * UInt64(width) * d + UInt64(width) + d }
        guard let experts else { return layer(4 * width) }
        return UInt64(experts.count) * (d + layer(experts.width))
            + (experts.shared > 0 ? layer(experts.shared * experts.width) : 0)
    }

    private var gateStateCount: UInt64 {
        guard let experts else { return 0 }
        let state = experts.balance == .quantile ? Experts.histogramBins + 1 : 1
        return UInt64(experts.count) * UInt64(state)
    }
}
