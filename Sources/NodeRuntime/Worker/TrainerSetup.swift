package import ClusterModel
import Compression
import Coordination
import Foundation
import Training

/// Everything about a worker's trainer that the run's configuration decides. Equal configurations give
/// equal trainers on every machine.
package struct TrainerSetup: Sendable {
    package let configuration: RunConfiguration
    package let worker: WorkerID
    package let name: String
    package let seats: Int
    /// By seat.
    let workerNames: [String]
    /// The seat, whose pace holds for its own micro-batch.
    private let seat: Topology.Worker
    /// The region's part of the text.
    private let text: Topology.TextPart?
    /// Whether wall time counts: steps are paced, and compressors measured.
    package let isTimed: Bool
    /// Of the slowest link of this worker's region, in bytes per second; what compressing must beat.
    package let linkBytesPerSecond: Double
    /// Chunks go as their transform leaves them: sizes are then known beforehand.
    package var storesChunks = false
    /// How tokens travel to the experts of other workers.
    var tokenTransform: TransformID
    /// Where the state for `--resume` lies.
    package let statePath: String
    /// Where the first rank writes the trained model.
    package let modelPath: String

    /// - Parameter isTimed: wall time counts; false under a driver with a clock of its own.
    package init(
        configuration: RunConfiguration, topology: Topology, worker: WorkerID, name: String,
        directory: String, isTimed: Bool = true
    ) {
        self.configuration = configuration
        self.worker = worker
        self.name = name
        let seats = topology.seats
        self.seats = seats.count
        workerNames = seats.map(\.worker.name)
        let seat = seats[Int(worker.rawValue)]
        self.isTimed = isTimed
        self.seat = seat.worker
        text = topology.regions[seat.region.index].text
        let rates = topology.links.filter { $0.a == seat.region || $0.b == seat.region }.map(\.rate)
        // A link without a limit is taken for 10 Gbit/s.
        let slowest = rates.filter { $0 > 0 }.min() ?? 10_000_000_000
        linkBytesPerSecond = Double(slowest) / 8
        tokenTransform = configuration.model.experts?.tokenWire ?? .fp32
        statePath = "\(directory)/worker-\(name).safetensors"
        modelPath = "\(directory)/model.safetensors"
    }

    /// Emulated time of a step with so many sequences; zero: as fast as it goes.
    package func nominalStep(samples: Int) -> Interval {
        isTimed ? seat.nominalStep(samples: samples) : .zero
    }

    /// The one place where an outer optimiser's name becomes its type.
    var outerOptimiser: any OuterOptimiser {
        let schedule = configuration.schedule
        let rate = Float(schedule.outerLearningRate)
        let momentum = Float(schedule.outerMomentum)
        return switch schedule.optimiser {
        case .nesterov: OuterNesterov(learningRate: rate, momentum: momentum)
        case .sgd: OuterSGD(learningRate: rate)
        case .delayedNesterov:
            OuterDelayedNesterov(
                learningRate: rate, momentum: momentum, every: schedule.momentumEvery)
        }
    }

    /// Inside a region links are fast and bytes are fp32: compressing costs more than it saves. Between
    /// regions the stage that has been cheapest at the link's rate is taken, chunk by chunk.
    func losslessChoice(_ scope: CollectiveKey.Scope, _ transform: TransformID) -> LosslessChoice {
        switch scope {
        case _ where storesChunks: .stored
        case .region: .stored
        case .pool where isTimed: .adaptive(linkBytesPerSecond: linkBytesPerSecond)
        case .pool:
            .modelled(
                linkBytesPerSecond: linkBytesPerSecond,
                compressorBytesPerSecond: Self.compressorBytesPerSecond)
        }
    }

    /// zstd at level 1 on quantised gradients, one core (docs/reduction.md).
    static let compressorBytesPerSecond = 3e8

    static func shape(_ model: RunConfiguration.Model) -> ModelShape {
        ModelShape(
            dModel: model.width, layers: model.layers, heads: model.heads, context: model.context,
            tiedHead: model.tiedHead, experts: model.experts.map { ExpertShape($0) })
    }

    /// Nil: a synthetic model reads none.
    func loadCorpus() throws -> Corpus? {
        guard configuration.model.synthetic == nil else { return nil }
        return try Corpus.load(path: configuration.data.path, context: configuration.model.context)
    }

    /// What this worker's region draws from.
    private func samples(_ corpus: Corpus) throws -> Range<Int>? {
        guard let text else { return nil }
        let samples = text.samples(of: corpus.trainingSampleCount)
        guard !samples.isEmpty else {
            throw CorpusError.tooShort(
                path: "\(configuration.data.path) from \(text.from) to \(text.to)", bytes: 0,
                needed: configuration.model.context + 1)
        }
        return samples
    }

    /// - Parameter corpus: the configured text (``loadCorpus()``).
    func makeTrainer(_ corpus: Corpus?) throws -> any Trainer {
        let trainer = try corpus.map { try makeTransformer($0) } ?? makeSynthetic()
        if let path = configuration.startFrom {
            try TrainerCheckpoint.restoreParameters(trainer, path: path)
        }
        return trainer
    }

    private func makeSynthetic() -> any Trainer {
        SyntheticTrainer(
            parameterCount: Int(configuration.model.parameterCount), seed: configuration.seed,
            tokensPerSample: configuration.model.context,
            keepsOuterCopy: !configuration.outerSchedule.sharesGradients)
    }

    private func makeTransformer(_ corpus: Corpus) throws -> any Trainer {
        let training = configuration.training
        return try TransformerTrainer(
            settings: TransformerTrainerSettings(
                shape: Self.shape(configuration.model), seed: configuration.seed,
                optimiser: AdamWSettings(
                    weightDecay: Float(training.weightDecay),
                    clipNorm: training.clipNorm > 0 ? Float(training.clipNorm) : nil),
                schedule: LearningRateSchedule(
                    peak: Float(training.learningRate),
                    floor: Float(training.learningRate * training.finalShare),
                    warmupSteps: Int(min(training.warmupSteps, configuration.steps)),
                    totalSteps: Int(configuration.steps)),
                keepsOuterCopy: !configuration.outerSchedule.sharesGradients,
                spreadsExperts: configuration.model.experts?.spread == .region,
                placeEvery: Int(configuration.model.experts?.placeEvery ?? 0),
                keepsAtHolders: configuration.keepsExpertsAtHolders),
            corpus: corpus, samples: try samples(corpus))
    }
}

