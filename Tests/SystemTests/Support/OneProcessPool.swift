import ClusterModel
import Foundation
import Training

/// Two regions of one worker each, trained by the rule of sections 7.3 and 7.10 of the protocol in one
/// process: an expert of the other region is computed here, on that region's weights, and its gradient is
/// added to that region's. No tokens travel, nothing is encoded.
final class OneProcessPool {
    /// What a plan says.
    struct Plan {
        /// By number.
        var owners: [Int?]
        /// Tokens that may leave each region in a step.
        var budgets: [Int]
    }

    private let configuration: RunConfiguration
    private let trainers: [TransformerTrainer]
    private let batches: [UInt64]
    /// By expert's number.
    private let ranges: [Range<Int>]
    private let experts: RunConfiguration.Model.Experts
    /// Tokens that used each expert since the last round, by region and number.
    private var used: [[Double]]
    private var tokens: [Double]
    private var version: UInt32 = 0
    private(set) var crossed = 0
    private(set) var stayed = 0

    init(_ start: RunEvent.RunStarted) throws {
        configuration = start.configuration
        guard let experts = configuration.model.experts else {
            throw CocoaError(.coderInvalidValue)
        }
        self.experts = experts
        batches = start.topology.regions.map { UInt64($0.workers[0].microBatch) }
        let model = configuration.model
        let training = configuration.training
        let corpus = try Corpus.load(path: configuration.data.path, context: model.context)
        let shape = ModelShape(
            dModel: model.width, layers: model.layers, heads: model.heads,
            context: model.context, tiedHead: model.tiedHead, experts: ExpertShape(experts))
        let settings = TransformerTrainerSettings(
            shape: shape, seed: configuration.seed,
            optimiser: AdamWSettings(
                weightDecay: Float(training.weightDecay), clipNorm: Float(training.clipNorm)),
            schedule: LearningRateSchedule(
                peak: Float(training.learningRate),
                floor: Float(training.learningRate * training.finalShare),
                warmupSteps: Int(min(training.warmupSteps, configuration.steps)),
                totalSteps: Int(configuration.steps)), keepsOuterCopy: true)
        trainers = try batches.map { _ in
            try TransformerTrainer(settings: settings, corpus: corpus)
        }
        ranges = (0..<model.layers).flatMap { layer in
            (0..<experts.count).map { expert in
                let own = shape.tensors.filter {
                    $0.name.hasPrefix("blocks.\(layer).feed_forward.experts.\(expert).")
                }.map(\.range)
                return (own.map(\.lowerBound).min() ?? 0)..<(own.map(\.upperBound).max() ?? 0)
            }
        }
        used = batches.map { _ in Array(repeating: 0, count: model.layers * experts.count) }
        tokens = batches.map { _ in 0 }
    }

    /// The losses of a step by region.
    func step(_ step: UInt32, _ plan: Plan, isNew: Bool) throws -> [Double] {
        if isNew { version += 1 }
        let all = batches.reduce(0, +)
        var losses: [Double] = []
        var gradients: [[Float]] = []
        let before = trainers.map { parameters(of: $0) }
        for (me, trainer) in trainers.enumerated() {
            for (number, range) in ranges.enumerated() {
                guard let owner = plan.owners[number], owner != me else { continue }
                set(trainer, range, before[owner])
            }
            let first = UInt64(step - 1) * all + batches[..<me].reduce(0, +)
            let transport = Alone(plan: version, crossing: crossing(plan, me))
            let result = try trainer.computeGradient(
                samples: Array(first..<first + batches[me]), with: transport)
            losses.append(Double(result.loss))
            if let counts = trainer.takeCrossing() {
                crossed += counts.crossed.reduce(0, +)
                stayed += counts.stayed
            }
            gradients.append(
                trainer.withContribution(.gradient, range: 0..<trainer.parameterCount) { span in
                    span.indices.map { span[$0] }
                })
            set(trainer, 0..<trainer.parameterCount, before[me])
        }
        for (number, range) in ranges.enumerated() {
            guard let owner = plan.owners[number] else { continue }
            let share = Float(batches[1 - owner]) / Float(batches[owner])
            for index in range {
                gradients[owner][index] += share * gradients[1 - owner][index]
                gradients[1 - owner][index] = 0
            }
        }
        for (me, trainer) in trainers.enumerated() {
            trainer.withMeanDestination(.gradient, range: 0..<trainer.parameterCount) { span in
                for index in span.indices { span[index] = gradients[me][index] }
            }
            trainer.optimiserStep()
            count(me)
        }
        if step % configuration.schedule.syncEvery == 0 { round(step, plan) }
        return losses
    }

