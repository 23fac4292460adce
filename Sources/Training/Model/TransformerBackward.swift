import TrainingKernels

/// The backward pass, the forward pass's steps in reverse; gradients of weights are added up.
extension Transformer {
    func backward(
        inputs: [UInt8], firstToken: Int, sequences: Int, gradientScale: Float
    ) {
        let tokens = sequences * shape.context
        let d = shape.dModel
        let stream = activations.streamGradient.part(0, tokens * d)
        let logits = activations.logits.part(0, tokens * shape.vocabulary)
        let normed = activations.normedGradient.part(0, tokens * d)

        linearBackward(
            outputGradient: logits, input: activations.finalNormed, weight: weights.headWeight,
            weightGradient: weightGradients.headWeight, biasGradient: weightGradients.headBias,
            inputGradient: normed, tokens: tokens)
        stream.fill(with: 0)
        kernels.layerNormBackward(
            outputGradient: normed, input: activations.output.part(0, tokens * d),
            weight: weights.finalNorm.weight,
            statistics: activations.finalStatistics.part(0, tokens * 2), inputGradient: stream,
            weightGradient: weightGradients.finalNorm.weight,
            biasGradient: weightGradients.finalNorm.bias)
        for layer in (0..<shape.layers).reversed() {
            feedForwardBackward(
                layer, stream: stream, tokens: tokens, gradientScale: gradientScale)
            attentionBackward(layer, stream: stream, sequences: sequences)
        }
        embedBackward(inputs: inputs, firstToken: firstToken, stream: stream)
    }

    /// `stream` in: the gradient of the block's output; out: that of its middle.
    private func feedForwardBackward(
        _ layer: Int, stream: Floats, tokens: Int, gradientScale: Float
    ) {
        let d = shape.dModel
        let kept = activations.blocks[layer]
        let (block, gradient) = (weights.blocks[layer], weightGradients.blocks[layer])
        let normed = activations.normedGradient.part(0, tokens * d)
        if let spread { dispatchGradients(layer, spread, stream: stream) }
        if let weight = block.feedForward, let gradient = gradient.feedForward {
            let hidden = activations.wideGradient.part(0, tokens * shape.hiddenWidth)
            linearBackward(
                outputGradient: stream, input: kept.activated, weight: weight.down.weight,
                weightGradient: gradient.down.weight, biasGradient: gradient.down.bias,
                inputGradient: hidden, tokens: tokens)
            kernels.geluBackward(gradient: hidden, slope: kept.slope.part(0, hidden.count))
            linearBackward(
                outputGradient: hidden, input: kept.feedForwardNormed, weight: weight.up.weight,
                weightGradient: gradient.up.weight, biasGradient: gradient.up.bias,
                inputGradient: normed, tokens: tokens)
        } else {
            normed.fill(with: 0)
        }
        if let spread {
            combineGradients(layer, spread, normedGradient: normed, tokens: tokens)
            routeBackward(
                layer, normed: kept.feedForwardNormed, normedGradient: normed, tokens: tokens,
                gradientScale: gradientScale)
        } else if block.experts != nil {
            expertsBackward(
                layer, stream: stream, normed: kept.feedForwardNormed, normedGradient: normed,
                tokens: tokens, gradientScale: gradientScale)
        }
        kernels.layerNormBackward(
            outputGradient: normed, input: kept.middle.part(0, tokens * d),
            weight: block.feedForwardNorm.weight,
            statistics: kept.feedForwardStatistics.part(0, tokens * 2), inputGradient: stream,
            weightGradient: gradient.feedForwardNorm.weight,
            biasGradient: gradient.feedForwardNorm.bias)
    }

    /// `stream` in: the gradient of the block's middle; out: that of its input.
    private func attentionBackward(_ layer: Int, stream: Floats, sequences: Int) {
        let tokens = sequences * shape.context
        let d = shape.dModel
        let kept = activations.blocks[layer]
        let (block, gradient) = (weights.blocks[layer], weightGradients.blocks[layer])
        let projections = activations.wideGradient.part(0, tokens * 3 * d)
        let normed = activations.normedGradient.part(0, tokens * d)
        linearBackward(
            outputGradient: stream, input: kept.attended, weight: block.attentionOutput.weight,
            weightGradient: gradient.attentionOutput.weight,
            biasGradient: gradient.attentionOutput.bias, inputGradient: normed, tokens: tokens)
        attention.backward(
            sequences: sequences, queryKeyValue: kept.queryKeyValue,
            probabilities: kept.probabilities, attendedGradient: normed,
            queryKeyValueGradient: projections, scoreGradient: activations.scoreGradient)
        linearBackward(
            outputGradient: projections, input: kept.attentionNormed,
            weight: block.queryKeyValue.weight, weightGradient: gradient.queryKeyValue.weight,
            biasGradient: gradient.queryKeyValue.bias, inputGradient: normed, tokens: tokens)
        kernels.layerNormBackward(
            outputGradient: normed, input: kept.input.part(0, tokens * d),
            weight: block.attentionNorm.weight,
            statistics: kept.attentionStatistics.part(0, tokens * 2), inputGradient: stream,
            weightGradient: gradient.attentionNorm.weight,
            biasGradient: gradient.attentionNorm.bias)
    }

    private func embedBackward(inputs: [UInt8], firstToken: Int, stream: Floats) {
        let d = shape.dModel
        for token in 0..<(stream.count / d) {
            let gradient = stream.part(token * d, d)
            let byte = Int(inputs[firstToken + token])
            RowKernels.add(gradient, to: weightGradients.tokenEmbedding.part(byte * d, d))
            let position = token % shape.context
            RowKernels.add(gradient, to: weightGradients.positionEmbedding.part(position * d, d))
        }
    }

    /// The three gradients of output = input weight^T + bias; that of the input is overwritten.
    private func linearBackward(
        outputGradient: Floats, input: Floats, weight: Floats, weightGradient: Floats,
        biasGradient: Floats?, inputGradient: Floats, tokens: Int
    ) {
        let inputs = rowWidth(input)
        let outputs = weight.count / inputs
        let dy = Matrix(outputGradient, rows: tokens, columns: outputs)
        if let biasGradient {
            kernels.addColumnSums(of: outputGradient, to: biasGradient)
        }
        multiply(
            dy, .transposed, Matrix(input, rows: tokens, columns: inputs), .asStored,
            into: Matrix(weightGradient, rows: outputs, columns: inputs), adding: true)
        multiply(
            dy, .asStored, Matrix(weight, rows: outputs, columns: inputs), .asStored,
            into: Matrix(inputGradient, rows: tokens, columns: inputs))
    }
}
