import TrainingKernels

/// Settings of a `TransformerTrainer`; equal on every worker of a run.
package struct TransformerTrainerSettings: Codable, Sendable, Equatable {
    package var shape: ModelShape
    /// Decides the initial parameters and the order of the samples.
    package var seed: UInt64
    package var optimiser: AdamWSettings
    package var schedule: LearningRateSchedule
    /// Whether an outer copy is kept: all outer schedules except `every-step`.
    package var keepsOuterCopy: Bool
    /// Whether an expert is computed by one worker of a region only.
    package var spreadsExperts: Bool
    /// Steps after which spread experts are placed by their loads; 0: never.
    package var placeEvery: Int
    /// Whether between rounds only the worker that computes an expert keeps it.
    package var keepsAtHolders: Bool

    package init(
        shape: ModelShape = ModelShape(), seed: UInt64 = 0,
        optimiser: AdamWSettings = AdamWSettings(), schedule: LearningRateSchedule,
        keepsOuterCopy: Bool, spreadsExperts: Bool = false,
        placeEvery: Int = 0, keepsAtHolders: Bool = false
    ) {
        self.shape = shape
        self.seed = seed
        self.optimiser = optimiser
        self.schedule = schedule
        self.keepsOuterCopy = keepsOuterCopy
        self.spreadsExperts = spreadsExperts
        self.placeEvery = placeEvery
        self.keepsAtHolders = keepsAtHolders
    }
}

