extension RunConfiguration.Model {
    /// Values of the alphabet: the model reads and predicts bytes.
    package static let vocabulary = 256

    /// Trainable values of the decoder-only transformer, d = `width`, T = `context`, L = `layers`:
    /// byte embedding 256 d, positions T d, per layer 12 d^2 + 13 d (attention with biases
    /// 4 d^2 + 4 d, feed-forward of width 4 d with biases 8 d^2 + 5 d, two norms 4 d), final norm
    /// 2 d, and the head 256 d + 256, which costs nothing when it is tied to the embedding.
    package var parameterCount: UInt64 {
        let d = UInt64(width)
        let vocabulary = UInt64(Self.vocabulary)
        let embedding = vocabulary * d + UInt64(context) * d
        let layer = 12 * d * d + 13 * d
        let head = tiedHead ? 0 : vocabulary * d + vocabulary
        return embedding + UInt64(layers) * layer + 2 * d + head
    }
}
