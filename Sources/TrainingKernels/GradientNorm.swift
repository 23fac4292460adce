/// The global norm of a gradient, added in one fixed order: eight lanes per block of 4,096 elements,
/// blocks in double precision. Every member with the same gradient finds the same bits.
@_alwaysEmitIntoClient
@inline(__always)
package func gradientNorm(_ gradients: Floats) -> Float {
    var total = 0.0
    var start = 0
    while start < gradients.count {
        let end = min(start + 4_096, gradients.count)
        var lanes = Lanes.zero
        var index = start
        while index + laneCount <= end {
            let g = gradients.lanes(at: index)
            lanes += g * g
            index += laneCount
        }
        var tail: Float = 0
        while index < end {
            tail += gradients[index] * gradients[index]
            index += 1
        }
        total += Double(foldedSum(lanes) + tail)
        start = end
    }
    return Float(total.squareRoot())
}
