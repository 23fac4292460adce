import ClusterModel
import ExpertRouting
import Testing
import Training

@Suite("mixture of experts")
struct ExpertTests {
    static let shapes = [
        ExpertShape(count: 4, width: 32),
        ExpertShape(count: 6, topK: 1, width: 16, scoring: .sigmoid, balance: .none),
        ExpertShape(
            count: 8, topK: 3, width: 16, shared: 1, scoring: .sigmoid, groups: 4, keptGroups: 2,
            balance: .quantile, capacity: 1.25, sequenceLoss: 0.2),
    ]

    @Test("a plan's blocks of experts are the model's tensors", arguments: shapes)
    func blocksOfThePlan(experts: ExpertShape) {
        let shape = ModelShape(dModel: 16, layers: 3, heads: 2, context: 12, experts: experts)
        let model = RunConfiguration.Model(
            width: 16, layers: 3, heads: 2, context: 12, tiedHead: false,
            experts: .init(
                count: experts.count, topK: experts.topK, width: experts.width,
                shared: experts.shared, balance: experts.balance == .quantile ? .quantile : .bias))
        let blocks = FragmentLayout.experts(of: model, elements: UInt64(shape.parameterCount))
        #expect(blocks.count == 3)
        for (layer, block) in blocks.enumerated() {
            for expert in 0..<experts.count {
                let tensors = shape.tensors.filter {
                    $0.name.hasPrefix("blocks.\(layer).feed_forward.experts.\(expert).")
                }
                #expect(tensors.count == 4)
                let start = Int(block.start) + expert * Int(block.each)
                #expect(tensors.first?.range.lowerBound == start)
                #expect(tensors.last?.range.upperBound == start + Int(block.each))
            }
        }
    }

    private func model(_ experts: ExpertShape, seed: UInt64 = 3) throws -> Transformer {
        let shape = ModelShape(dModel: 16, layers: 2, heads: 2, context: 12, experts: experts)
        let model = try Transformer(shape: shape)
        model.initialisePerturbed(seed: seed, deviation: 0.2)
        return model
    }

