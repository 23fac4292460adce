/// What a tensor is for; weight decay and initial values depend on it.
package enum TensorKind: String, Codable, Sendable {
    case embedding, matrix, bias, norm
    /// What a gate adds to scores to choose, not to weigh. No gradient trains it: its part of the gradient
    /// vector carries the experts' shares of the step's tokens (docs/decisions/0010).
    case selectionBias = "selection_bias"
    /// No parameter at all, always zero: its part of the gradient vector carries counts.
    case statistic
}

/// One named tensor inside the flat parameter vector.
package struct TensorSpec: Codable, Sendable, Equatable {
    /// The name PyTorch would give it, for example `blocks.0.attention.output.weight`.
    package let name: String
    /// Row-major; matrices are [outputs, inputs].
    package let shape: [Int]
    /// Its elements in the flat vector.
    package let range: Range<Int>
    /// The block it belongs to; nil for embeddings, final norm and head.
    package let layer: Int?
    package let kind: TensorKind

    package init(
        name: String, shape: [Int], range: Range<Int>, layer: Int?, kind: TensorKind
    ) {
        self.name = name
        self.shape = shape
        self.range = range
        self.layer = layer
        self.kind = kind
    }

    /// Whether the optimiser steps it on a gradient. Untrained tensors lie behind all trained ones.
    package var isTrained: Bool {
        switch kind {
        case .embedding, .matrix, .bias, .norm: true
        case .selectionBias, .statistic: false
        }
    }

    /// A matrix of one of the routed experts (`ExpertShape.append`).
    var isExpertMatrix: Bool { kind == .matrix && name.contains(".experts.") }

    /// Which of the block's routed experts it belongs to; nil: none.
    var routedExpert: Int? {
        guard let name = name.split(separator: ".experts.").dropFirst().first else { return nil }
        return name.split(separator: ".").first.flatMap { Int($0) }
    }

    /// Weight decay applies to embeddings and matrices, not to biases and norms.
    package var decays: Bool {
        switch kind {
        case .embedding, .matrix: true
        case .bias, .norm, .selectionBias, .statistic: false
        }
    }
}

/// Builds the list of tensors, one after the other without gaps.
struct TensorList {
    private(set) var tensors: [TensorSpec] = []
    private var end = 0

    mutating func append(_ name: String, _ shape: [Int], _ layer: Int?, _ kind: TensorKind) {
        let count = shape.reduce(1, *)
        tensors.append(
            TensorSpec(
                name: name, shape: shape, range: end..<(end + count), layer: layer, kind: kind))
        end += count
    }

    /// Appends `name.weight` and `name.bias`; the bias has one element per row of the weight.
    mutating func appendPair(
        _ name: String, _ shape: [Int], _ layer: Int?, _ kind: TensorKind
    ) {
        append(name + ".weight", shape, layer, kind)
        append(name + ".bias", [shape[0]], layer, kind == .norm ? .norm : .bias)
    }
}
