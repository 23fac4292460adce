/// Layer normalisation (Ba, Kiros, Hinton 2016) over rows of `width` features, eps = 1e-5.
@usableFromInline
package enum LayerNorm {
    @_alwaysEmitIntoClient
    package static var epsilon: Float { 1e-5 }

    /// output = (input - mean) / sqrt(variance + eps) * weight + bias, row by row.
    ///
    /// - Parameters:
    ///   - statistics: two floats per row, mean and reciprocal deviation, kept for `backward`.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func forward(
        input: Floats, weight: Floats, bias: Floats, output: Floats, statistics: Floats
    ) {
        let width = weight.count
        let rows = statistics.count / 2
        precondition(input.count == rows * width && output.count == input.count)
        precondition(bias.count == width && width % laneCount == 0)
        let scale = 1 / Float(width)
        for row in 0..<rows {
            let x = input.part(row * width, width)
            let y = output.part(row * width, width)
            var sum = Lanes.zero
            for column in stride(from: 0, to: width, by: laneCount) {
                sum += x.lanes(at: column)
            }
            let average = foldedSum(sum) * scale
            let mean = Lanes(repeating: average)
            var squares = Lanes.zero
            for column in stride(from: 0, to: width, by: laneCount) {
                let centred = x.lanes(at: column) - mean
                squares += centred * centred
            }
            let inverse = 1 / (foldedSum(squares) * scale + epsilon).squareRoot()
            let reciprocal = Lanes(repeating: inverse)
            for column in stride(from: 0, to: width, by: laneCount) {
                let normal = (x.lanes(at: column) - mean) * reciprocal
                y.store(normal * weight.lanes(at: column) + bias.lanes(at: column), at: column)
            }
            statistics[2 * row] = average
            statistics[2 * row + 1] = inverse
        }
    }

    /// Adds the gradient with respect to the input to `inputGradient`, and those with respect to
    /// weight and bias to theirs.
    ///
    /// With n the normalised row and g = outputGradient * weight:
    /// inputGradient += (g - average(g) - n * average(g n)) / deviation.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func backward(
        outputGradient: Floats, input: Floats, weight: Floats, statistics: Floats,
        inputGradient: Floats, weightGradient: Floats, biasGradient: Floats
    ) {
        let width = weight.count
        let rows = statistics.count / 2
        precondition(input.count == rows * width && outputGradient.count == input.count)
        precondition(inputGradient.count == input.count && width % laneCount == 0)
        precondition(weightGradient.count == width && biasGradient.count == width)
        let scale = 1 / Float(width)
        for row in 0..<rows {
            let x = input.part(row * width, width)
            let dy = outputGradient.part(row * width, width)
            let dx = inputGradient.part(row * width, width)
            let mean = Lanes(repeating: statistics[2 * row])
            let reciprocal = Lanes(repeating: statistics[2 * row + 1])
            var sum = Lanes.zero
            var product = Lanes.zero
            for column in stride(from: 0, to: width, by: laneCount) {
                let normal = (x.lanes(at: column) - mean) * reciprocal
                let d = dy.lanes(at: column)
                let g = d * weight.lanes(at: column)
                sum += g
                product += g * normal
                weightGradient.store(weightGradient.lanes(at: column) + d * normal, at: column)
                biasGradient.store(biasGradient.lanes(at: column) + d, at: column)
            }
            let averageG = Lanes(repeating: foldedSum(sum) * scale)
            let averageGN = Lanes(repeating: foldedSum(product) * scale)
            for column in stride(from: 0, to: width, by: laneCount) {
                let normal = (x.lanes(at: column) - mean) * reciprocal
                let g = dy.lanes(at: column) * weight.lanes(at: column)
                let change = (g - averageG - normal * averageGN) * reciprocal
                dx.store(dx.lanes(at: column) + change, at: column)
            }
        }
    }
}