/// What a saved state says of itself.
package struct RestoredState: Sendable, Equatable {
    package var step: UInt32
    package var round: UInt32
    package var samples: UInt64
    package var digest: UInt64
    /// Live parameters are not the outer copy: steps were taken since the last round.
    package var hasRest = false
    /// ``Trainer/heldExperts``.
    package var held: [[Bool]]?
}

/// A saved state that cannot be used, and why.
package struct StateFileError: Error, CustomStringConvertible {
    package let path: String
    package let reason: String
    package var description: String {
        "cannot resume from \(path): \(reason). Remove the file to start afresh, or resume with the "
            + "cluster file it was written for"
    }
}

extension TrainerSetup {
    /// Metadata keys of a state file.
    private enum Key {
        static let run = "longhaul.run"
        static let step = "longhaul.step"
        static let round = "longhaul.round"
        static let samples = "longhaul.samples"
        static let digest = "longhaul.digest"
        static let seed = "longhaul.seed"
        /// Over every tensor of the file; the digest above is over what members share only.
        static let contents = "longhaul.contents"
        /// Of each block a digit for each expert, 1: its last weights and moments are in this file.
        static let held = "longhaul.held_experts"
    }

    func writeState(
        _ trainer: any Trainer, step: UInt32, round: UInt32, samples: UInt64, digest: UInt64
    ) throws -> UInt64 {
        try TrainerCheckpoint.save(
            trainer, path: statePath,
            metadata: [
                (Key.run, configuration.name), (Key.seed, String(configuration.seed)),
                (Key.step, String(step)), (Key.round, String(round)),
                (Key.samples, String(samples)), (Key.digest, String(digest, radix: 16)),
                (Key.contents, String(Self.contents(trainer), radix: 16)),
            ] + Self.metadata(held: trainer.heldExperts))
        let attributes = try FileManager.default.attributesOfItem(atPath: statePath)
        return (attributes[.size] as? NSNumber)?.uint64Value ?? 0
    }

