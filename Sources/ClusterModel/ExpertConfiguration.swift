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
        /// Who has an expert's weights and moments between two outer rounds.
        package enum Keep: String, Codable, CaseIterable, Sendable {
            /// Every worker.
            case everywhere
            /// The one that computes it.
            case holder
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
        /// How tokens travel under `spread: region` and `across: budget`.
        package var tokenWire: TransformID
        /// Steps after which experts are placed by the loads since; 0: never.
        package var placeEvery: UInt32
        /// nil: everywhere.
        package var keep: Keep?
        /// The least used experts are computed in one region each; nil: every region computes all.
        package var crossing: Crossing?

        package init(
            count: Int, topK: Int = 2, width: Int, shared: Int = 0, gate: Gate = .softmax,
            groups: Int = 1, groupsKept: Int = 1, balance: Balance = .bias,
            balanceRate: Double = 0.001, capacity: Double = 0, sequenceLoss: Double = 0,
            spread: Spread = .none, tokenWire: TransformID = .fp32, placeEvery: UInt32 = 0,
            keep: Keep? = nil, crossing: Crossing? = nil
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
            self.keep = keep
            self.crossing = crossing
        }

        /// Bins of a quantile histogram (`QuantileBins.count` of ExpertRouting).
        static let histogramBins = 1_000
    }
}

extension RunConfiguration.Model {
    /// Sequences that a trainer computes together. Measured at the default shape, 1 to 8 differ by 1 %, 16
    /// costs 2 %; four bounds the memory of the activations. Experts share a pass's tokens, so their products
    /// are small: 8 experts, top-2, gain 8 % from 2,048 tokens against 512.
    package static func sequencesPerPass(context: Int, hasExperts: Bool) -> Int {
        hasExperts ? max(4, min(16, 2_048 / context)) : 4
    }
}

extension RunConfiguration.Model.Experts {
    /// `across: budget`: cold experts live in one region each, and tokens of other regions go there while a
    /// step's budget lasts (docs/experts.md).
    package struct Crossing: Codable, Equatable, Sendable {
        /// Share of a step's time for which tokens may keep a link between regions busy; nil: all that outer
        /// rounds leave of it.
        package var budget: Double?
        /// In place of a share of time: tokens of a region that may go to another in a step.
        package var tokens: UInt32?
        /// Experts of a block that live in one region; nil: as many as together have
        /// ``RoutingScenario/coldShare`` of the choices.
        package var owned: Int?

        package init(
            budget: Double? = RoutingScenario.usualBudget, tokens: UInt32? = nil, owned: Int? = nil
        ) {
            self.budget = budget
            self.tokens = tokens
            self.owned = owned
        }
    }

    /// Bytes that a token's visit to another region puts on the way there, and on the way back: an activation
    /// forwards and one backwards, k choices with their weights one way, k gradients the other.
    package func visitBytes(width: Int) -> (there: Double, back: Double) {
        let activations = 2 * Double(width) * tokenWire.storedBytesPerValue
        return (activations + 8 * Double(topK), activations + 4 * Double(topK))
    }
}

/// How many tokens of a region may go to another in an inner step, over all blocks.
package struct TokenBudget: Hashable, Codable, Sendable {
    package var from: RegionID
    package var to: RegionID
    package var tokens: UInt32

    package init(from: RegionID, to: RegionID, tokens: UInt32) {
        self.from = from
        self.to = to
        self.tokens = tokens
    }
}

/// How many tokens of one region may go to another in an inner step, by what the link between them carries.
package struct TokenPrice: Equatable, Sendable {
    /// Bits per second, there and back.
    package var rates: (there: Double, back: Double)
    /// Seconds of a step for which tokens may keep the link busy.
    package var seconds: Double
    /// Bytes of a visit.
    package var bytes: (there: Double, back: Double)

    package static func == (a: Self, b: Self) -> Bool {
        a.rates == b.rates && a.seconds == b.seconds && a.bytes == b.bytes
    }

    package init(
        rates: (there: Double, back: Double), seconds: Double, bytes: (there: Double, back: Double)
    ) {
        self.rates = rates
        self.seconds = seconds
        self.bytes = bytes
    }

    /// - Parameters:
    ///   - share: of a step's time for which tokens may keep the link busy; nil: what rounds leave of it.
    ///   - step: seconds of a step.
    ///   - roundBytes: of an outer round, there and back.
    ///   - syncEvery: steps between two rounds.
    package init(
        rates: (there: Double, back: Double), share: Double?, step: Double,
        roundBytes: (there: Double, back: Double), syncEvery: Double,
        bytes: (there: Double, back: Double)
    ) {
        let busy = max(roundBytes.there * 8 / rates.there, roundBytes.back * 8 / rates.back)
        self.init(
            rates: rates, seconds: share.map { $0 * step } ?? max(0, step - busy / syncEvery),
            bytes: bytes)
    }

    /// Bits per second that a cluster file gives a direction.
    package static func rate(_ topology: Topology, from: RegionID, to: RegionID) -> Double {
        let link = topology.link(between: from, and: to)
        let rate = link?.parameters(from: from).bitsPerSecond ?? 0
        return rate > 0 ? Double(rate) : unlimitedRate
    }

    /// Of a link without a limit: what a data centre's ordinary port carries.
    package static let unlimitedRate = 10e9

    /// A pair of regions has what its slower direction carries, since visits of either put about as much on
    /// both; each of the two has its part by samples.
    ///
    /// - Parameter samples: of a step: this region's, and the other's.
    package func tokens(samples: (own: Double, other: Double)) -> UInt32 {
        let all = samples.own + samples.other
        guard all > 0, seconds > 0 else { return 0 }
        let most = max(bytes.there, bytes.back)
        let both = min(rates.there, rates.back) / 8 * seconds / most
        let part = both * samples.own / all
        return part.isFinite ? UInt32(clamping: Int64(min(part, 4e9))) : .max
    }
}
