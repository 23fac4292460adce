/// How tokens choose experts in `longhaul simulate --experts`, and what the devices can do. Of no effect on
/// a run that trains.
package struct RoutingScenario: Codable, Equatable, Sendable {
    package enum Across: String, Codable, CaseIterable, Sendable {
        /// Every region holds all experts; tokens stay.
        case never
        /// An expert lives in one region, and a token uses those of `regionsKept` regions.
        case limited
        /// An expert lives in one region, and a token uses any.
        case always
        /// Experts that are used much live everywhere, the others in one region; a token leaves its region
        /// for those while `budget` lasts.
        case budget
    }
    /// A tenth of the step.
    package static let usualBudget = 0.1
    package static let coldShare = 0.1

    /// Spread of the experts' popularity, in units of the spread between tokens.
    package var skew: Double
    /// Share of that popularity that is drawn anew in a step.
    package var drift: Double
    /// Spread of a region's own popularity: regions with unlike texts.
    package var topics: Double
    /// `run.json` of a run with experts, whose shares tokens are drawn from instead; nil: synthetic.
    package var recorded: String?
    /// Tokens routed per region, layer and step; they stand for all.
    package var tokens: Int
    package var across: Across
    package var regionsKept: Int
    /// With `across: budget`: share of a step's time for which tokens may keep a link between regions busy;
    /// nil: all that outer rounds leave of it.
    package var budget: Double?
    /// With `across: budget`: experts of a layer that live in one region; nil: as many as together have
    /// ``coldShare`` of the choices.
    package var owned: Int?
    /// Steps between two placements by measured loads; 0: experts stay where they were put first.
    package var placeEvery: UInt32
    /// Experts a device holds.
    package var slots: Int
    /// What a device reaches on products of matrices.
    package var teraflops: Double
    /// Bits per second a device sends and receives inside its region.
    package var insideRate: UInt64

    package init(
        skew: Double = 1, drift: Double = 0, topics: Double = 0, recorded: String? = nil,
        tokens: Int = 256, across: Across = .never, regionsKept: Int = 1,
        budget: Double? = usualBudget, owned: Int? = nil, placeEvery: UInt32 = 10,
        slots: Int = 1, teraflops: Double = 200, insideRate: UInt64 = 400_000_000_000
    ) {
        self.skew = skew
        self.drift = drift
        self.topics = topics
        self.recorded = recorded
        self.tokens = tokens
        self.across = across
        self.regionsKept = regionsKept
        self.budget = budget
        self.owned = owned
        self.placeEvery = placeEvery
        self.slots = slots
        self.teraflops = teraflops
        self.insideRate = insideRate
    }
}
