/// Experts of one block as they lie in the flat parameter vector: `count` of them, `each` elements long, one
/// after the other from `start` on.
package struct ExpertBlock: Hashable, Codable, Sendable {
    package var start: UInt64
    package var each: UInt64
    package var count: UInt32

    package init(start: UInt64, each: UInt64, count: UInt32) {
        self.start = start
        self.each = each
        self.count = count
    }

    package var end: UInt64 { start + each * UInt64(count) }
}

extension [ExpertBlock] {
    /// Of all experts together.
    package var elements: UInt64 { reduce(0) { $0 + ($1.end - $1.start) } }
}

/// Of how many outer rounds an expert takes part in one: a power of two.
package struct ExpertPeriod: Hashable, Codable, Sendable {
    package static let everyRound = ExpertPeriod(exponent: 0)
    /// Of 2.
    package var exponent: UInt8

    package init(exponent: UInt8) { self.exponent = exponent }

    package var rounds: UInt32 { 1 << UInt32(exponent) }
}

extension FragmentLayout {
    /// The experts of every layer, in the order of the flat vector; empty for a dense model.
    ///
    /// - Parameter elements: of the vector. Where it is not the model's own number (a simulator's small
    ///   tensors), each layer's part ends with experts that together are E / (E + 1) of it.
    package static func experts(
        of model: RunConfiguration.Model, elements: UInt64
    ) -> [ExpertBlock] {
        guard let experts = model.experts else { return [] }
        let count = UInt64(experts.count)
        let layers = UInt64(model.layers)
        if elements == model.parameterCount {
            return (0..<layers).map { layer in
                ExpertBlock(
                    start: model.embeddingCount + layer * model.layerCount + model.expertOffset,
                    each: model.expertElements, count: UInt32(count))
            }
        }
        return (0..<layers).compactMap { layer in
            let start = layer * elements / layers
            let end = (layer + 1) * elements / layers
            let each = (end - start) / (count + 1)
            return each == 0
                ? nil
                : ExpertBlock(start: end - each * count, each: each, count: UInt32(count))
        }
    }
}

extension RunConfiguration {
    /// Experts whose values count by the tokens they saw; empty where everything counts by the replica's.
    ///
    /// Under `outer: every-step` a gradient is a mean over all tokens already: an expert's is small where few
    /// used it, so the mean by the replica's tokens is the one by the expert's.
    package func expertBlocks(elements: UInt64) -> [ExpertBlock] {
        guard schedule.expertWeights == .tokens, schedule.outer != .everyStep else { return [] }
        return FragmentLayout.experts(of: model, elements: elements)
    }

    /// The greatest period of a rarely used expert; 1: all are exchanged in every round.
    package var greatestExpertPeriod: UInt32 { max(1, schedule.expertRounds ?? 1) }
}
