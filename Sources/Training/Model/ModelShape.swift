import TrainingKernels

/// The size of a decoder-only, byte-level transformer. Every machine of a run must use the same one.
package struct ModelShape: Codable, Sendable, Equatable {
    /// Width of the residual stream; a multiple of 8 and of `heads`.
    package var dModel: Int
    package var layers: Int
    package var heads: Int
    /// The longest sequence, in bytes.
    package var context: Int
    /// Number of different tokens: 256, the bytes.
    package var vocabulary: Int
    /// Width of the feed-forward layer divided by `dModel`.
    package var mlpRatio: Int
    /// Whether the head reuses the token embedding (and then has no bias).
    package var tiedHead: Bool

    package init(
        dModel: Int = 128, layers: Int = 2, heads: Int = 4, context: Int = 128,
        vocabulary: Int = 256, mlpRatio: Int = 4, tiedHead: Bool = false
    ) {
        self.dModel = dModel
        self.layers = layers
        self.heads = heads
        self.context = context
        self.vocabulary = vocabulary
        self.mlpRatio = mlpRatio
        self.tiedHead = tiedHead
    }

    package var headWidth: Int { dModel / heads }
    package var hiddenWidth: Int { dModel * mlpRatio }

    /// Checks every number against its limits.
    ///
    /// The limits are far above what a CPU trains (2^31 parameters at most) and keep all sizes
    /// inside BLAS's 32-bit dimensions.
    package func validate() throws(ModelShapeError) {
        try require(dModel, in: 8...16_384, "dModel")
        try require(layers, in: 1...1_024, "layers")
        try require(heads, in: 1...1_024, "heads")
        try require(context, in: 1...65_536, "context")
        try require(vocabulary, in: 256...256, "vocabulary")
        try require(mlpRatio, in: 1...16, "mlpRatio")
        if dModel % laneCount != 0 || dModel % heads != 0 {
            throw .notDivisible(dModel: dModel, heads: heads)
        }
        if parameterCount > Int(Int32.max) {
            throw .outOfRange(
                name: "parameterCount", value: parameterCount, allowed: 1...Int(Int32.max))
        }
    }

    private func require(
        _ value: Int, in allowed: ClosedRange<Int>, _ name: String
    ) throws(ModelShapeError) {
        if !allowed.contains(value) {
            throw .outOfRange(name: name, value: value, allowed: allowed)
        }
    }

    /// The number of trained floats.
    package var parameterCount: Int {
        tensors.last?.range.upperBound ?? 0
    }

    /// Every tensor in the order of the flat vector: embeddings, blocks in order, head.
    package var tensors: [TensorSpec] {
        var list = TensorList()
        list.append("token_embedding.weight", [vocabulary, dModel], nil, .embedding)
        list.append("position_embedding.weight", [context, dModel], nil, .embedding)
        for layer in 0..<layers {
            let block = "blocks.\(layer)."
            list.appendPair(block + "attention_norm", [dModel], layer, .norm)
            list.appendPair(
                block + "attention.query_key_value", [3 * dModel, dModel], layer, .matrix)
            list.appendPair(block + "attention.output", [dModel, dModel], layer, .matrix)
            list.appendPair(block + "feed_forward_norm", [dModel], layer, .norm)
            list.appendPair(block + "feed_forward.up", [hiddenWidth, dModel], layer, .matrix)
            list.appendPair(block + "feed_forward.down", [dModel, hiddenWidth], layer, .matrix)
        }
        list.appendPair("final_norm", [dModel], nil, .norm)
        if !tiedHead {
            list.appendPair("head", [vocabulary, dModel], nil, .matrix)
        }
        return list.tensors
    }
}

/// A model shape which cannot be built.
package enum ModelShapeError: Error, Equatable, CustomStringConvertible {
    case outOfRange(name: String, value: Int, allowed: ClosedRange<Int>)
    case notDivisible(dModel: Int, heads: Int)

    package var description: String {
        switch self {
        case .outOfRange(let name, let value, let allowed):
            "model shape: \(name) is \(value), allowed are \(allowed.lowerBound) to "
                + "\(allowed.upperBound)"
        case .notDivisible(let dModel, let heads):
            "model shape: dModel \(dModel) must be a multiple of 8 and of heads (\(heads))"
        }
    }
}
