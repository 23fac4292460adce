extension RunConfiguration.Model {
    /// The mixture of experts of every block (docs/experts.md).
    package struct Experts: Codable, Equatable, Sendable {
        package enum Gate: String, Codable, CaseIterable, Sendable {
            case softmax, sigmoid
        }
        /// Which workers of a region compute an expert.
        package enum Spread: String, Codable, CaseIterable, Sendable {
            /// Each on its own tokens.
            case none
            /// One on the tokens of all: tokens travel, and come back.
            case region
        }
        package enum Balance: String, Codable, CaseIterable, Sendable {
            case bias, quantile, none
        }
        /// Routed experts of a block.
        package var count: Int
        /// Experts a token uses.
        package var topK: Int
        /// Hidden width of one expert.
        package var width: Int
        /// Experts every token uses besides.
        package var shared: Int
        package var gate: Gate
        /// Equal groups of experts, and how many of them a token may use.
        package var groups: Int
        package var groupsKept: Int
        package var balance: Balance
        /// What a selection bias moves by in a step under `balance: bias`.
        package var balanceRate: Double
        /// Capacity factor of a sequence; 0 = no token is dropped.
        package var capacity: Double
        /// Weight of the sequence-wise balance loss; 0 = none.
        package var sequenceLoss: Double
        package var spread: Spread
        /// How tokens travel under `spread: region`.
        package var tokenWire: TransformID
        /// Steps after which experts are placed by the loads since; 0: never.
        package var placeEvery: UInt32

        package init(
            count: Int, topK: Int = 2, width: Int, shared: Int = 0, gate: Gate = .softmax,
            groups: Int = 1, groupsKept: Int = 1, balance: Balance = .bias,
            balanceRate: Double = 0.001, capacity: Double = 0, sequenceLoss: Double = 0,
            spread: Spread = .none, tokenWire: TransformID = .fp32, placeEvery: UInt32 = 0
        ) {
            self.count = count
            self.topK = topK
            self.width = width
            self.shared = shared
            self.gate = gate
            self.groups = groups
            self.groupsKept = groupsKept
            self.balance = balance
            self.balanceRate = balanceRate
            self.capacity = capacity
            self.sequenceLoss = sequenceLoss
            self.spread = spread
            self.tokenWire = tokenWire
            self.placeEvery = placeEvery
        }

        /// Bins of a quantile histogram (`QuantileBins.count` of ExpertRouting).
        static let histogramBins = 1_000
    }
}
