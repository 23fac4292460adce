package import TrainingKernels

/// The passes for x86-64-v3 (AVX2); call only on a processor that has it.
package enum KernelsAVX2: ElementwiseKernels {
    package static var name: String { "x86-64-v3" }

    package static func geluForward(hidden: Floats, activated: Floats) {
        Gelu.forward(hidden: hidden, activated: activated)
    }

    package static func biasGeluForward(hidden: Floats, bias: Floats, activated: Floats) {
        Gelu.forward(hidden: hidden, bias: bias, activated: activated)
    }

    package static func geluBackward(gradient: Floats, slope: Floats) {
        Gelu.backward(gradient: gradient, slope: slope)
    }

    package static func geluBackward(
        gradient: Floats, slope: Floats, biasGradient: Floats, scratch: Floats
    ) {
        Gelu.backward(
            gradient: gradient, slope: slope, biasGradient: biasGradient, scratch: scratch)
    }

    package static func layerNormForward(
        input: Floats, weight: Floats, bias: Floats, output: Floats, statistics: Floats
    ) {
        LayerNorm.forward(
            input: input, weight: weight, bias: bias, output: output, statistics: statistics)
    }

    package static func layerNormBackward(
        outputGradient: Floats, input: Floats, weight: Floats, statistics: Floats,
        inputGradient: Floats, weightGradient: Floats, biasGradient: Floats
    ) {
        LayerNorm.backward(
            outputGradient: outputGradient, input: input, weight: weight, statistics: statistics,
            inputGradient: inputGradient, weightGradient: weightGradient,
            biasGradient: biasGradient)
    }

    package static func softmaxForward(
        scores: Floats, rowStride: Int, queries: Range<Int>, keys: Int, scale: Float
    ) {
        CausalSoftmax.forward(
            scores: scores, rowStride: rowStride, queries: queries, keys: keys, scale: scale)
    }

    package static func softmaxBackward(
        probabilities: Floats, gradient: Floats, rowStride: Int, queries: Range<Int>, keys: Int,
        scale: Float
    ) {
        CausalSoftmax.backward(
            probabilities: probabilities, gradient: gradient, rowStride: rowStride,
            queries: queries, keys: keys, scale: scale)
    }

    package static func crossEntropy(
        logits: Floats, vocabulary: Int, targets: [UInt8], firstTarget: Int,
        gradientScale: Float
    ) -> Double {
        CrossEntropy.forwardBackward(
            logits: logits, vocabulary: vocabulary, targets: targets,
            firstTarget: firstTarget, gradientScale: gradientScale)
    }

    package static func repeatRow(_ bias: Floats, into matrix: Floats) {
        RowKernels.repeatRow(bias, into: matrix)
    }

    package static func sum(_ residual: Floats, bias: Floats, into result: Floats) {
        RowKernels.sum(residual, bias: bias, into: result)
    }

    package static func addColumnSums(of matrix: Floats, to sums: Floats) {
        RowKernels.addColumnSums(of: matrix, to: sums)
    }

    package static func combineRows(
        _ outputs: Floats, rows: [Int32], weights: [Float], topK: Int, width: Int,
        from first: Int, addedTo result: Floats
    ) {
        ExpertRows.combine(
            outputs, rows: rows, weights: weights, topK: topK, width: width, from: first,
            addedTo: result)
    }

    package static func combineRowsBackward(
        _ gradient: Floats, outputs: Floats, rows: [Int32], weights: [Float], topK: Int,
        width: Int, rowGradient: Floats, weightGradient: Floats
    ) {
        ExpertRows.combineBackward(
            gradient, outputs: outputs, rows: rows, weights: weights, topK: topK, width: width,
            rowGradient: rowGradient, weightGradient: weightGradient)
    }

    package static func addRows(
        _ source: Floats, rows: [Int32], topK: Int, width: Int, from first: Int,
        to result: Floats
    ) {
        ExpertRows.addRows(
            source, rows: rows, topK: topK, width: width, from: first, to: result)
    }

    package static func adamW(
        _ update: AdamWUpdate, parameters: Floats, gradients: Floats, first: Floats,
        second: Floats
    ) {
        update.apply(
            parameters: parameters, gradients: gradients, first: first, second: second)
    }
}
