/// Which elements of the flat parameter vector belong to which fragment: fragment p has the layers l
/// with l mod P = p, so that each fragment has layers of all depths (Streaming DiLoCo, arXiv
/// 2501.18512, section 3.1, "strided"); embeddings go with the first fragment, final norm and head
/// with the last.
///
/// A pure function of model and P: coordinator, check and simulator compute the same.
package enum FragmentLayout {
    /// Elements of each fragment as ascending, disjoint ranges that together are 0 ..< `elements`.
    ///
    /// - Parameter elements: of the vector. Where it is not the model's own number (a simulator's small
    ///   tensors), and of a synthetic model, it is cut into as many equal parts as the model has layers.
    package static func ranges(
        of model: RunConfiguration.Model, elements: UInt64, fragments: Int
    ) -> [[Range<UInt64>]] {
        precondition(fragments > 0, "no fragments")
        guard fragments > 1 else { return [[0..<elements]] }
        precondition(fragments <= model.layers, "more fragments than layers")
        var layout = [[Range<UInt64>]](repeating: [], count: fragments)
        for (index, block) in blocks(of: model, elements: elements).enumerated() {
            let fragment =
                switch index {
                case 0: 0
                case model.layers + 1: fragments - 1
                default: (index - 1) % fragments
                }
            append(block, to: &layout[fragment])
        }
        return layout
    }

    /// Embeddings, each layer, and what follows the last layer: `layers` + 2 ranges without gaps.
    private static func blocks(
        of model: RunConfiguration.Model, elements: UInt64
    ) -> [Range<UInt64>] {
        let layers = UInt64(model.layers)
        var ends: [UInt64] = []
        if model.synthetic == nil, elements == model.parameterCount {
            let embedding = model.embeddingCount
            ends = (0...layers).map { embedding + $0 * model.layerCount }
        } else {
            ends = (0...layers).map { $0 * elements / layers }
        }
        var start: UInt64 = 0
        return (ends + [elements]).map { end in
            defer { start = end }
            return start..<end
        }
    }

    private static func append(_ block: Range<UInt64>, to ranges: inout [Range<UInt64>]) {
        guard !block.isEmpty else { return }
        if let last = ranges.last, last.upperBound == block.lowerBound {
            ranges[ranges.count - 1] = last.lowerBound..<block.upperBound
        } else {
            ranges.append(block)
        }
    }
}
