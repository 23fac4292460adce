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
    /// Of `acrossSeconds`: round trips, which do not depend on how many tokens cross.
    package var acrossWaitSeconds = 0.0
    /// Only with `across: budget`.
    package var budget: Budget?
    package var traceHash: UInt64 = 0

    package struct Budget: Codable, Equatable, Sendable {
        /// Of a step at even load; nil: what outer rounds leave.
        package var share: Double?
        package var evenSeconds: Double
        /// `[from][to]`, all layers together.
        package var tokensPerStep: [[Int]]
        /// Of the budget.
        package var usedShare: Double
        /// Of all tokens in all layers: that left their region, and that wanted to and had to stay.
        package var crossedShare: Double
        package var stayedShare: Double
        /// Of routed tokens: choices that became others because their token had to stay.
        package var changedChoices: UInt64
        package var changedShare: Double
        /// Experts of a layer that live in one region.
        package var ownedExperts: Double
        /// Experts of a layer that a region had to fetch, per placement; and their bytes, of all layers.
        package var fetchedExperts: Double
        package var fetchedBytes: Double

        /// As a joiner takes them: parameters, outer copy and momentum, two moments in fp32.
        static let fetchedBytesPerValue = 20.0
    }

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
        /// Experts that regions fetch from each other when they are placed, per step.
        package var fetchSeconds = 0.0

        package var parts: [(name: String, seconds: Double)] {
            [
                ("attention and shared", denseSeconds), ("experts", expertSeconds),
                ("waiting for the fullest device", imbalanceSeconds),
                ("tokens inside regions", insideSeconds), ("tokens across", acrossSeconds),
                ("outer rounds", roundSeconds),
            ] + (fetchSeconds > 0 ? [("experts fetched across", fetchSeconds)] : [])
        }
        package var total: Double { parts.reduce(0) { $0 + $1.seconds } }
    }
}
