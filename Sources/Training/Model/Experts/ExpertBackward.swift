import ExpertRouting
import TrainingKernels

/// The experts of one block, backwards.
extension Transformer {
    /// Adds the gradient with respect to `normed` to `normedGradient`, and those of the weights to theirs.
    ///
    /// - Parameters:
    ///   - stream: the gradient of the block's output.
    ///   - gradientScale: 1 / tokens of the batch, for the sequence-wise loss.
    func expertsBackward(
        _ layer: Int, stream: Floats, normed: Floats, normedGradient: Floats, tokens: Int,
        gradientScale: Float
    ) {
        guard let experts = shape.experts, let scratch = activations.expertScratch,
            let kept = activations.blocks[layer].experts,
            let tensors = weights.blocks[layer].experts,
            let gradients = weightGradients.blocks[layer].experts
        else { preconditionFailure("a dense model has no experts") }
        let d = shape.dModel
        let planRows = kept.plan.rows
        clearPadding(scratch.rowGradient, kept.plan)
        kernels.combineRowsBackward(
            stream, outputs: kept.outputs, rows: planRows, weights: kept.batch.weights,
            topK: experts.topK, width: d, rowGradient: scratch.rowGradient,
            weightGradient: scratch.weightGradient)
        computeExpertGradients(
            layer, tensors, gradients, ExpertRowSpace(kept), rowGradient: scratch.rowGradient,
            hiddenGradient: scratch.hiddenGradient, width: experts.width)
        kernels.addRows(
            scratch.rowGradient, rows: planRows, topK: experts.topK, width: d, from: 0,
            to: normedGradient)
        routeBackward(
            layer, normed: normed, normedGradient: normedGradient, tokens: tokens,
            gradientScale: gradientScale)
    }

    /// Every expert's gradients from its rows. `rowGradient` in: of the outputs; out: of the inputs.
    func computeExpertGradients(
        _ layer: Int, _ tensors: ExpertTensors, _ gradients: ExpertTensors,
        _ kept: ExpertRowSpace, rowGradient: Floats, hiddenGradient: Floats, width: Int
    ) {
        guard let columnSums = activations.expertScratch?.columnSums else {
            preconditionFailure("a dense model has no experts")
        }
        for expert in 0..<kept.plan.experts {
            let range = kept.plan.range(of: expert)
            guard !range.isEmpty else { continue }
            let output = rowsOf(rowGradient, range, shape.dModel)
            let hidden = rowsOf(hiddenGradient, range, width)
            let down = gradients.experts[expert].down
            kernels.addColumnSums(of: output, to: down.bias)
            rowsBackward(
                tensors.experts[expert].down.weight, down.weight, outputGradient: output,
                input: rowsOf(kept.activated, range, width), inputGradient: hidden,
                rows: range.count, adding: !isStale[layer][expert])
            let up = gradients.experts[expert].up
            kernels.geluBackward(
                gradient: hidden, slope: rowsOf(kept.slope, range, width), biasGradient: up.bias,
                scratch: columnSums)
            // The outputs' gradient is used up: the inputs' takes its place.
            rowsBackward(
                tensors.experts[expert].up.weight, up.weight, outputGradient: hidden,
                input: rowsOf(kept.inputs, range, shape.dModel), inputGradient: output,
                rows: range.count, adding: !isStale[layer][expert])
            isStale[layer][expert] = false
        }
    }

    /// From the gradients of the choices' weights, in the scratch space, to those of the gate.
    func routeBackward(
        _ layer: Int, normed: Floats, normedGradient: Floats, tokens: Int, gradientScale: Float
    ) {
        guard let experts = shape.experts, let scratch = activations.expertScratch,
            let kept = activations.blocks[layer].experts,
            let tensors = weights.blocks[layer].experts,
            let gradients = weightGradients.blocks[layer].experts
        else { preconditionFailure("a dense model has no experts") }
        let d = shape.dModel
        gateBackward(kept, experts, scratch, tokens: tokens, gradientScale: gradientScale)
        let logits = Matrix(
            scratch.logits, rows: tokens, columns: experts.count, rowStride: scratch.logitStride)
        multiply(
            logits, .transposed, Matrix(normed, rows: tokens, columns: d), .asStored,
            into: Matrix(gradients.gate, rows: experts.count, columns: d), adding: true)
        multiply(
            logits, .asStored, Matrix(tensors.gate, rows: experts.count, columns: d), .asStored,
            into: Matrix(normedGradient, rows: tokens, columns: d), adding: true)
    }

