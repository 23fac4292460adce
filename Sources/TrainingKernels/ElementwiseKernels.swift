/// The element-wise passes of training, compiled for one instruction set.
///
/// All sets give equal bytes: what adds elements up works in eight lanes whatever the registers' width, and
/// multiplication and addition are rounded apart. Called once per pass, so dispatch costs nothing.
package protocol ElementwiseKernels: Sendable {
    /// "baseline", "x86-64-v3" or "x86-64-v4".
    static var name: String { get }

    /// See `Gelu.forward`.
    static func geluForward(hidden: Floats, activated: Floats)

    /// See `Gelu.forward`.
    static func biasGeluForward(hidden: Floats, bias: Floats, activated: Floats)

    /// See `Gelu.backward`.
    static func geluBackward(gradient: Floats, slope: Floats)

    /// See `Gelu.backward`.
    static func geluBackward(
        gradient: Floats, slope: Floats, biasGradient: Floats, scratch: Floats
    )

    /// See `LayerNorm.forward`.
    static func layerNormForward(
        input: Floats, weight: Floats, bias: Floats, output: Floats, statistics: Floats
    )

    /// See `LayerNorm.backward`.
    static func layerNormBackward(
        outputGradient: Floats, input: Floats, weight: Floats, statistics: Floats,
        inputGradient: Floats, weightGradient: Floats, biasGradient: Floats
    )

    /// See `CausalSoftmax.forward`.
    static func softmaxForward(
        scores: Floats, rowStride: Int, queries: Range<Int>, keys: Int, scale: Float
    )

    /// See `CausalSoftmax.backward`.
    static func softmaxBackward(
        probabilities: Floats, gradient: Floats, rowStride: Int, queries: Range<Int>, keys: Int,
        scale: Float
    )

    /// See `CrossEntropy.forwardBackward`.
    static func crossEntropy(
        logits: Floats, vocabulary: Int, targets: [UInt8], firstTarget: Int,
        gradientScale: Float
    ) -> Double

    /// See `RowKernels.repeatRow`.
    static func repeatRow(_ bias: Floats, into matrix: Floats)

    /// See `RowKernels.sum`.
    static func sum(_ residual: Floats, bias: Floats, into result: Floats)

    /// See `RowKernels.addColumnSums`.
    static func addColumnSums(of matrix: Floats, to sums: Floats)

    /// See `ExpertRows.combine`.
    static func combineRows(
        _ outputs: Floats, rows: [Int32], weights: [Float], topK: Int, width: Int,
        from first: Int, addedTo result: Floats
    )

    /// See `ExpertRows.combineBackward`.
    static func combineRowsBackward(
        _ gradient: Floats, outputs: Floats, rows: [Int32], weights: [Float], topK: Int,
        width: Int, rowGradient: Floats, weightGradient: Floats
    )

    /// See `ExpertRows.addRows`.
    static func addRows(
        _ source: Floats, rows: [Int32], topK: Int, width: Int, from first: Int,
        to result: Floats
    )

    /// See `AdamWUpdate.apply`.
    static func adamW(
        _ update: AdamWUpdate, parameters: Floats, gradients: Floats, first: Floats,
        second: Floats
    )
}
