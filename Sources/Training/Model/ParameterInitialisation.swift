import ClusterModel
import TrainingKernels

extension Transformer {
    /// Draws initial parameters: normal with deviation 0.02 for embeddings and matrices, that divided
    /// by sqrt(2 layers) for the two that end a residual branch (GPT-2), ones and zeros for norms.
    ///
    /// Equal seeds give equal bytes on every machine.
    package func initialise(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let branch = 1 / Float(2 * shape.layers).squareRoot()
        for tensor in shape.tensors {
            let values = parameters.floats.part(tensor.range)
            switch tensor.kind {
            case .embedding, .matrix:
                let endsBranch =
                    tensor.name.hasSuffix("attention.output.weight")
                    || tensor.name.hasSuffix(".down.weight")
                let deviation: Float = endsBranch ? 0.02 * branch : 0.02
                for index in 0..<values.count {
                    values[index] = generator.normal() * deviation
                }
            case .norm:
                values.fill(with: tensor.name.hasSuffix(".weight") ? 1 : 0)
            case .bias, .selectionBias, .statistic:
                values.fill(with: 0)
            }
        }
    }
}
