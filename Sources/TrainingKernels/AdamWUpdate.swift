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
        let (scale, keep) = (
            WideLanes(repeating: gradientScale), WideLanes(repeating: self.keep)
        )
        let (beta1, gain1) = (
            WideLanes(repeating: self.beta1), WideLanes(repeating: 1 - self.beta1)
        )
        let (beta2, gain2) = (
            WideLanes(repeating: self.beta2), WideLanes(repeating: 1 - self.beta2)
        )
        let (stepSize, root) = (
            WideLanes(repeating: self.stepSize), WideLanes(repeating: reciprocalRoot)
        )
        let epsilon = WideLanes(repeating: self.epsilon)
        var index = 0
        while index + wideLaneCount <= count {
            let g = gradients.wideLanes(at: index) * scale
            let m = first.wideLanes(at: index) * beta1 + g * gain1
            let v = second.wideLanes(at: index) * beta2 + g * g * gain2
            let change = m * stepSize / (v.squareRoot() * root + epsilon)
            first.store(m, at: index)
            second.store(v, at: index)
            parameters.store(parameters.wideLanes(at: index) * keep - change, at: index)
            index += wideLaneCount
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
