import ExpertRouting
import Testing
import Training

/// Equal small models, one for each member of a region or a pool, and what each made of its own part of a
/// batch.
final class MemberModels: @unchecked Sendable {
    static let context = 12

    let models: [Transformer]
    var losses: [Float]

    init(_ models: [Transformer]) {
        self.models = models
        losses = models.map { _ in 0 }
    }

    static func model(_ experts: ExpertShape) throws -> Transformer {
        let shape = ModelShape(
            dModel: 16, layers: 2, heads: 2, context: context, experts: experts)
        let model = try Transformer(shape: shape, sequencesPerPass: 2)
        model.initialisePerturbed(seed: 3, deviation: 0.2)
        return model
    }

    /// One member's pass over its sequences of a batch; twice, as nothing may be left of the first time.
    ///
    /// - Parameters:
    ///   - batches: sequences of each member, in the order in which they lie in `inputs`.
    ///   - holders: by block, the member that computes each expert.
    func pass(
        _ me: Int, _ members: any TokenTransport, batches: [Int], holders: [[Int]],
        inputs: [UInt8], targets: [UInt8]
    ) {
        let first = batches[..<me].reduce(0, +) * Self.context
        let range = first..<first + batches[me] * Self.context
        let memory = models[me].makeSpreadMemory(members: batches.count, holders: holders)
        for _ in 0..<2 {
            do {
                losses[me] = try models[me].forwardBackward(
                    inputs: Array(inputs[range]), targets: Array(targets[range]),
                    memory: memory, members: members)
            } catch {
                Issue.record("interrupted")
            }
        }
    }
}
