import TrainingKernels

/// A weight and its bias as views into one flat vector (of parameters or of gradients).
struct Affine {
    let weight: Floats
    let bias: Floats
}

/// The two products of a feed-forward layer or of an expert.
struct FeedForwardTensors {
    let up: Affine
    let down: Affine
}

/// A block's gate and experts.
struct ExpertTensors {
    /// experts x d.
    let gate: Floats
    let experts: [FeedForwardTensors]
    /// One per expert; in a gradient vector, shares of tokens.
    let selectionBias: Floats
    /// experts x bins, under quantile balancing; only the gradient vector's is used.
    let histogram: Floats?
}

/// The tensors of one block.
struct BlockTensors {
    let attentionNorm: Affine
    let queryKeyValue: Affine
    let attentionOutput: Affine
    let feedForwardNorm: Affine
    /// What every token passes: the feed-forward layer, or the shared experts as one.
    let feedForward: FeedForwardTensors?
    let experts: ExpertTensors?
}

/// All tensors of a model as views into one flat vector, in the order of `ModelShape.tensors`.
struct ModelTensors {
    let tokenEmbedding: Floats
    let positionEmbedding: Floats
    let blocks: [BlockTensors]
    let finalNorm: Affine
    /// The token embedding when the head is tied.
    let headWeight: Floats
    let headBias: Floats?

    init(shape: ModelShape, flat: Floats) {
        precondition(flat.count == shape.parameterCount)
        let tensors = shape.tensors
        var remaining = tensors.filter(\.isTrained)[...]
        var untrained = tensors.filter { !$0.isTrained }[...]
        func take() -> Floats {
            flat.part(remaining.removeFirst().range)
        }
        func takePair() -> Affine {
            let weight = take()
            return Affine(weight: weight, bias: take())
        }
        func takeFeedForward() -> FeedForwardTensors {
            let up = takePair()
            return FeedForwardTensors(up: up, down: takePair())
        }
        func takeExperts(_ experts: ExpertShape) -> ExpertTensors {
            let gate = take()
            return ExpertTensors(
                gate: gate, experts: (0..<experts.count).map { _ in takeFeedForward() },
                selectionBias: flat.part(untrained.removeFirst().range),
                histogram: experts.balance == .quantile
                    ? flat.part(untrained.removeFirst().range) : nil)
        }
        tokenEmbedding = take()
        positionEmbedding = take()
        blocks = (0..<shape.layers).map { _ in
            let attentionNorm = takePair()
            let queryKeyValue = takePair()
            let attentionOutput = takePair()
            let feedForwardNorm = takePair()
            let experts = shape.experts.map(takeExperts)
            return BlockTensors(
                attentionNorm: attentionNorm, queryKeyValue: queryKeyValue,
                attentionOutput: attentionOutput, feedForwardNorm: feedForwardNorm,
                feedForward: shape.hiddenWidth > 0 ? takeFeedForward() : nil, experts: experts)
        }
        finalNorm = takePair()
        if shape.tiedHead {
            headWeight = tokenEmbedding
            headBias = nil
        } else {
            let head = takePair()
            headWeight = head.weight
            headBias = head.bias
        }
        precondition(remaining.isEmpty && untrained.isEmpty)
    }
}
