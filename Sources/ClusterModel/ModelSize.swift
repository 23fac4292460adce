extension RunConfiguration.Model {
    /// Values of the alphabet: the model reads and predicts bytes.
    package static let vocabulary = 256

    /// Trainable values of the decoder-only transformer, d = `width`, T = `context`, L = `layers`:
    /// byte embedding 256 d, positions T d, per layer 12 d^2 + 13 d (attention with biases
    /// 4 d^2 + 4 d, feed-forward of width 4 d with biases 8 d^2 + 5 d, two norms 4 d), final norm
    /// 2 d, and the head 256 d + 256, which costs nothing when it is tied to the embedding.
    ///
    /// With E experts of width w and s shared ones, a layer's feed-forward part is the gate E d, E experts of
    /// 2 w d + w + d and the shared ones as one of width s w; E selection biases, under quantile balancing
    /// with 1,000 bins each, are in the vector too, though no gradient trains them.
    package var parameterCount: UInt64 {
        let d = UInt64(width)
        let vocabulary = UInt64(Self.vocabulary)
        let embedding = vocabulary * d + UInt64(context) * d
        let layer = 4 * d * d + 8 * d + feedForwardCount
        let head = tiedHead ? 0 : vocabulary * d + vocabulary
        return embedding + UInt64(layers) * layer + 2 * d + head
    }

    private var feedForwardCount: UInt64 {
        let d = UInt64(width)
        func layer(_ width: Int) -> UInt64 { 2 * UInt64(width) * d + UInt64(width) + d }
        guard let experts else { return layer(4 * width) }
        let state = experts.balance == .quantile ? Experts.histogramBins + 1 : 1
        return UInt64(experts.count) * (d + layer(experts.width) + UInt64(state))
            + (experts.shared > 0 ? layer(experts.shared * experts.width) : 0)
    }
}
