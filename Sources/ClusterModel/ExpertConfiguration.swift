extension RunConfiguration.Model {
    /// The mixture of experts of every block (docs/experts.md).
    package struct Experts: Codable, Equatable, Sendable {
        package enum Gate: String, Codable, CaseIterable, Sendable {
            case softmax, sigmoid
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

        package init(
            count: Int, topK: Int = 2, width: Int, shared: Int = 0, gate: Gate = .softmax,
            groups: Int = 1, groupsKept: Int = 1, balance: Balance = .bias,
            balanceRate: Double = 0.001, capacity: Double = 0, sequenceLoss: Double = 0
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
        }

        /// Bins of a quantile histogram (`QuantileBins.count` of ExpertRouting).
        static let histogramBins = 1_000
    }
}