/// Trains a byte-level transformer on a text.
package final class TransformerTrainer: Trainer, MemoryBackedTrainer {
    package let settings: TransformerTrainerSettings
    package let tensors: [TensorSpec]
    package let parameterCount: Int
    package var counters = TrainerCounters()
    package private(set) var expertUse: [ExpertUse] = []
    let memory: TrainerMemory
    private let corpus: Corpus
    private let order: SampleOrder
    private let firstSample: Int
    private let transformer: Transformer
    private let optimiser: AdamW
    /// Elements before the state of gates, which no gradient trains.
    private let trainedCount: Int
    private var stepTokens = 0
    /// Where experts are, if they are spread; of the plan in force.
    private var spread: SpreadState?
    private var spreadReport: ExpertSpreadReport?
    /// Which experts this region computes, by block; nil: all.
    private var ownExperts: [[Bool]]?
    private var crossing: CrossingCounts?
    /// Nil: every worker keeps everything.
    private let kept: KeptExperts?
    /// Of the gradients of all experts in the step computed last, squared; where they are kept apart.
    private var expertNorm = 0.0

    /// Equal settings give equal initial parameters on every machine; the outer copy starts as them.
    ///
    /// - Parameter samples: of the corpus, what is drawn from; nil: all.
    /// - Precondition: the corpus is cut for the shape's context and has the samples.
    package init(
        settings: TransformerTrainerSettings, corpus: Corpus, samples: Range<Int>? = nil
    ) throws(ModelShapeError) {
        precondition(corpus.context == settings.shape.context, "corpus cut for another context")
        let samples = samples ?? 0..<corpus.trainingSampleCount
        precondition(!samples.isEmpty && samples.upperBound <= corpus.trainingSampleCount)
        firstSample = samples.lowerBound
        self.settings = settings
        self.corpus = corpus
        transformer = try Transformer(shape: settings.shape)
        tensors = settings.shape.tensors
        parameterCount = settings.shape.parameterCount
        trainedCount = settings.shape.trainedCount
        order = SampleOrder(seed: settings.seed, sampleCount: samples.count)
        optimiser = AdamW(tensors: tensors, settings: settings.optimiser)
        kept = settings.keptExperts
        memory = TrainerMemory(
            parameters: transformer.parameters.floats, gradients: transformer.gradients.floats,
            firstMoment: optimiser.firstMoment.floats, secondMoment: optimiser.secondMoment.floats,
            keepsOuterCopy: settings.keepsOuterCopy,
            gradientPlace: SharedFloats(transformer.gradients))
        transformer.initialise(seed: settings.seed)
        resetOuterState()
    }

    package var keepsOuterCopy: Bool { settings.keepsOuterCopy }

    package func computeGradient(samples: [UInt64]) -> StepResult {
        ownExperts = nil
        if let kept {
            let lost = kept.holdAll(keptVectors)
            transformer.wantedGradients = nil
            spreadReport = ExpertSpreadReport(
                holders: [],
                moves: ExpertSpreadReport.Moves(valuesOfExpert: 0, nanoseconds: 0, lost: lost))
        }
        let batch = drawn(samples)
        let loss = transformer.forwardBackward(inputs: batch.inputs, targets: batch.targets)
        expertNorm = kept?.squaredNorm(transformer.gradients.floats) ?? 0
        return count(tokens: batch.targets.count, loss: loss)
    }

    /// Experts that others hold are computed there, on this worker's tokens too, and those held here on
    /// everybody's.
    package func computeGradient(
        samples: [UInt64], with members: any TokenTransport
    ) throws(TokensInterrupted) -> StepResult {
        let crossing = members.crossing
        guard settings.spreadsExperts || crossing != nil, let experts = settings.shape.experts
        else { return computeGradient(samples: samples) }
        ownExperts = crossing?.isOwn
        let batch = drawn(samples)
        let state: SpreadState
        if let known = spread, known.plan == members.plan {
            state = known
        } else {
            state = SpreadState(
                experts, layers: settings.shape.layers, plan: members.plan,
                members: members.memberCount,
                holders: crossing?.holders(me: members.me))
            spread = state
            if crossing == nil { spreadReport = ExpertSpreadReport(holders: state.holders) }
        }
        if settings.placeEvery > 0, state.steps >= settings.placeEvery {
            spreadReport = state.place()
        }
        if state.memory == nil {
            state.memory = transformer.makeSpreadMemory(
                members: state.members, holders: state.holders)
        }
        guard let memory = state.memory else { preconditionFailure("made above") }
        try bringExperts(state, members)
        let loss = try transformer.forwardBackward(
            inputs: batch.inputs, targets: batch.targets, memory: memory, members: members,
            contributesAlone: crossing == nil)
        if crossing != nil { self.crossing = transformer.crossingCounts }
        expertNorm = try kept?.squaredNorm(transformer.gradients.floats, members) ?? 0
        return count(tokens: batch.targets.count, loss: loss)
    }

    /// Before the first step under other holders.
    private func bringExperts(
        _ state: SpreadState, _ members: any TokenTransport
    ) throws(TokensInterrupted) {
        guard let kept, !state.isBrought else { return }
        let start = ContinuousClock.now
        let lost = try kept.move(to: state.holders, members, keptVectors)
        state.isBrought = true
        transformer.wantedGradients = kept.isNeeded
        let elapsed = ContinuousClock.now - start
        spreadReport?.moves = ExpertSpreadReport.Moves(
            valuesOfExpert: 3 * (kept.ranges[0].first?.count ?? 0),
            nanoseconds: Int64(elapsed / .nanoseconds(1)), lost: lost)
    }

    private var keptVectors: KeptExperts.Vectors {
        KeptExperts.Vectors(
            weights: memory.parameters, firstMoment: memory.firstMoment,
            secondMoment: memory.secondMoment, lastRound: memory.outerCopy)
    }

    package var heldExperts: [[Bool]]? {
        get { kept?.held }
        set { kept?.restore(newValue) }
    }

    package func tookOver() { kept?.holdNothing() }

    package func takeCrossing() -> CrossingCounts? { crossing.take() }

    package func takeSpreadReport() -> ExpertSpreadReport? {
        defer { spreadReport = nil }
        return spreadReport
    }

    private func drawn(_ samples: [UInt64]) -> Batch {
        precondition(!samples.isEmpty, "a step needs samples")
        return corpus.trainingBatch(samples.map { firstSample + order.sample(at: $0) })
    }

    private func count(tokens: Int, loss: Float) -> StepResult {
        counters.tokens += UInt64(tokens)
        stepTokens = tokens
        return StepResult(tokens: tokens, loss: loss)
    }

    /// What no gradient trains, counts of experts, is looked up in the model's own vector: it goes there.
    package func adoptGradient(_ place: SharedFloats?) {
        memory.adopted = place
        guard let place, trainedCount < parameterCount else { return }
        let rest = trainedCount..<parameterCount
        transformer.gradients.floats.part(rest).copy(from: place.floats.part(rest))
    }

    package func evaluate(samples: Int) -> Float {
        let count = min(samples, corpus.validationSampleCount)
        precondition(count >= 1, "an evaluation needs samples")
        // Sixteen samples at a time bound the batch's memory.
        var total = 0.0
        for start in stride(from: 0, to: count, by: 16) {
            let part = start..<min(start + 16, count)
            let batch = corpus.validationBatch(part)
            let loss = transformer.loss(inputs: batch.inputs, targets: batch.targets)
            total += Double(loss) * Double(part.count)
        }
        return Float(total / Double(count))
    }

    @discardableResult
    package func optimiserStep() -> OptimiserReport {
        let rate = settings.schedule.rate(step: Int(counters.innerSteps))
        let norm = meanGradientNorm
        var scale: Float = 1
        if let limit = settings.optimiser.clipNorm, norm > limit {
            scale = limit / norm
        }
        counters.innerSteps += 1
        counters.beta1Power *= Double(settings.optimiser.beta1)
        counters.beta2Power *= Double(settings.optimiser.beta2)
        func step(_ ranges: [Range<Int>]?, _ gradients: Floats) {
            optimiser.step(
                ranges, parameters: memory.parameters, gradients: gradients, learningRate: rate,
                gradientScale: scale, powers: (counters.beta1Power, counters.beta2Power))
        }
        if let kept {
            // Gradients of experts have not been anywhere else.
            step(kept.rest, memory.gradients)
            step(kept.heldRanges, transformer.gradients.floats)
            let vectors = keptVectors
            for range in kept.commit() {
                vectors.weights.part(range).copy(from: vectors.lastRound.part(range))
                vectors.firstMoment.part(range).forget()
                vectors.secondMoment.part(range).forget()
                transformer.gradients.floats.part(range).forget()
            }
        } else {
            step(nil, memory.gradients)
        }
        expertUse = transformer.expertUse(tokens: stepTokens)
        spread?.add(expertUse)
        transformer.balanceExperts(own: ownExperts)
        return OptimiserReport(gradientNorm: norm, learningRate: rate)
    }

    private var meanGradientNorm: Float {
        guard let kept else { return gradientNorm(memory.gradients.part(0, trainedCount)) }
        return Float(
            (KeptExperts.squaredNorm(memory.gradients, kept.rest) + expertNorm).squareRoot())
    }
}

extension TransformerTrainerSettings {
    fileprivate var keptExperts: KeptExperts? {
        guard keepsAtHolders, keepsOuterCopy, let experts = shape.experts else { return nil }
        return KeptExperts(
            shape.tensors, layers: shape.layers, experts: experts.count, width: shape.dModel,
            trained: shape.trainedCount)
    }
}
