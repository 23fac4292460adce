import Glibc

/// The element-wise passes written plainly, one element at a time, in double precision and with the
/// C library's functions: what the fast passes are compared with in tests.
package enum ScalarReference {
    /// x Phi(x) and its derivative.
    package static func gelu(_ x: Double) -> (value: Double, slope: Double) {
        let phi = 0.5 * (1 + erf(x / 2.0.squareRoot()))
        return (x * phi, phi + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot())
    }

    /// (x - mean) / sqrt(variance + eps) * weight + bias over one row.
    package static func layerNorm(_ x: [Double], weight: [Double], bias: [Double]) -> [Double] {
        let (mean, deviation) = moments(x)
        return x.indices.map { (x[$0] - mean) / deviation * weight[$0] + bias[$0] }
    }

    /// The gradient of `layerNorm` with respect to its input.
    package static func layerNormInputGradient(
        _ x: [Double], weight: [Double], outputGradient: [Double]
    ) -> [Double] {
        let (mean, deviation) = moments(x)
        let count = Double(x.count)
        var averageG = 0.0
        var averageGN = 0.0
        for index in x.indices {
            let g = outputGradient[index] * weight[index]
            averageG += g / count
            averageGN += g * (x[index] - mean) / deviation / count
        }
        return x.indices.map { index in
            let normal = (x[index] - mean) / deviation
            let g = outputGradient[index] * weight[index]
            return (g - averageG - normal * averageGN) / deviation
        }
    }

    /// e^x / sum of e^x.
    package static func softmax(_ x: [Double]) -> [Double] {
        let maximum = x.max() ?? 0
        let weights = x.map { exp($0 - maximum) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
    }

    /// The gradient with respect to softmax's argument, given its result p and the gradient of that.
    package static func softmaxInputGradient(_ p: [Double], outputGradient: [Double]) -> [Double] {
        var product = 0.0
        for index in p.indices {
            product += p[index] * outputGradient[index]
        }
        return p.indices.map { p[$0] * (outputGradient[$0] - product) }
    }

    /// -log softmax(logits)[target].
    package static func crossEntropy(_ logits: [Double], target: Int) -> Double {
        -log(softmax(logits)[target])
    }

    private static func moments(_ x: [Double]) -> (mean: Double, deviation: Double) {
        let count = Double(x.count)
        let mean = x.reduce(0, +) / count
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
        return (mean, (variance + 1e-5).squareRoot())
    }
}
