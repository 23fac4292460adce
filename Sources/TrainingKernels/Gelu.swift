/// GELU in its exact form, gelu(x) = x Phi(x), and its slope Phi(x) + x phi(x), in one pass.
///
/// Phi is the normal distribution function. Its tail follows Abramowitz and Stegun 7.1.26:
/// Q(|x|) = t (a1 + t (a2 + ...)) e^(-x^2/2) / 2, t = 1 / (1 + p |x| / sqrt 2), absolute error
/// below 1.5e-7 (plus rounding); the exponential is shared with phi.
@usableFromInline
package enum Gelu {
    /// - Parameters:
    ///   - hidden: in: the arguments; out: the slope, for the backward pass.
    ///   - activated: the result; both lengths are equal multiples of eight.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func forward(hidden: Floats, activated: Floats) {
        precondition(hidden.count == activated.count && hidden.count % laneCount == 0)
        var index = 0
        while index + wideLaneCount <= hidden.count {
            let (value, slope) = valueAndSlope(hidden.wideLanes(at: index))
            activated.store(value, at: index)
            hidden.store(slope, at: index)
            index += wideLaneCount
        }
        while index < hidden.count {
            let (value, slope) = valueAndSlope(hidden.lanes(at: index))
            activated.store(value, at: index)
            hidden.store(slope, at: index)
            index += laneCount
        }
    }

    /// The same for rows to which `bias` has yet to be added: saves writing it into the rows beforehand.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func forward(hidden: Floats, bias: Floats, activated: Floats) {
        let width = bias.count
        precondition(hidden.count == activated.count && width % laneCount == 0 && width > 0)
        precondition(hidden.count % width == 0)
        for row in stride(from: 0, to: hidden.count, by: width) {
            var column = 0
            while column + wideLaneCount <= width {
                let index = row + column
                let (value, slope) = valueAndSlope(
                    hidden.wideLanes(at: index) + bias.wideLanes(at: column))
                activated.store(value, at: index)
                hidden.store(slope, at: index)
                column += wideLaneCount
            }
            guard column < width else { continue }
            let index = row + column
            let (value, slope) = valueAndSlope(hidden.lanes(at: index) + bias.lanes(at: column))
            activated.store(value, at: index)
            hidden.store(slope, at: index)
        }
    }

    /// `gradient *= slope`, element by element.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func backward(gradient: Floats, slope: Floats) {
        precondition(gradient.count == slope.count && gradient.count % laneCount == 0)
        var index = 0
        while index < gradient.count {
            gradient.store(gradient.lanes(at: index) * slope.lanes(at: index), at: index)
            index += laneCount
        }
    }

    /// The same, and `biasGradient[c] += sum over r of gradient[r, c]` of what comes of it, rows in ascending
    /// order as in `RowKernels.addColumnSums`, while they are at hand.
    ///
    /// - Parameter scratch: as long as the bias.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func backward(
        gradient: Floats, slope: Floats, biasGradient: Floats, scratch: Floats
    ) {
        let width = biasGradient.count
        precondition(gradient.count == slope.count && scratch.count == width && width > 0)
        precondition(width % laneCount == 0 && gradient.count % width == 0)
        scratch.fill(with: 0)
        for row in stride(from: 0, to: gradient.count, by: width) {
            for column in stride(from: 0, to: width, by: laneCount) {
                let index = row + column
                let product = gradient.lanes(at: index) * slope.lanes(at: index)
                gradient.store(product, at: index)
                scratch.store(scratch.lanes(at: column) + product, at: column)
            }
        }
        RowKernels.add(scratch, to: biasGradient)
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    package static func valueAndSlope(_ x: Lanes) -> (value: Lanes, slope: Lanes) {
        let zero = Lanes(repeating: 0)
        let magnitude = x.replacing(with: zero - x, where: x .< zero)
        let t = Lanes(repeating: 1) / (magnitude * 0.231_641_888 + 1)
        let density = exponential(x * x * -0.5)
        var tail = t * 0.530_702_714 - 0.726_576_013
        tail = tail * t + 0.710_706_871
        tail = tail * t - 0.142_248_368
        tail = tail * t + 0.127_414_796
        tail = tail * t * density
        let phi = tail.replacing(with: 1 - tail, where: x .> zero)
        return (x * phi, phi + x * density * 0.398_942_28)
    }

    /// The same in sixteen lanes, to the bit.
    @_alwaysEmitIntoClient
    @inline(__always)
    package static func valueAndSlope(_ x: WideLanes) -> (value: WideLanes, slope: WideLanes) {
        let zero = WideLanes(repeating: 0)
        let magnitude = x.replacing(with: zero - x, where: x .< zero)
        let t = WideLanes(repeating: 1) / (magnitude * 0.231_641_888 + 1)
        let density = exponential(x * x * -0.5)
        var tail = t * 0.530_702_714 - 0.726_576_013
        tail = tail * t + 0.710_706_871
        tail = tail * t - 0.142_248_368
        tail = tail * t + 0.127_414_796
        tail = tail * t * density
        let phi = tail.replacing(with: 1 - tail, where: x .> zero)
        return (x * phi, phi + x * density * 0.398_942_28)
    }
}
