import ExpertRouting
import TrainingKernels

/// One block's experts where they are spread over a region, or over regions; the exchange of tokens is
/// `ExpertSpread`'s.
extension Transformer {
    /// Tokens leave for their experts; nothing is waited for.
    ///
    /// - Parameter tokens: 0 in a pass that only others have.
    func dispatchExperts(_ layer: Int, _ spread: ExpertSpread, normed: Floats, tokens: Int) {
        guard let experts = shape.experts, let scratch = activations.expertScratch,
            let kept = activations.blocks[layer].experts,
            let tensors = weights.blocks[layer].experts
        else { preconditionFailure("a dense model has no experts") }
        let block = spread.memory.blocks[layer]
        if tokens > 0 {
            route(tensors, kept, experts, scratch, normed: normed, tokens: tokens)
            routeAtHome(layer, spread, kept, tokens: tokens)
        }
        block.route(tokens > 0 ? kept : nil, tokens: tokens)
        spread.dispatch(block, isBackward: false, normed)
    }

    /// Computes this worker's experts on everybody's tokens, and adds what all experts made of its own to
    /// `output`.
    func combineExperts(_ layer: Int, _ spread: ExpertSpread, output: Floats) {
        guard let experts = shape.experts, let tensors = weights.blocks[layer].experts else {
            preconditionFailure("a dense model has no experts")
        }
        let (block, memory, d) = (spread.memory.blocks[layer], spread.memory, shape.dModel)
        let counts = spread.gather(block, isBackward: false)
        block.order(counts, words: memory.words)
        let rows = ExpertRowSpace(block, width: experts.width, d: d)
        ExpertRows.gather(
            memory.rows.floats, tokens: block.experts.tokens, rows: block.experts.rowCount,
            width: d, into: rows.inputs)
        computeExperts(tensors, rows, width: experts.width)
        spread.answer(block, isBackward: false, counts: counts, addTo: output) {
            _, first, answers in
            answers.fill(with: 0)
            kernels.combineRows(
                rows.outputs, rows: block.experts.rows, weights: block.weights, topK: experts.topK,
                width: d, from: first, addedTo: answers)
        }
    }

    /// The gradients of this worker's tokens leave for the experts that computed them.
    func dispatchGradients(_ layer: Int, _ spread: ExpertSpread, stream: Floats) {
        spread.dispatch(spread.memory.blocks[layer], isBackward: true, stream)
    }

    /// Gradients of this worker's experts, from everybody's tokens; adds that with respect to its own tokens
    /// to `normedGradient` and leaves those of their weights in the scratch space.
    func combineGradients(
        _ layer: Int, _ spread: ExpertSpread, normedGradient: Floats, tokens: Int
    ) {
        guard let experts = shape.experts, let scratch = activations.expertScratch,
            let tensors = weights.blocks[layer].experts,
            let gradients = weightGradients.blocks[layer].experts
        else { preconditionFailure("a dense model has no experts") }
        let (block, memory, d) = (spread.memory.blocks[layer], spread.memory, shape.dModel)
        let counts = spread.gather(block, isBackward: true)
        rescale(memory.rows.floats, counts, spread, by: d) { spread.scale(of: $0) }
        let rows = ExpertRowSpace(block, width: experts.width, d: d)
        let rowGradient = memory.rowGradient.take(block.experts.rowCount * d)
        let hiddenGradient = memory.hiddenGradient.take(block.experts.rowCount * experts.width)
        clearPadding(rowGradient, block.experts)
        kernels.combineRowsBackward(
            memory.rows.floats, outputs: rows.outputs, rows: block.experts.rows,
            weights: block.weights, topK: experts.topK, width: d, rowGradient: rowGradient,
            weightGradient: memory.weightGradient)
        computeExpertGradients(
            layer, tensors, gradients, rows, rowGradient: rowGradient,
            hiddenGradient: hiddenGradient, width: experts.width)
        rescale(memory.weightGradient, counts, spread, by: experts.topK) {
            1 / spread.scale(of: $0)
        }
        spread.answer(
            block, isBackward: true, counts: counts, words: memory.weightGradient,
            addTo: normedGradient
        ) { member, first, answers in
            answers.fill(with: 0)
            kernels.addRows(
                rowGradient, rows: block.experts.rows, topK: experts.topK, width: d, from: first,
                to: answers)
            let scale = 1 / spread.scale(of: member)
            if scale != 1 { RowKernels.scale(answers, by: scale) }
        }
        if tokens > 0, !spread.isInterrupted {
            block.weightGradients(memory.words, into: scratch.weightGradient, tokens: tokens)
        }
    }

    /// A pass that others have and this worker has not: its experts serve them.
    func servePass(_ spread: ExpertSpread) {
        let none = activations.output.part(0, 0)
        for layer in 0..<shape.layers {
            dispatchExperts(layer, spread, normed: none, tokens: 0)
            combineExperts(layer, spread, output: none)
        }
        for layer in (0..<shape.layers).reversed() {
            dispatchGradients(layer, spread, stream: none)
            combineGradients(layer, spread, normedGradient: none, tokens: 0)
        }
    }

    /// What the weighted mean over the members would do with gradients that are 0 everywhere else, to the bit
    /// (Protocols/longhaul-1.md, section 7.11).
    func scaleHeldExperts(_ spread: ExpertSpread) {
        let share = spread.shareOfTokens
        guard share != 1 else { return }
        for block in spread.memory.blocks {
            for (expert, holder) in block.plan.holders.enumerated() where holder == spread.me {
                guard let tensors = weightGradients.blocks[block.layer].experts?.experts[expert]
                else { continue }
                for part in [tensors.up, tensors.down] {
                    for floats in [part.weight, part.bias] {
                        for index in 0..<floats.count { floats[index] = share * floats[index] }
                    }
                }
            }
        }
    }

    /// Multiplies the rows of each member that has another number of tokens.
    private func rescale(
        _ floats: Floats, _ counts: [Int], _ spread: ExpertSpread, by width: Int,
        _ factor: (Int) -> Float
    ) {
        for (member, count) in counts.enumerated() where count > 0 {
            let scale = factor(member)
            guard scale != 1 else { continue }
            let start = member * spread.capacity * width
            for index in start..<start + count * width { floats[index] = floats[index] * scale }
        }
    }
}

/// Rows of experts, ordered by expert, between the forward and the backward pass.
struct ExpertRowSpace {
    let plan: DispatchPlan
    let inputs: Floats
    let slope: Floats
    let activated: Floats
    let outputs: Floats

    init(_ kept: ExpertActivations) {
        plan = kept.plan
        (inputs, outputs) = (kept.inputs, kept.outputs)
        (slope, activated) = (kept.slope, kept.activated)
    }

    init(_ block: SpreadBlock, width: Int, d: Int) {
        plan = block.experts
        let rows = block.experts.rowCount
        (inputs, outputs) = (block.inputs.take(rows * d), block.outputs.take(rows * d))
        (slope, activated) = (block.slope.take(rows * width), block.activated.take(rows * width))
    }
}
