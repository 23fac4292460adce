import ClusterModel
import ExpertRouting
import TrainingKernels

/// A decoder-only, byte-level transformer with hand-written gradients: token and position embedding,
/// pre-norm blocks of causal attention and a GELU feed-forward layer, final norm, linear head.
///
/// Parameters and gradients are one flat vector each, laid out by `ModelShape.tensors`. A batch runs
/// in passes of a few sequences, so that a pass stays in the cache between forward and backward; the
/// gradients of the passes are added in order. Nothing is allocated in a step. On one machine, with
/// one thread, equal inputs give equal bytes. Not for use from two threads at once.
package final class Transformer {
    package let shape: ModelShape
    let parameters: FloatStorage
    let gradients: FloatStorage
    let weights: ModelTensors
    let weightGradients: ModelTensors
    let activations: Activations
    let attention: Attention
    let kernels = SelectedKernels.current
    /// By block: choices of the last batch that found their expert full.
    var droppedChoices: [Int]
    /// By block and expert: the gradients of its matrices are still those of the batch before.
    var isStale: [[Bool]]
    /// By block and expert, whether its gradients are asked for; nil: all are.
    var wantedGradients: [[Bool]]?
    /// Gradients that are zero when a batch begins.
    private let clearedFirst: [Range<Int>]
    /// While a step is computed whose experts are spread over a region.
    private(set) var spread: ExpertSpread?
    /// Of the last step whose tokens other regions' experts could be for.
    package private(set) var crossingCounts: CrossingCounts?
    /// The sequence-wise balance loss of the last batch, weighted, summed over the blocks; not part of the
    /// loss that is returned.
    package private(set) var balanceLoss: Float = 0

    package static func sequencesPerPass(_ shape: ModelShape) -> Int {
        RunConfiguration.Model.sequencesPerPass(
            context: shape.context, hasExperts: shape.experts != nil)
    }

    /// A model whose parameters are all zero; see `initialise(seed:)`. Sets BLAS, for the whole
    /// process, to one thread per product.
    ///
    /// - Parameter sequencesPerPass: equal on all machines that must get equal bytes.
    package init(
        shape: ModelShape, sequencesPerPass: Int? = nil
    ) throws(ModelShapeError) {
        try shape.validate()
        let sequencesPerPass = sequencesPerPass ?? Self.sequencesPerPass(shape)
        try ModelShape.require(sequencesPerPass, in: 1...1_024, "sequencesPerPass")
        BlasLibrary.setThreads(1)
        self.shape = shape
        parameters = FloatStorage(count: shape.parameterCount)
        gradients = FloatStorage(count: shape.parameterCount)
        weights = ModelTensors(shape: shape, flat: parameters.floats)
        weightGradients = ModelTensors(shape: shape, flat: gradients.floats)
        activations = Activations(shape: shape, sequences: sequencesPerPass)
        attention = Attention(
            context: shape.context, heads: shape.heads, headWidth: shape.headWidth,
            scoreStride: activations.scoreStride, kernels: kernels)
        droppedChoices = Array(repeating: 0, count: shape.layers)
        isStale = Array(
            repeating: Array(repeating: false, count: shape.experts?.count ?? 0),
            count: shape.layers)
        clearedFirst = shape.tensors.filter { !$0.isExpertMatrix }.reduce(into: []) {
            ranges, tensor in
            if let last = ranges.last, last.upperBound == tensor.range.lowerBound {
                ranges[ranges.count - 1] = last.lowerBound..<tensor.range.upperBound
            } else {
                ranges.append(tensor.range)
            }
        }
    }

    /// Sets the gradient to that of the mean loss over all tokens of the batch.
    ///
    /// - Parameters:
    ///   - inputs: sequences of exactly `context` bytes, one after the other.
    ///   - targets: for each input byte the byte that follows it.
    /// - Returns: the mean of -log p(target), in nats per byte.
    package func forwardBackward(inputs: [UInt8], targets: [UInt8]) -> Float {
        var times = PassTimes()
        return forwardBackward(inputs: inputs, targets: targets, times: &times)
    }

    /// The same, and adds the time of each direction to `times`.
    func forwardBackward(inputs: [UInt8], targets: [UInt8], times: inout PassTimes) -> Float {
        clearGradients()
        for layer in droppedChoices.indices { droppedChoices[layer] = 0 }
        let gradientScale = 1 / Float(targets.count)
        let clock = ContinuousClock()
        let loss = meanLoss(inputs: inputs, targets: targets) { firstToken, sequences in
            let start = clock.now
            forward(inputs: inputs, firstToken: firstToken, sequences: sequences)
            let loss = crossEntropy(
                targets: targets, firstToken: firstToken, sequences: sequences,
                gradientScale: gradientScale)
            let middle = clock.now
            backward(
                inputs: inputs, firstToken: firstToken, sequences: sequences,
                gradientScale: gradientScale)
            for layer in 0..<shape.layers {
                countExperts(layer, tokens: sequences * shape.context)
            }
            spread?.nextPass()
            times.forward += middle - start
            times.backward += clock.now - middle
            return loss
        }
        clearStaleGradients()
        finishCounts(tokens: targets.count)
        return loss
    }

    /// All but those of the experts' matrices, which are most of the vector: the first product that goes
    /// there overwrites them.
    private func clearGradients() {
        for range in clearedFirst { gradients.floats.part(range).fill(with: 0) }
        for layer in isStale.indices {
            for expert in isStale[layer].indices { isStale[layer][expert] = true }
        }
    }

    /// Of the experts that no token of the batch has used; whose gradients nobody asks for, they keep.
    private func clearStaleGradients() {
        for (layer, experts) in isStale.enumerated() {
            guard let tensors = weightGradients.blocks[layer].experts else { continue }
            for expert in experts.indices where experts[expert] {
                guard wantedGradients?[layer][expert] != false else { continue }
                tensors.experts[expert].up.weight.fill(with: 0)
                tensors.experts[expert].down.weight.fill(with: 0)
                isStale[layer][expert] = false
            }
        }
    }

    /// The same with experts spread over the members of a region: the gradients of those held here are of
    /// everybody's tokens, those of the others are zero.
    ///
    /// - Parameter contributesAlone: gradients of experts held here are those of the mean over everybody's
    ///   tokens, to be taken as they are; else of the mean over this one's, so that the weighted mean over
    ///   the members is what it would be without.
    /// - Throws: when the step was given up; the gradient then means nothing.
    package func forwardBackward(
        inputs: [UInt8], targets: [UInt8], memory: SpreadMemory, members: any TokenTransport,
        contributesAlone: Bool = false
    ) throws(TokensInterrupted) -> Float {
        let sequences = inputs.count / shape.context
        let passes = (sequences + activations.sequences - 1) / activations.sequences
        let home = members.crossing.flatMap { crossing in
            shape.experts.map {
                HomeGate($0, crossing, capacity: memory.capacity, passes: passes)
            }
        }
        let spread = ExpertSpread(
            memory, members, passes: passes, tokens: targets.count, home: home)
        self.spread = spread
        defer { self.spread = nil }
        let loss = forwardBackward(inputs: inputs, targets: targets)
        while spread.pass < spread.passesOfAll, !spread.isInterrupted {
            servePass(spread)
            spread.nextPass()
        }
        if spread.isInterrupted { throw TokensInterrupted() }
        if contributesAlone { scaleHeldExperts(spread) }
        crossingCounts = home?.counts
        return loss
    }

    /// Memory for the exchange, of this model's passes.
    ///
    /// - Parameter holders: by block, which of the members holds each expert.
    package func makeSpreadMemory(members: Int, holders: [[Int]]) -> SpreadMemory {
        guard let experts = shape.experts else { preconditionFailure("a dense model") }
        return SpreadMemory(
            experts, width: shape.dModel, capacity: activations.sequences * shape.context,
            members: members, holders: holders)
    }

    /// The mean loss over all tokens of the batch, in nats per byte; gradients stay as they are.
    package func loss(inputs: [UInt8], targets: [UInt8]) -> Float {
        meanLoss(inputs: inputs, targets: targets) { firstToken, sequences in
            forward(inputs: inputs, firstToken: firstToken, sequences: sequences)
            return crossEntropy(
                targets: targets, firstToken: firstToken, sequences: sequences, gradientScale: 0)
        }
    }

    /// Runs `body` with the parameters `range`.
    package func withParameters<R, E: Error>(
        _ range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try parameters.floats.part(range).withSpan(body)
    }

    /// Runs `body` with the writable parameters `range`.
    package func withMutableParameters<R, E: Error>(
        _ range: Range<Int>, _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try parameters.floats.part(range).withMutableSpan(body)
    }

    /// Runs `body` with the gradients `range`.
    package func withGradients<R, E: Error>(
        _ range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try gradients.floats.part(range).withSpan(body)
    }

    private func meanLoss(
        inputs: [UInt8], targets: [UInt8], pass: (_ firstToken: Int, _ sequences: Int) -> Double
    ) -> Float {
        precondition(!inputs.isEmpty && inputs.count == targets.count)
        precondition(inputs.count % shape.context == 0, "whole sequences only")
        let sequences = inputs.count / shape.context
        var loss = 0.0
        var balance = 0.0
        var first = 0
        while first < sequences {
            let count = min(activations.sequences, sequences - first)
            loss += pass(first * shape.context, count)
            for block in activations.blocks { balance += block.experts?.balance.loss ?? 0 }
            first += count
        }
        balanceLoss = (shape.experts?.sequenceLoss ?? 0) * Float(balance / Double(sequences))
        return Float(loss / Double(targets.count))
    }
}

/// Wall-clock time of the two directions, loss included in the first.
struct PassTimes {
    var forward = Duration.zero
    var backward = Duration.zero
}
