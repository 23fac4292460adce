import ExpertRouting
import TrainingKernels

/// What one block's experts keep between the forward and the backward pass; R = rows of the experts.
final class ExpertActivations {
    /// Rows each expert's block is a multiple of. OpenBLAS multiplies whole tiles faster; on x86-64 they
    /// have 4 rows here, since rows are the columns of what it sees as column-major.
    static let rowAlignment = 4

    var batch: GateBatch
    var plan: DispatchPlan
    var balance = SequenceBalance()
    /// Where experts of other regions exist, which tokens had to choose among `isOwn`; empty: none.
    var stays: [Bool] = []
    var isOwn: [Bool] = []
    /// R x d: rows of the normed stream, gathered.
    let inputs: Floats
    /// R x width: after the forward pass, the slope of GELU.
    let slope: Floats
    let activated: Floats
    /// R x d.
    let outputs: Floats
    private let storage: FloatStorage

    init(_ experts: ExpertShape, shape: ModelShape, sequences: Int) {
        let tokens = sequences * shape.context
        batch = GateBatch(gate: experts.gate, capacity: tokens)
        plan = DispatchPlan(
            experts: experts.count, topK: experts.topK, capacity: tokens,
            alignment: Self.rowAlignment)
        let rows = Self.rowCapacity(experts, tokens: tokens)
        let storage = FloatStorage(count: 2 * rows * (shape.dModel + experts.width))
        self.storage = storage
        var end = 0
        func take(_ count: Int) -> Floats {
            defer { end += count }
            return storage.floats.part(end, count)
        }
        (inputs, outputs) = (take(rows * shape.dModel), take(rows * shape.dModel))
        (slope, activated) = (take(rows * experts.width), take(rows * experts.width))
    }

    static func rowCapacity(_ experts: ExpertShape, tokens: Int) -> Int {
        DispatchPlan.rowCapacity(
            experts: experts.count, choices: tokens * experts.topK, alignment: rowAlignment)
    }
}

/// Scratch space that all blocks' experts share.
final class ExpertScratch {
    /// Floats between two tokens' logits: the experts, filled up to whole lanes.
    let logitStride: Int
    /// N x logitStride: logits, in the backward pass their gradient.
    let logits: Floats
    /// N x topK.
    let weightGradient: Floats
    /// R x width.
    let hiddenGradient: Floats
    /// R x d: of the experts' outputs, then of their inputs.
    let rowGradient: Floats
    /// One row of an expert's hidden layer.
    let columnSums: Floats
    private let storage: FloatStorage

    init(_ experts: ExpertShape, shape: ModelShape, sequences: Int) {
        let tokens = sequences * shape.context
        let rows = ExpertActivations.rowCapacity(experts, tokens: tokens)
        logitStride = (experts.count + laneCount - 1) / laneCount * laneCount
        let small = tokens * (logitStride + experts.topK) + experts.width
        let storage = FloatStorage(count: rows * (shape.dModel + experts.width) + small)
        self.storage = storage
        var end = 0
        func take(_ count: Int) -> Floats {
            defer { end += count }
            return storage.floats.part(end, count)
        }
        rowGradient = take(rows * shape.dModel)
        hiddenGradient = take(rows * experts.width)
        columnSums = take(experts.width)
        logits = take(tokens * logitStride)
        weightGradient = take(tokens * experts.topK)
    }
}
