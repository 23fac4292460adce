import ClusterModel
import Testing
import Training

@Suite("gradients against finite differences")
struct GradientTests {
    /// Moves each tensor along its own gradient: the loss must change by step * |gradient|.
    @Test("the slope along every tensor's gradient is its norm", arguments: [false, true])
    func slopeAlongGradient(tiedHead: Bool) throws {
        let shape = ModelShape(
            dModel: 16, layers: 2, heads: 2, context: 12, mlpRatio: 2, tiedHead: tiedHead)
        let model = try Transformer(shape: shape)
        model.initialisePerturbed(seed: 3, deviation: 0.2)
        let inputs = randomBytes(6 * shape.context, seed: 1)
        let targets = randomBytes(6 * shape.context, seed: 2)
        _ = model.forwardBackward(inputs: inputs, targets: targets)
        for tensor in shape.tensors {
            let gradient = model.gradient(tensor.range)
            let length = norm(gradient)
            try #require(length > 1e-4, "\(tensor.name) has no gradient")
            let direction = gradient.map { $0 / Float(length) }
            let step: Float = 0.01
            let slope = centralDifference(model, tensor, direction, step, inputs, targets)
            // The loss is a Float near 6: its rounding gives an error of about 1e-6 / step.
            #expect(
                abs(slope - length) < 0.01 * length + 2e-4, "\(tensor.name): \(slope), \(length)")
        }
    }

    /// Random directions also see components that the gradient lacks wrongly.
    @Test("the slope along random directions is their product with the gradient")
    func slopeAlongRandomDirections() throws {
        let shape = ModelShape(dModel: 24, layers: 1, heads: 3, context: 9, mlpRatio: 4)
        let model = try Transformer(shape: shape)
        model.initialisePerturbed(seed: 4, deviation: 0.2)
        let inputs = randomBytes(2 * shape.context, seed: 5)
        let targets = randomBytes(2 * shape.context, seed: 6)
        _ = model.forwardBackward(inputs: inputs, targets: targets)
        var generator = SeededGenerator(seed: 7)
        for tensor in shape.tensors {
            let gradient = model.gradient(tensor.range)
            let raw = gradient.map { _ in generator.normal() }
            let direction = raw.map { $0 / Float(norm(raw)) }
            let expected = zip(gradient, direction).reduce(0.0) {
                $0 + Double($1.0) * Double($1.1)
            }
            let slope = centralDifference(model, tensor, direction, 0.02, inputs, targets)
            #expect(
                abs(slope - expected) < 0.01 * abs(expected) + 3e-4,
                "\(tensor.name): \(slope), \(expected)")
        }
    }

    @Test("equal inputs give equal bytes, and passes of any size the same loss")
    func repeatable() throws {
        let shape = ModelShape(dModel: 32, layers: 2, heads: 4, context: 40)
        let model = try Transformer(shape: shape)
        model.initialise(seed: 1)
        let inputs = randomBytes(7 * shape.context, seed: 5)
        let targets = randomBytes(7 * shape.context, seed: 6)
        let first = model.forwardBackward(inputs: inputs, targets: targets)
        let gradient = model.gradient(0..<shape.parameterCount)
        #expect(model.loss(inputs: inputs, targets: targets) == first)
        #expect(model.gradient(0..<shape.parameterCount) == gradient, "loss() changed it")
        #expect(model.forwardBackward(inputs: inputs, targets: targets) == first)
        #expect(model.gradient(0..<shape.parameterCount) == gradient)
    }

    private func centralDifference(
        _ model: Transformer, _ tensor: TensorSpec, _ direction: [Float], _ step: Float,
        _ inputs: [UInt8], _ targets: [UInt8]
    ) -> Double {
        let before = model.withParameters(tensor.range) { copy($0) }
        func lossMoved(by distance: Float) -> Double {
            model.withMutableParameters(tensor.range) { span in
                for index in 0..<span.count {
                    span[index] = before[index] + distance * direction[index]
                }
            }
            return Double(model.loss(inputs: inputs, targets: targets))
        }
        let slope = (lossMoved(by: step) - lossMoved(by: -step)) / (2 * Double(step))
        _ = lossMoved(by: 0)
        return slope
    }
}
