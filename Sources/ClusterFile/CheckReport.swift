package import ClusterModel
package import Foundation

/// What a cluster file comes to, before anything starts: the effective plan with its sizes, the
/// bytes on every link, and a prediction with the model it rests on.
package struct CheckReport: Codable, Equatable, Sendable {
    package var file: String
    package var name: String
    package var seed: UInt64
    /// Whether the file names the seed; otherwise every run draws its own.
    package var seedIsGiven: Bool
    package var parameterCount: UInt64
    package var model: RunConfiguration.Model
    package var steps: UInt32
    package var warmupSteps: UInt32
    package var tokensPerStep: UInt64
    package var tokens: UInt64
    package var dataPath: String
    package var coordinatorRegion: String
    package var regions: [Region]
    /// Profiles that workers stand for, in the order of the workers.
    package var devices: [DeviceUse]
    package var innerSchedule: String
    package var outerSchedule: String
    /// Sets of workers that hold equal parameters between two outer rounds.
    package var replicas: Int
    /// H as it takes effect.
    package var syncEverySteps: UInt32
    package var outerLearningRate: Double
    package var outerMomentum: Double
    package var rounds: UInt32
    /// Units the model is synchronised in.
    package var fragments: Int
    package var wireInside: String
    package var wireBetween: String
    package var bytesPerValueBetween: Double
    /// Sum over all directions of all links.
    package var bytesPerRound: UInt64
    /// One per direction of each link, or of each pair of regions where none is described.
    package var links: [Link]
    /// Only under `streaming`.
    package var streaming: Streaming?
    /// What experts cost between regions; nil for a dense model or without an outer round.
    package var experts: ExpertTraffic?
    /// Only under `decoupled`.
    package var decoupled: Decoupled?
    package var prediction: Prediction?
    /// Why there is no prediction.
    package var predictionAbsent: String?
    package var similarity: SimilarityRatios
    package var fullScaleSimilarity: SimilarityRatios
    /// What a reader should know before starting.
    package var notes: [String]

    package struct Region: Codable, Equatable, Sendable {
        package var name: String
        package var workers: Int
        package var samplesPerStep: Int
        package var tokensPerStep: UInt64
        /// H_r: steps between two departures of one fragment.
        package var stepsPerRound: UInt32
        /// Of the slowest worker, which the others wait for; absent where a worker is not paced.
        package var stepSeconds: Double?
    }

    package struct DeviceUse: Codable, Equatable, Sendable {
        package var device: Device
        package var workers: Int
    }

    package struct Link: Codable, Equatable, Sendable {
        package var from: String
        package var to: String
        package var distanceKilometres: Double?
        package var oneWaySeconds: Double?
        package var roundTripSeconds: Double?
        /// Absent: not limited, or not described.
        package var rateBitsPerSecond: UInt64?
        package var jitterSeconds: Double?
        package var queueBytes: Int?
        package var bytesPerRound: UInt64
        package var bytes: UInt64
        /// `bytesPerRound` at the link's rate.
        package var transferSeconds: Double?
        /// The most precise transform whose transfer fits into the time there is; absent without step
        /// times.
        package var codec: LinkCodec?
        /// Under `across: budget`: tokens and answers of a step at most, not in the figures above; absent
        /// where budgets follow from what is measured.
        package var tokenBytesPerStep: Double?
    }

    package struct Prediction: Codable, Equatable, Sendable {
        /// Time between the starts of two outer rounds.
        package var secondsBetweenRounds: Double
        /// Blocked per outer round: the fullest direction's bytes at its rate, and one round trip.
        package var blockedSeconds: Double
        /// Under `across: budget`: what each step waits for tokens at most; absent where none cross.
        package var tokenWaitSeconds: Double?
        package var computeUtilisation: Double
        package var tokensPerSecond: Double
        package var wallSeconds: Double

        /// What the figures rest on; printed beside them.
        package static let model =
            "CU = compute / (compute + waiting for the slowest worker + bytes of the fullest "
            + "direction / rate + one round trip per outer round); of an overlapped fragment only "
            + "what its steps do not cover. Compute is the nominal step "
            + "time; exchange inside a region, encoding, framing and the optimiser count as "
            + "nothing."
    }

    /// Sorted keys in snake case, a newline at the end.
    package func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self) + Data("\n".utf8)
    }
}
