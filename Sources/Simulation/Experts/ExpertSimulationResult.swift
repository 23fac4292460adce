/// What a simulation of routing comes to. Shares are of 1, means over layers and steps unless said.
package struct ExpertSimulationResult: Codable, Equatable, Sendable {
    package var steps: UInt32
    package var layers: Int
    package var experts: Int
    package var shared: Int
    package var topK: Int
    package var devices: [Int]
    /// Tokens that were routed, and those they stand for.
    package var routedTokens: UInt64 = 0
    package var tokens: UInt64 = 0
    /// Share of choices that found their expert full.
    package var dropRate = 0.0
    /// (highest - mean) / mean load of an expert in a step, whole pool; and over the first and last tenth
    /// of the steps.
    package var maxViolation = 0.0
    package var firstMaxViolation = 0.0
    package var lastMaxViolation = 0.0
    package var useEntropy = 0.0
    /// Highest load of a device / mean of its region.
    package var imbalance = 0.0
    package var firstImbalance = 0.0
    package var lastImbalance = 0.0
    package var placements = 0
    /// Slots that got another expert, of all, per placement.
    package var movedShare = 0.0
    /// Between regions: of the use of experts; of the topK most used ones.
    package var jensenShannon = 0.0
    package var jaccard = 0.0
    /// Devices a token goes to in a layer.
    package var devicesPerToken = 0.0
    /// Of all directions: tokens on their way to experts and back, and parameters of outer rounds.
    package var activationBytesPerToken = 0.0
    package var parameterBytesPerToken = 0.0
    /// Of a step of the slowest region; nothing overlaps.
    package var time = TimeSplit()
    package var traceHash: UInt64 = 0

    package struct TimeSplit: Codable, Equatable, Sendable {
        /// What every token passes: attention, shared experts.
        package var denseSeconds = 0.0
        /// Routed experts where all devices have the mean load.
        package var expertSeconds = 0.0
        /// For the device with the highest load.
        package var imbalanceSeconds = 0.0
        /// Tokens between devices of a region.
        package var insideSeconds = 0.0
        /// Tokens between regions.
        package var acrossSeconds = 0.0
        /// Parameters between regions, per step.
        package var roundSeconds = 0.0

        package var parts: [(name: String, seconds: Double)] {
            [
                ("attention and shared", denseSeconds), ("experts", expertSeconds),
                ("waiting for the fullest device", imbalanceSeconds),
                ("tokens inside regions", insideSeconds), ("tokens across", acrossSeconds),
                ("outer rounds", roundSeconds),
            ]
        }
        package var total: Double { parts.reduce(0) { $0 + $1.seconds } }
    }
}
