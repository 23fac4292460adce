import ExpertRouting
import Foundation
import Testing
import Training

/// Whether Debian's PyTorch is installed; says so once if not.
private let torchIsPresent: Bool = {
    let outcome = try? runProgram("/usr/bin/python3", ["-c", "import torch, numpy"])
    if outcome?.status == 0 {
        return true
    }
    print("skipping the comparison with PyTorch: /usr/bin/python3 cannot import torch and numpy")
    return false
}()

@Suite("loss and gradients against PyTorch", .enabled(if: torchIsPresent))
struct PyTorchComparisonTests {
    @Test(
        "every tensor's gradient within 1e-4 of autograd's",
        arguments: [
            (ModelShape(), 5),
            (ModelShape(dModel: 24, layers: 3, heads: 3, context: 37, mlpRatio: 2), 3),
            (ModelShape(dModel: 32, layers: 1, heads: 2, context: 70, tiedHead: true), 2),
        ])
    func gradientsAgree(shape: ModelShape, sequences: Int) throws {
        try compare(shape, sequences)
    }

    @Test(
        "the same with experts: both gates, groups, shared experts, capacity, balance loss",
        arguments: [
            (ExpertShape(count: 8, width: 256), 5),
            (ExpertShape(count: 6, topK: 1, width: 24, scoring: .sigmoid, balance: .none), 3),
            (ExpertShape(count: 5, topK: 3, width: 40, shared: 2, sequenceLoss: 0.3), 9),
            (
                ExpertShape(
                    count: 8, topK: 2, width: 32, shared: 1, scoring: .sigmoid, groups: 4,
                    keptGroups: 2, balance: .quantile, capacity: 1.1, sequenceLoss: 0.1), 6
            ),
        ])
    func expertGradientsAgree(experts: ExpertShape, sequences: Int) throws {
        try compare(
            ModelShape(dModel: 64, layers: 2, heads: 4, context: 48, experts: experts), sequences)
    }

    private func compare(_ shape: ModelShape, _ sequences: Int) throws {
        let model = try Transformer(shape: shape)
        model.initialisePerturbed(seed: 5, deviation: 0.05)
        let inputs = randomBytes(sequences * shape.context, seed: 8)
        let targets = randomBytes(sequences * shape.context, seed: 9)
        let loss = model.forwardBackward(inputs: inputs, targets: targets)
        try withTemporaryDirectory { directory in
            try write(model, inputs, targets, to: directory + "/input")
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
            let outcome = try runProgram(
                "/usr/bin/python3",
                [script + "/pytorch_reference.py", directory + "/input", directory + "/output"])
            try #require(outcome.status == 0, "\(outcome.output)")
            let reference = try SafetensorsFile(path: directory + "/output")
            let expected = try read(reference, "loss", 1)[0]
            #expect(abs(loss - expected) < 1e-5 * expected, "\(loss), PyTorch \(expected)")
            let balance = try read(reference, "balance", 1)[0]
            #expect(abs(model.balanceLoss - balance) <= 1e-5 * balance)
            var unused = 0
            for tensor in shape.tensors where tensor.isTrained {
                let ours = model.gradient(tensor.range)
                let theirs = try read(reference, tensor.name, tensor.range.count)
                // An expert that no token chose has none.
                if tensor.name.contains(".experts."), norm(theirs) == 0 {
                    #expect(norm(ours) == 0, "\(tensor.name)")
                    unused += 1
                    continue
                }
                try #require(norm(theirs) > 0, "no gradient for \(tensor.name)")
                // The key bias moves all scores of a query alike: its exact gradient is zero, so the
                // distance is taken against the whole tensor, which holds query and value as well.
                let distance = relativeDistance(ours, theirs)
                #expect(distance < 1e-4, "\(tensor.name) differs by \(distance)")
            }
            #expect(unused < shape.tensors.count / 3)
            for tensor in shape.tensors where tensor.kind == .selectionBias {
                let demand = try read(
                    reference, "demand.\(tensor.layer ?? 0)", tensor.range.count)
                let shares = demand.map { $0 / Float(targets.count) / 1_024 }
                #expect(model.gradient(tensor.range) == shares, "\(tensor.name)")
            }
        }
    }

    private func write(
        _ model: Transformer, _ inputs: [UInt8], _ targets: [UInt8], to path: String
    ) throws {
        let shape = model.shape
        let batch = [inputs.count / shape.context, shape.context]
        let entries =
            shape.tensors.map {
                SafetensorsEntry(name: $0.name, type: .float32, shape: $0.shape)
            } + [
                SafetensorsEntry(name: "inputs", type: .uint8, shape: batch),
                SafetensorsEntry(name: "targets", type: .uint8, shape: batch),
            ]
        try SafetensorsWriter.write(
            path: path, entries: entries, metadata: metadata(shape)
        ) { writer throws(SafetensorsError) in
            try model.withParameters(0..<shape.parameterCount) { span throws(SafetensorsError) in
                try writer.write(floats: span)
            }
            try writer.write(bytes: inputs.span)
            try writer.write(bytes: targets.span)
        }
    }

    private func metadata(_ shape: ModelShape) -> [(key: String, value: String)] {
        let heads = [(key: "heads", value: "\(shape.heads)")]
        guard let experts = shape.experts else { return heads }
        let rows = ExpertCapacity.rows(
            topK: experts.topK, factor: experts.capacity, tokens: shape.context,
            experts: experts.count)
        return heads + [
            ("top_k", "\(experts.topK)"), ("gate", experts.scoring.rawValue),
            ("groups", "\(experts.groups)"), ("groups_kept", "\(experts.keptGroups)"),
            ("capacity", "\(rows ?? 0)"), ("sequence_loss", "\(experts.sequenceLoss)"),
        ]
    }

    private func read(
        _ file: borrowing SafetensorsFile, _ name: String, _ count: Int
    ) throws -> [Float] {
        var values = [Float](repeating: 0, count: count)
        var span = values.mutableSpan
        try file.read(name, into: &span)
        return values
    }
}
