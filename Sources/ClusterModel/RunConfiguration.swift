/// Everything a run fixes at its start besides the topology. The coordinator hands it to every worker
/// in WELCOME, so that a worker needs no settings of its own.
package struct RunConfiguration: Codable, Equatable, Sendable {
    package var name: String
    package var seed: UInt64
    /// Inner steps each replica trains before the run ends.
    package var steps: UInt32
    package var model: Model
    package var training: Training
    package var schedule: Schedule
    package var wire: Wire
    package var deadlines: Deadlines
    package var data: Data
    /// A safetensors file on every worker's machine whose parameters the run starts from; nil: drawn by
    /// the seed.
    package var startFrom: String?

    package init(
        name: String, seed: UInt64, steps: UInt32, model: Model, training: Training,
        schedule: Schedule, wire: Wire, deadlines: Deadlines, data: Data
    ) {
        self.name = name
        self.seed = seed
        self.steps = steps
        self.model = model
        self.training = training
        self.schedule = schedule
        self.wire = wire
        self.deadlines = deadlines
        self.data = data
    }

    /// Decoder-only byte-level transformer.
    package struct Model: Codable, Equatable, Sendable {
        package var width: Int
        package var layers: Int
        package var heads: Int
        package var context: Int
        package var tiedHead: Bool
        /// Experts in the place of each feed-forward layer; nil: a dense model.
        package var experts: Experts?
        /// Parameters of a model that learns nothing: no text, no gradient, values by a generator. The
        /// rest of the description is then that of ``synthetic(parameters:)``. Nil: a model that trains.
        package var synthetic: Int?
        package init(
            width: Int, layers: Int, heads: Int, context: Int, tiedHead: Bool,
            experts: Experts? = nil
        ) {
            self.width = width
            self.layers = layers
            self.heads = heads
            self.context = context
            self.tiedHead = tiedHead
            self.experts = experts
        }
        /// Equal parts that `outer: streaming` may send one after the other.
        package static let syntheticLayers = 8
        /// What a run needs whose bytes count and whose values do not.
        package static func synthetic(parameters: Int) -> Model {
            var model = Model(
                width: 1, layers: syntheticLayers, heads: 1, context: standard.context,
                tiedHead: false)
            model.synthetic = parameters
            return model
        }
        package static let standard = Model(
            width: 128, layers: 2, heads: 4, context: 128, tiedHead: false)
    }

    package struct Training: Codable, Equatable, Sendable {
        package var learningRate: Double
        package var warmupSteps: UInt32
        /// Share of `learningRate` the cosine ends at.
        package var finalShare: Double
        package var weightDecay: Double
        /// Global gradient norm above which a gradient is scaled down; 0 = never.
        package var clipNorm: Double
        /// Inner steps between evaluations; 0 = only at the end.
        package var evaluateEvery: UInt32
        /// Validation samples per evaluation.
        package var evaluationSamples: Int
        /// Outer rounds between checkpoints; 0 = only at the end.
        package var checkpointEvery: UInt32
        package init(
            learningRate: Double, warmupSteps: UInt32, finalShare: Double, weightDecay: Double,
            clipNorm: Double, evaluateEvery: UInt32, evaluationSamples: Int,
            checkpointEvery: UInt32
        ) {
            self.learningRate = learningRate
            self.warmupSteps = warmupSteps
            self.finalShare = finalShare
            self.weightDecay = weightDecay
            self.clipNorm = clipNorm
            self.evaluateEvery = evaluateEvery
            self.evaluationSamples = evaluationSamples
            self.checkpointEvery = checkpointEvery
        }
        package static let standard = Training(
            learningRate: 1e-3, warmupSteps: 20, finalShare: 0.1, weightDecay: 0.1, clipNorm: 1,
            evaluateEvery: 100, evaluationSamples: 32, checkpointEvery: 5)
    }

    /// The two levels of synchronisation.
    package struct Schedule: Codable, Equatable, Sendable {
        package enum Inner: String, Codable, CaseIterable, Sendable {
            case everyStep = "every-step"
            case none
        }
        package enum Outer: String, Codable, CaseIterable, Sendable {
            case everyStep = "every-step"
            case localSGD = "local-sgd"
            case diloco
            case streaming
            case decoupled
        }
        package enum Optimiser: String, Codable, CaseIterable, Sendable {
            case nesterov
            case sgd
            case delayedNesterov = "delayed-nesterov"
        }
        /// How many inner steps a region takes between two departures of a fragment.
        package enum LocalSteps: String, Codable, CaseIterable, Sendable {
            /// H everywhere: the slowest region sets the pace.
            case equal
            /// In proportion to the speed of the slowest worker's nominal step: all arrive together.
            case nominal
            /// As nominal, and from the first measured rates on as those say.
            case measured
        }
        /// What an expert's part of a contribution counts for between replicas.
        package enum ExpertWeights: String, Codable, CaseIterable, Sendable {
            /// The tokens that used it since it left last.
            case tokens
            /// All tokens of the replica, as the rest of the model.
            case mean
        }
        package var inner: Inner
        package var outer: Outer
        /// H: inner steps between two outer rounds. 1 under `every-step`.
        package var syncEvery: UInt32
        package var outerLearningRate: Double
        package var outerMomentum: Double
        /// Plans follow measured rates: micro-batches move to whoever is faster. Such a run does
        /// not repeat byte by byte; its record has the plans.
        package var adapts: Bool
        /// P: parts of the model that leave one after the other. 1 except under `streaming`.
        package var fragments: Int
        /// tau: inner steps between a fragment's leaving and its mean's being applied.
        package var overlap: UInt32
        /// `overlap: auto`: each replica has the tau of ``OverlapChoice``, and `overlap` is the least;
        /// nil: the same everywhere.
        package var choosesOverlap: Bool?
        /// alpha: share of the local parameters that remain when a mean is applied.
        package var blend: Double
        package var optimiser: Optimiser
        /// N of delayed Nesterov: rounds between two uses of the momentum.
        package var momentumEvery: UInt32
        package var localSteps: LocalSteps
        /// Of no effect on a model without experts, and under `every-step`.
        package var expertWeights: ExpertWeights
        /// Rarely used experts are exchanged in every 2nd, 4th ... round, at least in every one of so many;
        /// nil: all in every round.
        package var expertRounds: UInt32?
        /// Of `decoupled`; nil under all others.
        package var closing: ClosingRules?
        package init(
            inner: Inner, outer: Outer, syncEvery: UInt32, outerLearningRate: Double,
            outerMomentum: Double, fragments: Int = 1, overlap: UInt32 = 0, blend: Double = 0,
            optimiser: Optimiser = .nesterov, momentumEvery: UInt32 = 1,
            localSteps: LocalSteps = .equal, adapts: Bool = false,
            expertWeights: ExpertWeights = .tokens, expertRounds: UInt32? = nil,
            closing: ClosingRules? = nil
        ) {
            self.inner = inner
            self.outer = outer
            self.syncEvery = syncEvery
            self.outerLearningRate = outerLearningRate
            self.outerMomentum = outerMomentum
            self.adapts = adapts
            self.fragments = fragments
            self.overlap = overlap
            self.blend = blend
            self.optimiser = optimiser
            self.momentumEvery = momentumEvery
            self.localSteps = localSteps
            self.expertWeights = expertWeights
            self.expertRounds = expertRounds
            self.closing = closing
        }
    }

    /// Lossy transforms, fixed by the plan.
    package struct Wire: Codable, Equatable, Sendable {
        package var insideRegion: TransformID
        package var betweenRegions: TransformID
        /// `between: auto`: each link carries what its rate has time for, `betweenRegions` being what
        /// crosses no link; nil: the same everywhere.
        package var choosesBetween: Bool?
        /// What a lossy transform withholds is added to the sender's next contribution.
        package var errorFeedback: Bool
        package init(
            insideRegion: TransformID, betweenRegions: TransformID, errorFeedback: Bool = true
        ) {
            self.insideRegion = insideRegion
            self.betweenRegions = betweenRegions
            self.errorFeedback = errorFeedback
        }
    }

    package struct Deadlines: Codable, Equatable, Sendable {
        /// With less, one late heartbeat of the one a second would evict its worker, or a region behind an
        /// outage before it is known to be silent as a whole.
        package static let shortestSilence = Interval.seconds(5)

        /// Silence after which a worker is evicted.
        package var silence: Interval
        /// Waiting after which the run says for whom it waits.
        package var patience: Interval
        /// How long workers train on without a coordinator.
        package var coordinator: Interval
        /// How long the coordinator waits for all seats to be taken before it says so and goes on
        /// waiting, or starts with `minimumWorkers`.
        package var gathering: Interval
        package var minimumWorkers: Int
        package init(
            silence: Interval, patience: Interval, coordinator: Interval, gathering: Interval,
            minimumWorkers: Int
        ) {
            self.silence = silence
            self.patience = patience
            self.coordinator = coordinator
            self.gathering = gathering
            self.minimumWorkers = minimumWorkers
        }
        package static let standard = Deadlines(
            silence: .seconds(15), patience: .seconds(5), coordinator: .seconds(60),
            gathering: .seconds(60), minimumWorkers: 1)
    }

    /// Where the text is on every worker's machine.
    package struct Data: Codable, Equatable, Sendable {
        package var path: String
        package init(path: String) { self.path = path }
        /// Webster 1913, Debian package `dict-gcide`.
        package static let gcide = Data(path: "/usr/share/dictd/gcide.dict.dz")
    }
}
