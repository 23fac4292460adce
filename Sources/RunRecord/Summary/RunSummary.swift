package import ClusterModel

/// The figures of one run, computed from its events and from nothing else. Encoded as `run.json`
/// with keys in snake case; units are base units and stand in the names.
package struct RunSummary: Codable, Equatable, Sendable {
    /// Grows when a key changes its meaning.
    package static let formatVersion = 1

    package var formatVersion: Int
    package var identity: Identity
    package var setup: Setup
    package var outcome: Outcome
    package var pool: Pool
    package var regions: [Region]
    package var workers: [Worker]
    /// Energy and cost by the device profiles; nil where no device has any.
    package var metering: Metering?
    /// Directed, between regions; then inside regions (from = to), where only lanes count.
    package var links: [Link]
    /// What contributions between regions took, by class of tensors.
    package var tensorClasses: [TensorClass]
    /// How experts were used; nil for a dense model.
    package var experts: Experts?
    /// Pairs of workers without a lane, and what others passed on between them.
    package var relayed: [Relayed]
    package var loss: Loss
    package var rounds: Rounds
    package var counts: Counts
    /// What happened besides training, in order of time; at most ``incidentLimit``, counts go on.
    package var incidents: [Incident]
    package var peakMemory: [ProcessMemory]
    package var similarity: SimilarityRatios
    package var fullScaleSimilarity: SimilarityRatios
    package var definitions: [Definition]

    /// Bounds run.json and the report; a run with more incidents than this has one story to tell.
    package static let incidentLimit = 1_000
    /// Points of a curve or series: more than a chart has pixels.
    package static let pointLimit = 1_000
    /// Steps that the final training loss is the mean of.
    package static let finalLossSteps = 10

    package func worker(_ id: UInt32) -> Worker? { workers.first { $0.id == id } }
}

extension RunSummary {
    /// One direction of a pair without a lane. Bytes are of whole frames, counted once.
    package struct Relayed: Codable, Equatable, Sendable {
        package var from: String
        package var to: String
        package var via: String
        package var frames: UInt64
        package var bytes: UInt64
    }

    /// What a reader needs to repeat the run or to compare it.
    package struct Identity: Codable, Equatable, Sendable {
        package var run: String
        package var name: String
        package var version: String
        package var command: [String]
        package var seed: UInt64
        package var machine: String
        /// What each process said its reduction kernels were compiled for; empty when nobody did.
        package var kernels: [String]
        package var curve: Bool
        package var emulated: Bool
        /// `relay` or `packet`; nil in records that do not say.
        package var emulation: String?
        /// What is real and what is modelled in a simulated run; nil for one of real processes.
        package var simulated: String?
        /// Lives of the coordinator: more than one when it was restarted.
        package var coordinatorStarts: Int
    }

    /// What was trained and how, as the run was configured.
    package struct Setup: Codable, Equatable, Sendable {
        package var steps: UInt32
        package var parameterCount: UInt64
        package var width: Int
        package var layers: Int
        package var heads: Int
        package var contextTokens: Int
        package var innerSchedule: String
        package var outerSchedule: String
        package var syncEverySteps: UInt32
        package var outerLearningRate: Double
        package var outerMomentum: Double
        /// `overlap: auto`: tau of each replica, and why; nil otherwise.
        package var overlaps: [String]?
        package var wireInside: String
        package var wireBetween: String
        package var coordinatorRegion: String
        package var dataPath: String
        /// True: no model trains; values come from a generator, and losses mean nothing.
        package var synthetic: Bool?
    }

    package struct Outcome: Codable, Equatable, Sendable {
        /// Whether the log has the run's end. If not, all figures are up to where it stops.
        package var isComplete: Bool
        package var exitCode: Int32?
        package var reason: String
        package var models: [Model]

        package struct Model: Codable, Equatable, Sendable {
            package var worker: String
            package var path: String
            package var digest: String
        }
    }

