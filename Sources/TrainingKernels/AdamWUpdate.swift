/// The element-wise arithmetic of one AdamW step with its factors.
@usableFromInline
package struct AdamWUpdate {
    @usableFromInline
    package var beta1: Float
    @usableFromInline
    package var beta2: Float
    @usableFromInline
    package var epsilon: Float
    @usableFromInline
    package var gradientScale: Float
    @usableFromInline
    package var stepSize: Float
    @usableFromInline
    package var reciprocalRoot: Float
    /// 1 - learning rate * weight decay.
    @usableFromInline
    package var keep: Float

    @usableFromInline
    package init(
        beta1: Float, beta2: Float, epsilon: Float, gradientScale: Float, stepSize: Float,
        reciprocalRoot: Float, keep: Float
    ) {
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.gradientScale = gradientScale
        self.stepSize = stepSize
        self.reciprocalRoot = reciprocalRoot
        self.keep = keep
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    package func apply(parameters: Floats, gradients: Floats, first: Floats, second: Floats) {
        let count = parameters.count
        precondition(gradients.count == count && first.count == count && second.count == count)
        let (scale, keep) = (Lanes(repeating: gradientScale), Lanes(repeating: self.keep))
        let (beta1, gain1) = (Lanes(repeating: self.beta1), Lanes(repeating: 1 - self.beta1))
        let (beta2, gain2) = (Lanes(repeating: self.beta2), Lanes(repeating: 1 - self.beta2))
        let (stepSize, root) = (Lanes(repeating: self.stepSize), Lanes(repeating: reciprocalRoot))
        let epsilon = Lanes(repeating: self.epsilon)
        var index = 0
        while index + laneCount <= count {
            let g = gradients.lanes(at: index) * scale
            let m = first.lanes(at: index) * beta1 + g * gain1
            let v = second.lanes(at: index) * beta2 + g * g * gain2
            let change = m * stepSize / (v.squareRoot() * root + epsilon)
            first.store(m, at: index)
            second.store(v, at: index)
            parameters.store(parameters.lanes(at: index) * keep - change, at: index)
            index += laneCount
        }
        while index < count {
            applyScalar(index, parameters, gradients, first, second)
            index += 1
        }
    }

    /// The same for one element: the tail, and the reference for the lanes.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func applyScalar(
        _ index: Int, _ parameters: Floats, _ gradients: Floats, _ first: Floats, _ second: Floats
    ) {
        let g = gradients[index] * gradientScale
        let m = first[index] * beta1 + g * (1 - beta1)
        let v = second[index] * beta2 + g * g * (1 - beta2)
        let change = m * stepSize / (v.squareRoot() * reciprocalRoot + epsilon)
        first[index] = m
        second[index] = v
        parameters[index] = parameters[index] * keep - change
    }
}
