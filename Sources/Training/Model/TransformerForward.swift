import TrainingKernels

/// The forward pass over some sequences of a batch; N = sequences * context tokens.
extension Transformer {
    func forward(inputs: [UInt8], firstToken: Int, sequences: Int) {
        let tokens = sequences * shape.context
        let d = shape.dModel
        embed(inputs: inputs, firstToken: firstToken, tokens: tokens)
        for layer in 0..<shape.layers {
            let next = layer + 1 < shape.layers ? activations.blocks[layer + 1].input : nil
            forwardBlock(
                layer,
                output: (next ?? activations.output).part(0, tokens * d), sequences: sequences)
        }
        kernels.layerNormForward(
            input: activations.output.part(0, tokens * d), weight: weights.finalNorm.weight,
            bias: weights.finalNorm.bias, output: activations.finalNormed.part(0, tokens * d),
            statistics: activations.finalStatistics.part(0, tokens * 2))
        let logits = activations.logits.part(0, tokens * shape.vocabulary)
        if let bias = weights.headBias {
            kernels.repeatRow(bias, into: logits)
        } else {
            logits.fill(with: 0)
        }
        linear(activations.finalNormed, weights.headWeight, addedTo: logits, tokens: tokens)
    }

    /// The loss, summed over the tokens; the logits become their gradient.
    func crossEntropy(
        targets: [UInt8], firstToken: Int, sequences: Int, gradientScale: Float
    ) -> Double {
        kernels.crossEntropy(
            logits: activations.logits.part(0, sequences * shape.context * shape.vocabulary),
            vocabulary: shape.vocabulary, targets: targets, firstTarget: firstToken,
            gradientScale: gradientScale)
    }

    private func embed(inputs: [UInt8], firstToken: Int, tokens: Int) {
        let d = shape.dModel
        let stream = activations.blocks[0].input
        for token in 0..<tokens {
            let row = weights.tokenEmbedding.part(Int(inputs[firstToken + token]) * d, d)
            let position = weights.positionEmbedding.part(token % shape.context * d, d)
            for column in stride(from: 0, to: d, by: laneCount) {
                let sum = row.lanes(at: column) + position.lanes(at: column)
                stream.store(sum, at: token * d + column)
            }
        }
    }

    private func forwardBlock(_ layer: Int, output: Floats, sequences: Int) {
        let (block, kept) = (weights.blocks[layer], activations.blocks[layer])
        let tokens = sequences * shape.context
        let d = shape.dModel
        let input = kept.input.part(0, tokens * d)
        let middle = kept.middle.part(0, tokens * d)

        // middle = input + output projection(attention(norm(input)))
        kernels.layerNormForward(
            input: input, weight: block.attentionNorm.weight, bias: block.attentionNorm.bias,
            output: kept.attentionNormed.part(0, tokens * d),
            statistics: kept.attentionStatistics.part(0, tokens * 2))
        kernels.repeatRow(
            block.queryKeyValue.bias, into: kept.queryKeyValue.part(0, tokens * 3 * d))
        linear(
            kept.attentionNormed, block.queryKeyValue.weight, addedTo: kept.queryKeyValue,
            tokens: tokens)
        attention.forward(
            sequences: sequences, queryKeyValue: kept.queryKeyValue,
            probabilities: kept.probabilities, attended: kept.attended)
        kernels.sum(input, bias: block.attentionOutput.bias, into: middle)
        linear(kept.attended, block.attentionOutput.weight, addedTo: middle, tokens: tokens)

        // output = middle + down(gelu(up(norm(middle))))
        kernels.layerNormForward(
            input: middle, weight: block.feedForwardNorm.weight, bias: block.feedForwardNorm.bias,
            output: kept.feedForwardNormed.part(0, tokens * d),
            statistics: kept.feedForwardStatistics.part(0, tokens * 2))
        feedForward(layer, middle: middle, output: output, tokens: tokens)
    }

    /// output = middle + what the feed-forward layer or the experts make of the normed middle.
    private func feedForward(_ layer: Int, middle: Floats, output: Floats, tokens: Int) {
        let (block, kept) = (weights.blocks[layer], activations.blocks[layer])
        // Tokens are on their way to experts elsewhere while this worker computes what every token uses.
        if let spread {
            dispatchExperts(layer, spread, normed: kept.feedForwardNormed, tokens: tokens)
        }
        if let affine = block.feedForward {
            let hidden = kept.slope.part(0, tokens * shape.hiddenWidth)
            kernels.repeatRow(affine.up.bias, into: hidden)
            linear(kept.feedForwardNormed, affine.up.weight, addedTo: hidden, tokens: tokens)
            kernels.geluForward(
                hidden: hidden, activated: kept.activated.part(0, tokens * shape.hiddenWidth))
            kernels.sum(middle, bias: affine.down.bias, into: output)
            linear(kept.activated, affine.down.weight, addedTo: output, tokens: tokens)
        } else {
            output.copy(from: middle)
        }
        if let spread {
            combineExperts(layer, spread, output: output)
        } else if let experts = block.experts, let activations = kept.experts {
            expertsForward(
                experts, activations, normed: kept.feedForwardNormed, output: output,
                tokens: tokens)
        }
    }

    /// result[N, outputs] += input[N, inputs] * weight[outputs, inputs]^T
    ///
    /// Adding to a result that holds bias and residual already saves a pass over it.
    private func linear(
        _ input: Floats, _ weight: Floats, addedTo result: Floats, tokens: Int
    ) {
        let inputs = rowWidth(input)
        let outputs = weight.count / inputs
        multiply(
            Matrix(input, rows: tokens, columns: inputs), .asStored,
            Matrix(weight, rows: outputs, columns: inputs), .transposed,
            into: Matrix(result, rows: tokens, columns: outputs), adding: true)
    }

    /// The row width of an activation: its views hold `sequencesPerPass * context` rows.
    func rowWidth(_ activation: Floats) -> Int {
        activation.count / (activations.sequences * shape.context)
    }
}
