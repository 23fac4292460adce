import ExpertRouting
import TrainingKernels

/// The experts of one block, forwards: gate, counting sort, gather, one product per expert and matrix,
/// combination in the order of choices.
extension Transformer {
    /// output[t] += sum over the chosen j of weight[t, j] down_j(gelu(up_j(normed[t]))).
    func expertsForward(
        _ tensors: ExpertTensors, _ kept: ExpertActivations, normed: Floats, output: Floats,
        tokens: Int
    ) {
        guard let experts = shape.experts, let scratch = activations.expertScratch else {
            preconditionFailure("a dense model has no experts")
        }
        route(tensors, kept, experts, scratch, normed: normed, tokens: tokens)
        let (d, rows) = (shape.dModel, kept.plan.rowCount)
        let (planRows, weights) = (kept.plan.rows, kept.batch.weights)
        ExpertRows.gather(
            normed, tokens: kept.plan.tokens, rows: rows, width: d, into: kept.inputs)
        computeExperts(tensors, ExpertRowSpace(kept), width: experts.width)
        kernels.combineRows(
            kept.outputs, rows: planRows, weights: weights, topK: experts.topK, width: d,
            from: 0, addedTo: output)
    }

    /// Every expert on its rows.
    ///
    /// - Parameter width: hidden width of an expert.
    func computeExperts(_ tensors: ExpertTensors, _ kept: ExpertRowSpace, width: Int) {
        let d = shape.dModel
        for expert in 0..<kept.plan.experts {
            let range = kept.plan.range(of: expert)
            guard !range.isEmpty else { continue }
            let hidden = rowsOf(kept.slope, range, width)
            multiply(
                Matrix(rowsOf(kept.inputs, range, d), rows: range.count, columns: d), .asStored,
                Matrix(tensors.experts[expert].up.weight, rows: width, columns: d),
                .transposed, into: Matrix(hidden, rows: range.count, columns: width))
            let activated = rowsOf(kept.activated, range, width)
            kernels.biasGeluForward(
                hidden: hidden, bias: tensors.experts[expert].up.bias, activated: activated)
            let result = rowsOf(kept.outputs, range, d)
            kernels.repeatRow(tensors.experts[expert].down.bias, into: result)
            multiply(
                Matrix(activated, rows: range.count, columns: width), .asStored,
                Matrix(tensors.experts[expert].down.weight, rows: d, columns: width),
                .transposed, into: Matrix(result, rows: range.count, columns: d), adding: true)
        }
    }

    func route(
        _ tensors: ExpertTensors, _ kept: ExpertActivations, _ experts: ExpertShape,
        _ scratch: ExpertScratch, normed: Floats, tokens: Int
    ) {
        let stride = scratch.logitStride
        multiply(
            Matrix(normed, rows: tokens, columns: shape.dModel), .asStored,
            Matrix(tensors.gate, rows: experts.count, columns: shape.dModel), .transposed,
            into: Matrix(scratch.logits, rows: tokens, columns: experts.count, rowStride: stride))
        kept.stays = []
        scratch.logits.withSpan { logits in
            tensors.selectionBias.withSpan { bias in
                kept.batch.route(logits, stride: stride, tokens: tokens, bias: bias)
            }
        }
        kept.plan.build(
            kept.batch.experts, tokenCount: tokens, sequence: shape.context,
            limit: experts.rowLimit(context: shape.context))
        if experts.sequenceLoss > 0 { kept.balance.update(kept.batch, sequence: shape.context) }
    }

    /// Tokens that may not leave for the experts of other regions choose again.
    func routeAtHome(
        _ layer: Int, _ spread: ExpertSpread, _ kept: ExpertActivations, tokens: Int
    ) {
        guard let home = spread.home, let experts = shape.experts,
            let scratch = activations.expertScratch, let tensors = weights.blocks[layer].experts
        else { return }
        let isChanged = scratch.logits.withSpan { logits in
            tensors.selectionBias.withSpan { bias in
                home.limit(
                    kept, layer: layer, part: spread.pass * shape.layers + layer, logits: logits,
                    stride: scratch.logitStride, bias: bias)
            }
        }
        guard isChanged else { return }
        kept.plan.build(
            kept.batch.experts, tokenCount: tokens, sequence: shape.context,
            limit: experts.rowLimit(context: shape.context))
        if experts.sequenceLoss > 0 { kept.balance.update(kept.batch, sequence: shape.context) }
    }

    func rowsOf(_ floats: Floats, _ range: Range<Int>, _ width: Int) -> Floats {
        floats.part(range.lowerBound * width, range.count * width)
    }
}
