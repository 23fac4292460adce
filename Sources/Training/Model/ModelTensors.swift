import TrainingKernels

/// A weight and its bias as views into one flat vector (of parameters or of gradients).
struct Affine {
    let weight: Floats
    let bias: Floats
}

/// The tensors of one block.
struct BlockTensors {
    let attentionNorm: Affine
    let queryKeyValue: Affine
    let attentionOutput: Affine
    let feedForwardNorm: Affine
    let up: Affine
    let down: Affine
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
        var remaining = shape.tensors[...]
        func take() -> Floats {
            flat.part(remaining.removeFirst().range)
        }
        func takePair() -> Affine {
            let weight = take()
            return Affine(weight: weight, bias: take())
        }
        tokenEmbedding = take()
        positionEmbedding = take()
        blocks = (0..<shape.layers).map { _ in
            let attentionNorm = takePair()
            let queryKeyValue = takePair()
            let attentionOutput = takePair()
            let feedForwardNorm = takePair()
            let up = takePair()
            return BlockTensors(
                attentionNorm: attentionNorm, queryKeyValue: queryKeyValue,
                attentionOutput: attentionOutput, feedForwardNorm: feedForwardNorm,
                up: up, down: takePair())
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
        precondition(remaining.isEmpty)
    }
}