    private static func metadata(held: [[Bool]]?) -> [(String, String)] {
        guard let held else { return [] }
        let blocks = held.map { block in block.map { $0 ? "1" : "0" }.joined() }
        return [(Key.held, blocks.joined(separator: " "))]
    }

    /// Parameters only, by their PyTorch names, for everybody else's tools.
    func writeModel(_ trainer: any Trainer) throws {
        let entries = trainer.tensors.map {
            SafetensorsEntry(name: $0.name, type: .float32, shape: $0.shape)
        }
        try SafetensorsWriter.write(
            path: modelPath, entries: entries,
            metadata: [("format", "pt"), (Key.run, configuration.name)]
        ) { writer throws(SafetensorsError) in
            let all = 0..<trainer.parameterCount
            let vector: StateVector = trainer.keepsOuterCopy ? .outerCopy : .parameters
            try trainer.withState(vector, range: all) { span throws(SafetensorsError) in
                try writer.write(floats: span)
            }
        }
    }

    /// XXH3 over every vector of a state: moments of the optimiser too, which members do not share.
    private static func contents(_ trainer: any Trainer) -> UInt64 {
        var digest = Digest64()
        for vector in trainer.stateVectors {
            trainer.withState(vector, range: 0..<trainer.parameterCount) { digest.update($0) }
        }
        return digest.value
    }

    static func hasRest(_ trainer: any Trainer) -> Bool {
        guard trainer.keepsOuterCopy else { return false }
        let digests = [StateVector.parameters, .outerCopy].map { vector in
            var digest = Digest64()
            trainer.withState(vector, range: 0..<trainer.parameterCount) { digest.update($0) }
            return digest.value
        }
        return digests[0] != digests[1]
    }

    /// The digests over what was read must be the ones that were written: a flipped bit in a tensor
    /// is not otherwise visible.
    func restoreState(
        _ trainer: any Trainer, digest: (any Trainer) -> UInt64
    ) throws -> RestoredState {
        let metadata = try TrainerCheckpoint.restore(trainer, path: statePath)
        func value(_ key: String, radix: Int = 10) throws -> UInt64 {
            guard let text = metadata.first(where: { $0.key == key })?.value,
                let number = UInt64(text, radix: radix)
            else { throw StateFileError(path: statePath, reason: "metadata '\(key)' is missing") }
            return number
        }
        var state = RestoredState(
            step: UInt32(clamping: try value(Key.step)),
            round: UInt32(clamping: try value(Key.round)), samples: try value(Key.samples),
            digest: try value(Key.digest, radix: 16), hasRest: Self.hasRest(trainer))
        state.held = metadata.first { $0.key == Key.held }?.value.split(separator: " ").map {
            $0.map { $0 == "1" }
        }
        guard state.held == nil || configuration.keepsExpertsAtHolders else {
            throw StateFileError(
                path: statePath,
                reason:
                    "it was written under `keep: holder`, and other workers have the rest of the "
                    + "experts")
        }
        guard try value(Key.seed) == configuration.seed else {
            throw StateFileError(
                path: statePath, reason: "it belongs to a run with seed \(try value(Key.seed))")
        }
        let contents = try value(Key.contents, radix: 16)
        guard digest(trainer) == state.digest, Self.contents(trainer) == contents else {
            throw StateFileError(
                path: statePath, reason: "its contents do not match their digest (damaged file)")
        }
        return state
    }

    /// After taking over a peer's vectors: counters that follow from the step.
    func synchroniseCounters(_ trainer: any Trainer, step: UInt32) {
        var counters = TrainerCounters()
        counters.innerSteps = UInt64(step)
        counters.tokens = trainer.counters.tokens
        let settings = AdamWSettings()
        for _ in 0..<step {
            counters.beta1Power *= Double(settings.beta1)
            counters.beta2Power *= Double(settings.beta2)
        }
        trainer.counters = counters
    }
}
