import TrainingKernels

/// Settings of AdamW (Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019).
package struct AdamWSettings: Codable, Sendable, Equatable {
    package var beta1: Float
    package var beta2: Float
    package var epsilon: Float
    /// Applied to embeddings and matrices only.
    package var weightDecay: Float
    /// The global gradient norm above which the gradient is scaled down; nil: never.
    package var clipNorm: Float?

    package init(
        beta1: Float = 0.9, beta2: Float = 0.95, epsilon: Float = 1e-8, weightDecay: Float = 0.1,
        clipNorm: Float? = 1
    ) {
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.clipNorm = clipNorm
    }
}

/// AdamW over the flat vectors: one pass reads parameter, gradient and moments and writes three.
///
/// As PyTorch's: p -= lr wd p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// p -= lr / c1 * m / (sqrt(v) / sqrt(c2) + eps), c = 1 - b^step as a running product.
final class AdamW {
    let settings: AdamWSettings
    let firstMoment: FloatStorage
    let secondMoment: FloatStorage
    private let kernels = SelectedKernels.current
    private let segments: [(range: Range<Int>, decays: Bool)]

    /// Neighbouring tensors with equal treatment are merged; untrained ones are left out.
    init(tensors: [TensorSpec], settings: AdamWSettings) {
        self.settings = settings
        let count = tensors.last?.range.upperBound ?? 0
        firstMoment = FloatStorage(count: count)
        secondMoment = FloatStorage(count: count)
        var segments: [(range: Range<Int>, decays: Bool)] = []
        for tensor in tensors where tensor.isTrained {
            if let last = segments.last, last.decays == tensor.decays {
                segments[segments.count - 1].range =
                    last.range.lowerBound..<tensor.range.upperBound
            } else {
                segments.append((tensor.range, tensor.decays))
            }
        }
        self.segments = segments
    }

    /// - Parameters:
    ///   - ranges: ascending, what is stepped; nil: everything.
    ///   - gradientScale: factor on the gradient, from clipping.
    ///   - powers: beta1^step and beta2^step, this step included.
    func step(
        _ ranges: [Range<Int>]? = nil, parameters: Floats, gradients: Floats, learningRate: Float,
        gradientScale: Float, powers: (beta1: Double, beta2: Double)
    ) {
        let update = AdamWUpdate(
            beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
            gradientScale: gradientScale,
            stepSize: Float(Double(learningRate) / (1 - powers.beta1)),
            reciprocalRoot: Float(1 / (1 - powers.beta2).squareRoot()),
            keep: 1)
        for segment in ranges.map(segments(in:)) ?? segments {
            var update = update
            update.keep = segment.decays ? 1 - learningRate * settings.weightDecay : 1
            kernels.adamW(
                update, parameters: parameters.part(segment.range),
                gradients: gradients.part(segment.range),
                first: firstMoment.floats.part(segment.range),
                second: secondMoment.floats.part(segment.range))
        }
    }

    private func segments(in ranges: [Range<Int>]) -> [(range: Range<Int>, decays: Bool)] {
        var parts: [(range: Range<Int>, decays: Bool)] = []
        var place = 0
        for range in ranges {
            while place < segments.count, segments[place].range.upperBound <= range.lowerBound {
                place += 1
            }
            for segment in segments[place...] {
                guard segment.range.lowerBound < range.upperBound else { break }
                parts.append((segment.range.clamped(to: range), segment.decays))
            }
        }
        return parts
    }
}