    private func count(_ me: Int) {
        let own = Double(batches[me]) * Double(configuration.model.context)
        tokens[me] += own
        for (block, use) in trainers[me].expertUse.enumerated() {
            for (expert, share) in use.shares.enumerated() {
                used[me][block * experts.count + expert] +=
                    (Double(share * Float(experts.topK)) * own).rounded()
            }
        }
    }

    /// The weighted mean of the outer gradients, element by element, and the outer step on it.
    private func round(_ step: UInt32, _ plan: Plan) {
        let all = 0..<trainers[0].parameterCount
        let parts = trainers.map { trainer in
            trainer.withContribution(.outerGradient, range: all) { span in
                span.indices.map { span[$0] }
            }
        }
        var mean = Self.mean(parts, tokens, all)
        for (number, range) in ranges.enumerated() {
            var weights = used.map { max(1, $0[number]) }
            if let owner = plan.owners[number] { weights[1 - owner] = 0 }
            mean.replaceSubrange(range, with: Self.mean(parts, weights, range))
        }
        let schedule = configuration.schedule
        let optimiser = OuterNesterov(
            learningRate: Float(schedule.outerLearningRate),
            momentum: Float(schedule.outerMomentum))
        for trainer in trainers {
            trainer.withMeanDestination(.outerGradient, range: all) { span in
                for index in span.indices { span[index] = mean[index] }
            }
            trainer.outerStep(
                ranges: [all], optimiser: optimiser, round: step / schedule.syncEvery, blend: 0)
        }
        used = used.map { $0.map { _ in 0 } }
        tokens = tokens.map { _ in 0 }
    }

    private static func mean(
        _ parts: [[Float]], _ weights: [Double], _ range: Range<Int>
    ) -> [Float] {
        let sum = weights.reduce(0, +)
        return range.map { index in
            zip(parts, weights).reduce(Float(0)) { $0 + Float($1.1 / sum) * $1.0[index] }
        }
    }

    private func parameters(of trainer: TransformerTrainer) -> [Float] {
        trainer.withState(.parameters, range: 0..<trainer.parameterCount) { span in
            span.indices.map { span[$0] }
        }
    }

    private func set(_ trainer: TransformerTrainer, _ range: Range<Int>, _ values: [Float]) {
        trainer.withMutableState(.parameters, range: range) { span in
            for index in span.indices { span[index] = values[range.lowerBound + index] }
        }
    }

    /// With nobody to serve this member it computes the experts of others itself.
    private func crossing(_ plan: Plan, _ me: Int) -> TokenCrossing {
        let count = experts.count
        return TokenCrossing(
            owners: stride(from: 0, to: plan.owners.count, by: count).map {
                Array(plan.owners[$0..<$0 + count])
            }, region: me, servers: [nil, nil],
            budgets: (0..<2).map { $0 == me ? 0 : plan.budgets[me] })
    }

    private final class Alone: TokenTransport {
        let memberCount = 1
        let me = 0
        let plan: UInt32
        let crossing: TokenCrossing?

        init(plan: UInt32, crossing: TokenCrossing) {
            self.plan = plan
            self.crossing = crossing
        }

        func send(
            _ batch: TokenBatch, to member: Int, part: Range<Int>, total: Int, words: [UInt32],
            make: (Range<Int>, inout MutableSpan<Float>) -> Void
        ) {
            preconditionFailure("there is nobody to send to")
        }

        func receive(
            _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
        ) throws(TokensInterrupted) -> [TokenArrivals] { [TokenArrivals()] }

        func receive(
            _ batch: TokenBatch, capacity: Int,
            take: (TokenPart, _ words: Span<UInt32>, _ values: Span<Float>) -> Void
        ) throws(TokensInterrupted) -> [TokenArrivals] { [TokenArrivals()] }
    }
}