    /// Rows without a token must add nothing to the gradients of weights.
    func clearPadding(_ rowGradient: Floats, _ plan: DispatchPlan) {
        for expert in 0..<plan.experts {
            let end = plan.starts[expert] + plan.counts[expert]
            let padding = end..<plan.starts[expert + 1]
            rowsOf(rowGradient, padding, shape.dModel).fill(with: 0)
        }
    }

    /// The gradients of output = input weight^T; that of the input is overwritten, and unless `adding` that
    /// of the weight.
    private func rowsBackward(
        _ weight: Floats, _ gradient: Floats, outputGradient: Floats, input: Floats,
        inputGradient: Floats, rows: Int, adding: Bool
    ) {
        let (inputs, outputs) = (input.count / rows, outputGradient.count / rows)
        let dy = Matrix(outputGradient, rows: rows, columns: outputs)
        multiply(
            dy, .transposed, Matrix(input, rows: rows, columns: inputs), .asStored,
            into: Matrix(gradient, rows: outputs, columns: inputs), adding: adding)
        multiply(
            dy, .asStored, Matrix(weight, rows: outputs, columns: inputs), .asStored,
            into: Matrix(inputGradient, rows: rows, columns: inputs))
    }

    /// `scratch.logits` become the gradient with respect to the logits, given that of the choices' weights.
    ///
    /// A weight is w_j = c s_j / S, S the sum of the chosen scores: dL/ds_j = c / S (dL/dw_j - sum dL/dw_i
    /// w_i / c). The sequence-wise loss adds its part for every expert. Experts are chosen by scores, but
    /// the choice has no slope.
    private func gateBackward(
        _ kept: ExpertActivations, _ experts: ExpertShape, _ scratch: ExpertScratch, tokens: Int,
        gradientScale: Float
    ) {
        let (count, topK, gate) = (experts.count, experts.topK, kept.batch.gate)
        let (scores, chosen) = (kept.batch.scores, kept.batch.experts)
        let (weights, frequencies) = (kept.batch.weights, kept.balance.frequencies)
        for token in 0..<tokens {
            let gradient = scratch.logits.part(token * scratch.logitStride, count)
            gradient.fill(with: 0)
            if experts.sequenceLoss > 0 {
                sequenceBackward(
                    gradient, scores, token, frequencies, token / shape.context * count,
                    scale: experts.sequenceLoss * gradientScale)
            }
            var product: Float = 0
            var total: Float = 0
            for slot in token * topK..<(token + 1) * topK {
                product += scratch.weightGradient[slot] * weights[slot]
                total += scores[token * count + Int(chosen[slot])]
            }
            for slot in token * topK..<(token + 1) * topK {
                let slope = scratch.weightGradient[slot]
                gradient[Int(chosen[slot])] +=
                    gate.normalises && total > 0
                    ? gate.scale / total * (slope - product / gate.scale) : gate.scale * slope
            }
            switch gate.scoring {
            case .sigmoid:
                for expert in 0..<count {
                    let score = scores[token * count + expert]
                    gradient[expert] *= score * (1 - score)
                }
            case .softmax:
                var mean: Float = 0
                for expert in 0..<count {
                    mean += gradient[expert] * scores[token * count + expert]
                }
                for expert in 0..<count {
                    gradient[expert] = scores[token * count + expert] * (gradient[expert] - mean)
                }
            }
        }
    }

    /// Adds the gradient of scale sum f_i p_i with respect to the scores, p_i = s_i / sum s.
    private func sequenceBackward(
        _ gradient: Floats, _ scores: [Float], _ token: Int, _ frequencies: [Float],
        _ sequence: Int, scale: Float
    ) {
        let count = gradient.count
        var sum: Float = 0
        var product: Float = 0
        for expert in 0..<count {
            let score = scores[token * count + expert]
            sum += score
            product += frequencies[sequence + expert] * score
        }
        guard sum > 0 else { return }
        for expert in 0..<count {
            gradient[expert] += scale * (frequencies[sequence + expert] - product / sum) / sum
        }
    }
}
