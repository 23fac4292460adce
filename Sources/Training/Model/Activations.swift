import TrainingKernels

/// What one block keeps between the forward and the backward pass; N = tokens of one pass.
struct BlockActivations {
    /// N x d: the residual stream entering the block.
    let input: Floats
    /// Mean and reciprocal deviation per token.
    let attentionStatistics: Floats
    let attentionNormed: Floats
    /// N x 3d: queries, keys, values side by side; heads are column groups of each.
    let queryKeyValue: Floats
    /// sequences x heads x context x scoreStride.
    let probabilities: Floats
    let attended: Floats
    /// N x d: the residual stream between attention and feed-forward.
    let middle: Floats
    let feedForwardStatistics: Floats
    let feedForwardNormed: Floats
    /// N x 4d (N x width of the shared experts): after the forward pass, the slope of GELU.
    let slope: Floats
    let activated: Floats
    let experts: ExpertActivations?
}

/// All activations and scratch space of one pass over at most `sequences` sequences, allocated once.
final class Activations {
    let sequences: Int
    let scoreStride: Int
    let blocks: [BlockActivations]
    /// N x d: the residual stream after the last block.
    let output: Floats
    let finalStatistics: Floats
    let finalNormed: Floats
    /// N x vocabulary: logits, then their gradient.
    let logits: Floats
    // Gradients, reused by every block.
    let streamGradient: Floats
    let normedGradient: Floats
    let wideGradient: Floats
    /// One head's scores gradient: context x scoreStride.
    let scoreGradient: Floats
    let expertScratch: ExpertScratch?
    private let storage: FloatStorage

    init(shape: ModelShape, sequences: Int) {
        self.sequences = sequences
        let scoreStride = (shape.context + laneCount - 1) / laneCount * laneCount
        self.scoreStride = scoreStride
        let tokens = sequences * shape.context
        let d = shape.dModel
        let wide = max(shape.hiddenWidth, 3 * d)
        let scores = sequences * shape.heads * shape.context * scoreStride
        let block = tokens * (8 * d + 4 + 2 * shape.hiddenWidth) + scores
        let ends = tokens * (2 * d + 2 + shape.vocabulary)
        let gradients = tokens * (2 * d + wide) + shape.context * scoreStride
        // Each view starts on a cache line: up to 16 floats of padding per view.
        let padding = 16 * (11 * shape.layers + 8)
        let storage = FloatStorage(count: block * shape.layers + ends + gradients + padding)
        self.storage = storage
        var end = 0
        func take(_ count: Int) -> Floats {
            defer { end = (end + count + 15) & ~15 }
            return storage.floats.part(end, count)
        }
        blocks = (0..<shape.layers).map { _ in
            BlockActivations(
                input: take(tokens * d), attentionStatistics: take(tokens * 2),
                attentionNormed: take(tokens * d), queryKeyValue: take(tokens * 3 * d),
                probabilities: take(scores), attended: take(tokens * d), middle: take(tokens * d),
                feedForwardStatistics: take(tokens * 2), feedForwardNormed: take(tokens * d),
                slope: take(tokens * shape.hiddenWidth),
                activated: take(tokens * shape.hiddenWidth),
                experts: shape.experts.map {
                    ExpertActivations($0, shape: shape, sequences: sequences)
                })
        }
        output = take(tokens * d)
        finalStatistics = take(tokens * 2)
        finalNormed = take(tokens * d)
        logits = take(tokens * shape.vocabulary)
        streamGradient = take(tokens * d)
        normedGradient = take(tokens * d)
        wideGradient = take(tokens * wide)
        scoreGradient = take(shape.context * scoreStride)
        expertScratch = shape.experts.map { ExpertScratch($0, shape: shape, sequences: sequences) }
    }
}
