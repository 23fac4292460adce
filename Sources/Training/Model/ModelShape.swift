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
    /// Experts in the place of every block's feed-forward layer; nil: a dense model.
    package var experts: ExpertShape?

    package init(
        dModel: Int = 128, layers: Int = 2, heads: Int = 4, context: Int = 128,
        vocabulary: Int = 256, mlpRatio: Int = 4, tiedHead: Bool = false,
        experts: ExpertShape? = nil
    ) {
        self.dModel = dModel
        self.layers = layers
        self.heads = heads
        self.context = context
        self.vocabulary = vocabulary
        self.mlpRatio = mlpRatio
        self.tiedHead = tiedHead
        self.experts = experts
    }

    package var headWidth: Int { dModel / heads }
    /// Of the feed-forward layer that every token passes; 0 where there are only routed experts.
    package var hiddenWidth: Int { experts?.sharedWidth ?? dModel * mlpRatio }

    /// Checks every number against its limits.
    ///
    /// The limits are far above what a CPU trains (2^31 parameters at most) and keep all sizes
    /// inside BLAS's 32-bit dimensions.
    package func validate() throws(ModelShapeError) {
        try Self.require(dModel, in: 8...16_384, "dModel")
        try Self.require(layers, in: 1...1_024, "layers")
        try Self.require(heads, in: 1...1_024, "heads")
        try Self.require(context, in: 1...65_536, "context")
        try Self.require(vocabulary, in: 256...256, "vocabulary")
        try Self.require(mlpRatio, in: 1...16, "mlpRatio")
        if dModel % laneCount != 0 || dModel % heads != 0 {
            throw .notDivisible(dModel: dModel, heads: heads)
        }
        try experts?.validate(context: context)
        if parameterCount > Int(Int32.max) {
            throw .outOfRange(
                name: "parameterCount", value: parameterCount, allowed: 1...Int(Int32.max))
        }
    }

    static func require(
        _ value: Int, in allowed: ClosedRange<Int>, _ name: String
    ) throws(ModelShapeError) {
        if !allowed.contains(value) {
            throw .outOfRange(name: name, value: value, allowed: allowed)
        }
    }

    /// The length of the flat vector.
    package var parameterCount: Int {
        tensors.last?.range.upperBound ?? 0
    }

    /// Elements that an optimiser trains: the flat vector without the state of gates at its end.
    package var trainedCount: Int {
        tensors.last(where: \.isTrained)?.range.upperBound ?? 0
    }

    /// Parameters a token passes: of the routed experts the `topK` chosen ones.
    package var activeParameterCount: Int {
        guard let experts else { return parameterCount }
        let expert = 2 * experts.width * dModel + experts.width + dModel
        return trainedCount - layers * (experts.count - experts.topK) * expert
    }

    /// Every tensor in the order of the flat vector: embeddings, blocks in order, head; then what no gradient
    /// trains.
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
            if let experts {
                experts.append(to: &list, block + "feed_forward.", dModel: dModel, layer: layer)
            } else {
                list.appendPair(block + "feed_forward.up", [hiddenWidth, dModel], layer, .matrix)
                list.appendPair(block + "feed_forward.down", [dModel, hiddenWidth], layer, .matrix)
            }
        }
        list.appendPair("final_norm", [dModel], nil, .norm)
        if !tiedHead {
            list.appendPair("head", [vocabulary, dModel], nil, .matrix)
        }
        if let experts {
            for layer in 0..<layers {
                experts.appendUntrained(
                    to: &list, "blocks.\(layer).feed_forward.", layer: layer)
            }
        }
        return list.tensors
    }
}

/// A model shape which cannot be built.
package enum ModelShapeError: Error, Equatable, CustomStringConvertible {
    case outOfRange(name: String, value: Int, allowed: ClosedRange<Int>)
    case notDivisible(dModel: Int, heads: Int)
    case notAMultiple(name: String, value: Int, of: Int)

    package var description: String {
        switch self {
        case .outOfRange(let name, let value, let allowed):
            "model shape: \(name) is \(value), allowed are \(allowed.lowerBound) to "
                + "\(allowed.upperBound)"
        case .notDivisible(let dModel, let heads):
            "model shape: dModel \(dModel) must be a multiple of 8 and of heads (\(heads))"
        case .notAMultiple(let name, let value, let divisor):
            "model shape: \(name) \(value) must be a multiple of \(divisor)"
        }
    }
}