    package struct Pool: Codable, Equatable, Sendable {
        /// Log start to last event.
        package var wallSeconds: Double
        /// From the first step's start to the last step applied or round committed.
        package var trainingStartSeconds: Double
        package var trainingSeconds: Double
        package var lastStep: UInt32
        /// Of steps that count: a step trained again is counted once.
        package var tokens: UInt64
        /// Tokens of steps that were trained again after a failure.
        package var repeatedTokens: UInt64
        package var tokensPerSecond: Double?
        package var computeUtilisation: Double?
        /// The same two from the first step to the last (whole rounds): without what the start and
        /// the end of a run cost once.
        package var steadyTokensPerSecond: Double?
        package var steadyComputeUtilisation: Double?
        package var bytesBetweenRegionsRelay: UInt64?
        package var bytesBetweenRegionsLanes: UInt64
        /// Part of the machine's cores that the workers' processes together took (processor time / wall
        /// time of the trainer threads / cores); nil where workers have machines of their own.
        package var coreShare: Double?

        /// Above this share steps wait for cores, not for peers.
        package static let contendedShare = 0.75
        /// CU and E1 then say more about this machine than about the link.
        package var isContended: Bool { (coreShare ?? 0) > Self.contendedShare }
    }

    package struct Region: Codable, Equatable, Sendable {
        package var name: String
        package var workers: Int
        package var tokens: UInt64
        package var tokensPerSecond: Double?
        package var computeUtilisation: Double?
        package var finalTrainingLoss: Double?
        package var finalValidationLoss: Double?
    }

    package struct Worker: Codable, Equatable, Sendable {
        package var id: UInt32
        package var name: String
        package var region: String
        package var microBatch: Int
        package var nominalStepSeconds: Double
        /// Lives of the process: more than one when it came back.
        package var incarnations: Int
        package var lastStep: UInt32
        package var tokens: UInt64
        /// Over the wall time of its own trainer thread.
        package var tokensPerSecond: Double?
        package var computeUtilisation: Double?
        package var finalTrainingLoss: Double?
        package var budget: Budget?
        /// "in the run", or how it left.
        package var state: String
    }

    /// Where a trainer thread's wall time went. The seven categories and the residue sum to `wall`.
    package struct Budget: Codable, Equatable, Sendable {
        package var wallSeconds: Double
        package var computeSeconds: Double
        package var encodeSeconds: Double
        package var waitSeconds: Double
        package var transferSeconds: Double
        package var decodeSeconds: Double
        package var applySeconds: Double
        package var recoverSeconds: Double
        /// Part of `compute`.
        package var pacedSeconds: Double
        /// Wall time no category claims; negative when they claim more than there is.
        package var residueSeconds: Double
        /// Whether the residue is within 1 % of the wall time.
        package var isBalanced: Bool

        /// The seven categories in the order of the architecture page.
        package var categories: [(name: String, seconds: Double)] {
            [
                ("compute", computeSeconds), ("encode", encodeSeconds), ("wait", waitSeconds),
                ("transfer", transferSeconds), ("decode", decodeSeconds), ("apply", applySeconds),
                ("recover", recoverSeconds),
            ]
        }
    }

    package struct Link: Codable, Equatable, Sendable {
        package var from: String
        package var to: String
        package var distanceKilometres: Double?
        /// `nil`: not limited or not described.
        package var rateBitsPerSecond: UInt64?
        package var oneWaySeconds: Double?
        package var roundTripSeconds: Double?
        /// Counted by the relay: what crossed the emulated link, with framing and encryption.
        package var relayBytes: UInt64?
        package var relayFlows: UInt64?
        package var peakQueueBytes: UInt64?
        /// Connections from one worker to one of the other side, at most, and why so many.
        package var lanesPerPair: Int?
        package var lanesBecause: String?
        /// Counted by the workers' lanes: frames before encryption, control traffic not included.
        package var laneBytes: UInt64
        package var laneFrames: UInt64
        package var resentFrames: UInt64
        package var values: UInt64
        package var encodedBytes: UInt64
        package var bitsPerValue: Double?
        /// Mean over the training time; relay's count where there is one.
        package var meanBitsPerSecond: Double?
        /// `meanBitsPerSecond` / rate.
        package var meanUse: Double?
        /// Cumulative bytes over time, as ``seriesSource`` counted them.
        package var series: [Sample]

        /// "relay" where it told its count more than once, else "lanes".
        package var seriesSource: String

        package var isInsideRegion: Bool { from == to }

        package struct Sample: Codable, Equatable, Sendable {
            package var seconds: Double
            package var bytes: UInt64
        }
    }

    package struct TensorClass: Codable, Equatable, Sendable {
        /// embedding, matrix, bias or norm.
        package var name: String
        package var values: UInt64
        package var bitsPerValue: Double
    }

    package struct ProcessMemory: Codable, Equatable, Sendable {
        package var process: String
        package var peakBytes: UInt64
    }

    package struct Definition: Codable, Equatable, Sendable {
        package var term: String
        package var text: String
    }
}