    /// A choice that flips is a jump in the loss, so here biases decide, other experts in each block; that
    /// tokens of all kinds meet all experts is in the comparison with PyTorch.
    @Test("the slope along every trained tensor's gradient is its norm", arguments: shapes)
    func slopeAlongGradient(experts: ExpertShape) throws {
        let model = try model(experts)
        for tensor in model.shape.tensors where tensor.kind == .selectionBias {
            model.withMutableParameters(tensor.range) { bias in
                // Steps of at least 4 also between the sums of any two groups.
                for index in 0..<bias.count {
                    let place = Float((index + 1 + (tensor.layer ?? 0)) % bias.count)
                    bias[index] = 4 * place + place * place
                }
            }
        }
        let inputs = randomBytes(6 * 12, seed: 1)
        let targets = randomBytes(6 * 12, seed: 2)
        _ = model.forwardBackward(inputs: inputs, targets: targets)
        func loss() -> Double {
            Double(model.loss(inputs: inputs, targets: targets)) + Double(model.balanceLoss)
        }
        var checked = 0
        for tensor in model.shape.tensors where tensor.isTrained {
            let gradient = model.gradient(tensor.range)
            let length = norm(gradient)
            guard length > 1e-4 else { continue }
            let before = model.withParameters(tensor.range) { copy($0) }
            func moved(_ step: Float) -> Double {
                model.withMutableParameters(tensor.range) { span in
                    for index in 0..<span.count {
                        span[index] = before[index] + step * gradient[index] / Float(length)
                    }
                }
                return loss()
            }
            let slope = (moved(0.01) - moved(-0.01)) / 0.02
            _ = moved(0)
            checked += 1
            #expect(
                abs(slope - length) < 0.01 * length + 2e-4, "\(tensor.name): \(slope), \(length)")
        }
        #expect(checked > 30, "\(checked) tensors had a gradient")
    }

    /// Of a batch that used other experts nothing is left.
    @Test("a gradient is of its batch alone, of unused experts zero", arguments: shapes)
    func gradientOfItsBatch(experts: ExpertShape) throws {
        let (used, fresh) = (try model(experts), try model(experts))
        let inputs = randomBytes(6 * 12, seed: 1)
        let targets = randomBytes(6 * 12, seed: 2)
        func prefer(_ model: Transformer, last: Bool) {
            for tensor in model.shape.tensors where tensor.kind == .selectionBias {
                model.withMutableParameters(tensor.range) { bias in
                    for index in bias.indices {
                        bias[index] = 16 * Float(last ? index : bias.count - index)
                    }
                }
            }
        }
        func gradients(_ model: Transformer) -> [[UInt32]] {
            model.shape.tensors.map { model.gradient($0.range).map(\.bitPattern) }
        }
        prefer(used, last: false)
        _ = used.forwardBackward(inputs: inputs, targets: targets)
        let before = gradients(used)
        for model in [used, fresh] {
            prefer(model, last: true)
            _ = model.forwardBackward(inputs: inputs, targets: targets)
        }
        let after = gradients(used)
        #expect(after == gradients(fresh))
        let first = try #require(
            used.shape.tensors.firstIndex { $0.name.hasSuffix("experts.0.up.weight") })
        #expect(before[first].contains { $0 != 0 } && after[first].allSatisfy { $0 == 0 })
    }

    @Test("equal inputs give equal bytes; evaluation counts nothing", arguments: shapes)
    func repeatable(experts: ExpertShape) throws {
        let model = try model(experts)
        let inputs = randomBytes(7 * 12, seed: 5)
        let targets = randomBytes(7 * 12, seed: 6)
        let all = 0..<model.shape.parameterCount
        let first = model.forwardBackward(inputs: inputs, targets: targets)
        let gradient = model.gradient(all)
        #expect(model.loss(inputs: inputs, targets: targets) == first)
        #expect(model.gradient(all) == gradient)
        #expect(model.forwardBackward(inputs: inputs, targets: targets) == first)
        #expect(model.gradient(all) == gradient)
    }

    @Test("a dense model's tensors are as before, an expert model's end with the gates' state")
    func layout() throws {
        let dense = ModelShape()
        #expect(dense.trainedCount == dense.parameterCount)
        #expect(dense.activeParameterCount == dense.parameterCount)
        let shape = ModelShape(experts: ExpertShape(count: 8, width: 512, balance: .quantile))
        let names = shape.tensors.map(\.name)
        #expect(names.contains("blocks.1.feed_forward.gate.weight"))
        #expect(names.contains("blocks.0.feed_forward.experts.7.down.bias"))
        #expect(
            names.suffix(2) == [
                "blocks.1.feed_forward.gate.e_score_correction_bias",
                "blocks.1.feed_forward.gate.lack_histogram",
            ])
        var end = 0
        for tensor in shape.tensors {
            #expect(tensor.range.lowerBound == end)
            end = tensor.range.upperBound
        }
        #expect(end == shape.parameterCount)
        #expect(shape.parameterCount - shape.trainedCount == 2 * 8 * 1_001)
        // Top-2 of experts as wide as the dense layer: one expert and the gates more.
        #expect(
            shape.activeParameterCount - dense.parameterCount == 2 * (2 * 512 * 128 + 640 + 8 * 128)
        )
    }

    @Test("shapes that cannot be built are refused with the number and what is allowed")
    func refusals() {
        func refused(_ experts: ExpertShape) -> String? {
            do throws(ModelShapeError) {
                try ModelShape(experts: experts).validate()
                return nil
            } catch { return error.description }
        }
        #expect(refused(ExpertShape(count: 8, width: 64)) == nil)
        #expect(refused(ExpertShape(count: 1, width: 64))?.contains("experts is 1") == true)
        #expect(refused(ExpertShape(count: 4, topK: 5, width: 64))?.contains("topK is 5") == true)
        #expect(refused(ExpertShape(count: 4, width: 60))?.contains("multiple of 8") == true)
        #expect(
            refused(ExpertShape(count: 8, width: 64, groups: 3))?.contains("multiple of 3") == true)
        #expect(
            refused(ExpertShape(count: 8, topK: 3, width: 64, groups: 4, keptGroups: 1))?
                .contains("topK is 3") == true)
        #expect(
            refused(ExpertShape(count: 8, width: 64, capacity: 0.01))?.contains("capacity") == true)
    }

    /// Two workers of unlike batches whose gradients are averaged must move their biases as one worker with
    /// both batches does.
    @Test(
        "balancing goes by the counts of all workers", arguments: [ExpertBalance.bias, .quantile])
    func sharedCounts(balance: ExpertBalance) throws {
        let samples: [UInt64] = [0, 1, 2, 3, 4, 5, 6, 7]
        let whole = try trainer(balance)
        _ = whole.computeGradient(samples: samples)
        let parts = [Array(samples[..<6]), Array(samples[6...])]
        let workers = try parts.map { part in
            let worker = try trainer(balance)
            _ = worker.computeGradient(samples: part)
            return worker
        }
        let all = 0..<whole.parameterCount
        let gradients = workers.map { $0.withContribution(.gradient, range: all) { copy($0) } }
        for worker in workers {
            worker.withMeanDestination(.gradient, range: all) { mean in
                for index in all {
                    mean[index] = 0.75 * gradients[0][index] + 0.25 * gradients[1][index]
                }
            }
            worker.optimiserStep()
        }
        whole.optimiserStep()
        let gates = whole.tensors.filter { $0.kind == .selectionBias }
        #expect(gates.count == 2)
        for tensor in gates {
            let expected = whole.withState(.parameters, range: tensor.range) { copy($0) }
            #expect(expected.contains { $0 != 0 })
            for worker in workers {
                let bias = worker.withState(.parameters, range: tensor.range) { copy($0) }
                #expect(zip(bias, expected).allSatisfy { abs($0 - $1) < 1e-5 }, "\(tensor.name)")
            }
        }
        for (a, b) in zip(workers[0].expertUse, whole.expertUse) {
            #expect(zip(a.shares, b.shares).allSatisfy { abs($0 - $1) < 1e-6 })
            #expect(abs(a.shares.reduce(0, +) - 1) < 1e-5)
        }
        #expect(workers[0].expertUse.map(\.shares) == workers[1].expertUse.map(\.shares))
    }

    @Test("a mean that is adopted is stepped on like one that was written, counts of experts too")
    func adopted() throws {
        let written = try trainer(.quantile)
        let adopting = try trainer(.quantile)
        let all = 0..<written.parameterCount
        for trainer in [written, adopting] {
            trainer.adoptGradient(nil)
            _ = trainer.computeGradient(samples: [0, 1])
        }
        let mean = SharedFloats(count: all.count)
        mean.withMutableSpan(all) { place in
            written.withMeanDestination(.gradient, range: all) { own in
                for index in all {
                    own[index] = own[index] / 2 + Float(index % 5) * 1e-3
                    place[index] = own[index]
                }
            }
        }
        adopting.adoptGradient(mean)
        for trainer in [written, adopting] { trainer.optimiserStep() }
        for vector in written.stateVectors {
            let expected = written.withState(vector, range: all) { copy($0) }
            #expect(adopting.withState(vector, range: all) { copy($0) } == expected, "\(vector)")
        }
        #expect(adopting.expertUse.map(\.shares) == written.expertUse.map(\.shares))
    }

    @Test("experts learn, and balancing keeps them in use", arguments: ExpertBalance.allCases)
    func learns(balance: ExpertBalance) throws {
        let trainer = try trainer(balance)
        let before = trainer.evaluate(samples: 8)
        var violation: Float = 0
        for step in 0..<60 {
            _ = trainer.computeGradient(samples: (0..<8).map { UInt64(8 * step + $0) })
            trainer.optimiserStep()
            guard step >= 40 else { continue }
            for use in trainer.expertUse { violation += (use.shares.max() ?? 0) * 4 - 1 }
        }
        #expect(trainer.evaluate(samples: 8) < before / 2)
        // Mean over 20 steps and two blocks: 3 would be one expert for everything, of top-2 1.
        if balance == .quantile { #expect(violation / 40 < 0.5, "\(violation / 40)") }
        // What no gradient trains stays out of the optimiser.
        for tensor in trainer.tensors where !tensor.isTrained {
            for vector in [StateVector.firstMoment, .secondMoment] {
                let moments = trainer.withState(vector, range: tensor.range) { copy($0) }
                #expect(moments.allSatisfy { $0 == 0 })
            }
        }
    }

    @Test("a checkpoint carries the gates' state: a resumed run goes on bit by bit")
    func resume() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/checkpoint.safetensors"
            let first = try trainer(.bias)
            step(first, 0..<3)
            try TrainerCheckpoint.save(first, path: path, metadata: [])
            step(first, 3..<6)
            let second = try trainer(.bias)
            _ = try TrainerCheckpoint.restore(second, path: path)
            step(second, 3..<6)
            let all = 0..<first.parameterCount
            for vector in first.stateVectors {
                let expected = first.withState(vector, range: all) { copy($0) }
                #expect(second.withState(vector, range: all) { copy($0) } == expected)
            }
        }
    }

    private func step(_ trainer: TransformerTrainer, _ steps: Range<Int>) {
        for step in steps {
            _ = trainer.computeGradient(samples: [UInt64(2 * step), UInt64(2 * step + 1)])
            trainer.optimiserStep()
        }
    }

    private func trainer(_ balance: ExpertBalance) throws -> TransformerTrainer {
        let words = ["the ", "sea ", "and ", "rain ", "stone ", "tea "]
        let text = randomBytes(40_000, seed: 11).flatMap { Array(words[Int($0) % 6].utf8) }
        let shape = ModelShape(
            dModel: 32, layers: 2, heads: 2, context: 32,
            experts: ExpertShape(count: 4, width: 64, balance: balance))
        return try TransformerTrainer(
            settings: TransformerTrainerSettings(
                shape: shape, seed: 1,
                schedule: LearningRateSchedule(
                    peak: 1e-2, floor: 1e-3, warmupSteps: 5, totalSteps: 60),
                keepsOuterCopy: true),
            corpus: Corpus(bytes: text, context: shape.context))
    }
}
