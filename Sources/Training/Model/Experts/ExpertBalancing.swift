import ExpertRouting
import TrainingKernels

/// How the experts of one block were used in a step.
package struct ExpertUse: Sendable, Equatable {
    /// Share of the choices by expert, sum 1, over all workers whose gradients were averaged; dropped choices
    /// count too.
    package var shares: [Float]
    /// Share of this worker's own choices that found their expert full.
    package var dropped: Float

    package init(shares: [Float], dropped: Float) {
        self.shares = shares
        self.dropped = dropped
    }
}

/// Counts of a step and the balancing of gates by them.
///
/// Counts travel in the gradient vector, where no tensor is trained: each worker puts in counts / tokens, and
/// the mean of gradients, weighted by tokens, is sum of counts / sum of tokens. So every member of a
/// replica ends with the same bytes, and moves its biases alike.
extension Transformer {
    /// Counts are this much smaller than shares of tokens, an exact factor. In a quantised exchange they
    /// share a block's scale with at most 255 gradients, and must not drown them.
    static let countUnit: Float = 0x1p-10

    /// Adds the pass's counts to those of the step.
    func countExperts(_ layer: Int, tokens: Int) {
        guard let kept = activations.blocks[layer].experts,
            let counts = weightGradients.blocks[layer].experts,
            let tensors = weights.blocks[layer].experts
        else { return }
        let demand = kept.plan.demand
        for expert in demand.indices { counts.selectionBias[expert] += Float(demand[expert]) }
        droppedChoices[layer] += kept.plan.dropped
        if let histogram = counts.histogram {
            let bins = tensors.selectionBias.withSpan { bias in
                QuantileBins(bias: bias.indices.map { bias[$0] })
            }
            let (gate, scores) = (kept.batch.gate, kept.batch.scores)
            let (cutoffs, keeps) = (kept.batch.cutoffs, kept.batch.keeps)
            let stays = !kept.stays.isEmpty
            for token in 0..<tokens {
                for group in 0..<gate.groups where keeps[token * gate.groups + group] {
                    for expert in gate.groupBounds[group]..<gate.groupBounds[group + 1] {
                        if stays, kept.stays[token], !kept.isOwn[expert] { continue }
                        let bin = bins.bin(cutoffs[token] - scores[token * gate.experts + expert])
                        histogram[expert * QuantileBins.count + bin] += 1
                    }
                }
            }
        }
    }

    /// Counts of the whole batch become shares of its tokens. Integers in single precision are exact up to
    /// 2^24, so the one rounding is that of the division.
    func finishCounts(tokens: Int) {
        for block in weightGradients.blocks {
            guard let counts = block.experts else { return }
            for floats in [counts.selectionBias, counts.histogram].compactMap({ $0 }) {
                for index in 0..<floats.count {
                    floats[index] = floats[index] / Float(tokens) * Self.countUnit
                }
            }
        }
    }

    /// The step's use by block, of what the gradient vector now holds; empty for a dense model.
    func expertUse(tokens: Int) -> [ExpertUse] {
        guard let experts = shape.experts else { return [] }
        return weightGradients.blocks.enumerated().map { layer, block in
            let shares = block.experts.map { values($0.selectionBias) } ?? []
            let total = shares.reduce(0, +)
            return ExpertUse(
                shares: shares.map { total > 0 ? $0 / total : 0 },
                dropped: Float(droppedChoices[layer]) / Float(max(1, tokens * experts.topK)))
        }
    }

    /// Moves the selection biases by the rule of the model's shape.
    ///
    /// - Parameter own: by block, the experts that this region computes; a region moves no others, whose
    ///   loads here say what crossed and not what was wanted. Nil: all.
    func balanceExperts(own: [[Bool]]? = nil) {
        guard let experts = shape.experts else { return }
        for (layer, (tensors, counts)) in zip(weights.blocks, weightGradients.blocks).enumerated() {
            let moving = (0..<experts.count).filter { own?[layer][$0] ?? true }
            guard let bias = tensors.experts?.selectionBias, let counts = counts.experts else {
                continue
            }
            switch experts.balance {
            case .none: break
            case .bias:
                let loads = values(counts.selectionBias)
                let directions = BiasBalancer.directions(moving.map { loads[$0] })
                for (expert, direction) in zip(moving, directions) {
                    bias[expert] += experts.balanceRate * direction
                }
            case .quantile:
                guard let histogram = counts.histogram else { continue }
                let bins = QuantileBins(bias: values(bias))
                let lacks = (0..<experts.count).map { expert in
                    values(histogram.part(expert * QuantileBins.count, QuantileBins.count))
                        .map(Double.init)
                }
                let moved = bins.bias(lacks, share: Double(experts.topK) / Double(experts.count))
                for expert in moving { bias[expert] = moved[expert] }
            }
        }
    }

    private func values(_ floats: Floats) -> [Float] {
        (0..<floats.count).map { floats[$0] }
    }
}
