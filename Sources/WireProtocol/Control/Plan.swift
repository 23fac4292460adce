package import ClusterModel

/// Coordinator to worker: the membership of the header's epoch and who does what in it.
package struct Plan: Hashable, Codable, Sendable {
    /// Grows with every change, also without a new epoch.
    package var planVersion: UInt32
    /// The plan holds from where this turn (of all rounds of all fragments in order; with one fragment
    /// the outer round) has been applied; 0 = at once.
    package var activateAtRound: UInt32
    /// In rank order.
    package var members: [PlanMember]
    package var fragments: [PlanFragment]
    /// Lossy transform of the inner all-reduce.
    package var regionTransform: TransformID
    /// Lossy transform of the pool's exchanges where `codecs` says nothing else.
    package var poolTransform: TransformID
    /// Samples of one inner step over all seats of the run, taken or not.
    package var samplesPerStep: UInt32
    /// Pairs without a lane between them.
    package var detours: [Detour]
    /// Experts whose values count by the tokens they saw, in the order of the vector; numbered through.
    package var experts: [ExpertBlock]
    /// What crosses links that carry another transform.
    package var codecs: [PlanCodec]
    /// Which experts are left out of rounds, by number; empty: none ever is.
    package var expertPeriods: [ExpertPeriod]
    /// Which region computes an expert alone, by number; empty: none does.
    package var expertOwners: [PlanExpertOwner]
    /// Tokens that may leave for other regions; empty: none does.
    package var tokenBudgets: [TokenBudget]

    package init(
        planVersion: UInt32, activateAtRound: UInt32, members: [PlanMember],
        fragments: [PlanFragment], regionTransform: TransformID, poolTransform: TransformID,
        samplesPerStep: UInt32,
        detours: [Detour] = [], experts: [ExpertBlock] = [], codecs: [PlanCodec] = [],
        expertPeriods: [ExpertPeriod] = [], expertOwners: [PlanExpertOwner] = [],
        tokenBudgets: [TokenBudget] = []
    ) {
        self.planVersion = planVersion
        self.activateAtRound = activateAtRound
        self.members = members
        self.fragments = fragments
        self.regionTransform = regionTransform
        self.poolTransform = poolTransform
        self.samplesPerStep = samplesPerStep
        self.detours = detours
        self.experts = experts
        self.codecs = codecs
        self.expertPeriods = expertPeriods
        self.expertOwners = expertOwners
        self.tokenBudgets = tokenBudgets
    }
}

extension Plan {
    /// Recordings of older programs lack the lists that came later.
    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        func list<Item: Decodable>(_ key: CodingKeys) throws -> [Item] {
            try fields.decodeIfPresent([Item].self, forKey: key) ?? []
        }
        self.init(
            planVersion: try fields.decode(UInt32.self, forKey: .planVersion),
            activateAtRound: try fields.decode(UInt32.self, forKey: .activateAtRound),
            members: try fields.decode([PlanMember].self, forKey: .members),
            fragments: try fields.decode([PlanFragment].self, forKey: .fragments),
            regionTransform: try fields.decode(TransformID.self, forKey: .regionTransform),
            poolTransform: try fields.decode(TransformID.self, forKey: .poolTransform),
            samplesPerStep: try fields.decode(UInt32.self, forKey: .samplesPerStep),
            detours: try list(.detours), experts: try list(.experts), codecs: try list(.codecs),
            expertPeriods: try list(.expertPeriods), expertOwners: try list(.expertOwners),
            tokenBudgets: try list(.tokenBudgets))
    }
}

extension Plan: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            planVersion: try reader.integer("PLAN.planVersion"),
            activateAtRound: try reader.integer("PLAN.activateAtRound"),
            members: try reader.list("PLAN.members", limit: ProtocolLimits.members),
            fragments: try reader.list("PLAN.fragments", limit: ProtocolLimits.fragments),
            regionTransform: try reader.value("PLAN.regionTransform"),
            poolTransform: try reader.value("PLAN.poolTransform"),
            samplesPerStep: try reader.integer("PLAN.samplesPerStep"),
            detours: try reader.list("PLAN.detours", limit: ProtocolLimits.detours),
            experts: try reader.list("PLAN.experts", limit: ProtocolLimits.expertBlocks),
            codecs: try reader.list("PLAN.codecs", limit: ProtocolLimits.codecs))
        var position = reader.position
        expertPeriods = try reader.list(
            "PLAN.expertPeriods", limit: ProtocolLimits.periodicExperts)
        try checkCount(expertPeriods.count, "PLAN.expertPeriods", at: position)
        position = reader.position
        expertOwners = try reader.list("PLAN.expertOwners", limit: ProtocolLimits.periodicExperts)
        try checkCount(expertOwners.count, "PLAN.expertOwners", at: position)
        tokenBudgets = try reader.list("PLAN.tokenBudgets", limit: ProtocolLimits.codecs)
    }

    /// None, or one for each expert.
    private func checkCount(_ count: Int, _ name: String, at offset: Int) throws(FrameError) {
        guard count > 0 else { return }
        let known = experts.reduce(UInt64(0)) { $0 + UInt64($1.count) }
        try FieldRule.check(UInt64(count), in: known...known, name, at: offset)
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(planVersion)
        writer.integer(activateAtRound)
        try writer.list(members, "PLAN.members", limit: ProtocolLimits.members)
        try writer.list(fragments, "PLAN.fragments", limit: ProtocolLimits.fragments)
        writer.value(regionTransform)
        writer.value(poolTransform)
        writer.integer(samplesPerStep)
        try writer.list(detours, "PLAN.detours", limit: ProtocolLimits.detours)
        try writer.list(experts, "PLAN.experts", limit: ProtocolLimits.expertBlocks)
        try writer.list(codecs, "PLAN.codecs", limit: ProtocolLimits.codecs)
        var position = writer.position
        try writer.list(
            expertPeriods, "PLAN.expertPeriods", limit: ProtocolLimits.periodicExperts)
        try checkCount(expertPeriods.count, "PLAN.expertPeriods", at: position)
        position = writer.position
        try writer.list(
            expertOwners, "PLAN.expertOwners", limit: ProtocolLimits.periodicExperts)
        try checkCount(expertOwners.count, "PLAN.expertOwners", at: position)
        try writer.list(tokenBudgets, "PLAN.tokenBudgets", limit: ProtocolLimits.codecs)
    }
}

/// One member of an epoch, with all a peer needs to dial it.
package struct PlanMember: Hashable, Codable, Sendable {
    package var rank: Rank
    package var workerID: WorkerID
    package var region: RegionID
    package var name: String
    /// Data ROUTER; empty: nobody can dial it, it dials the others.
    package var endpoint: String
    /// CURVE server key of that ROUTER.
    package var dataKey: PublicKey
    package var incarnation: Incarnation
    /// Samples per inner step.
    package var microBatch: UInt32
    /// Where they stand among the `samplesPerStep` of a step.
    package var sampleOffset: UInt32
    /// H_r: inner steps between two departures of one fragment from this member's replica.
    package var syncEvery: UInt32
    /// tau_r: inner steps between a fragment's leaving and its mean's being applied.
    package var overlap: UInt16
    /// The inner step after which this member has nothing left to train.
    package var lastStep: UInt32
    package var state: MemberState
    /// Whom to fetch state from; ``Rank/none`` if nobody.
    package var stateSource: Rank
    /// Weight of the slice this member owns in collectives of the pool.
    package var ownerWeight: UInt32

    package init(
        rank: Rank, workerID: WorkerID, region: RegionID, name: String, endpoint: String,
        dataKey: PublicKey, incarnation: Incarnation, microBatch: UInt32, sampleOffset: UInt32,
        syncEvery: UInt32, overlap: UInt16, lastStep: UInt32, state: MemberState,
        stateSource: Rank, ownerWeight: UInt32 = 1
    ) {
        self.rank = rank
        self.workerID = workerID
        self.region = region
        self.name = name
        self.endpoint = endpoint
        self.dataKey = dataKey
        self.incarnation = incarnation
        self.microBatch = microBatch
        self.sampleOffset = sampleOffset
        self.syncEvery = syncEvery
        self.overlap = overlap
        self.lastStep = lastStep
        self.state = state
        self.stateSource = stateSource
        self.ownerWeight = ownerWeight
    }
}

extension PlanMember: ListItem {
    static let minimumBytes = 77

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            rank: try reader.rank("PLAN.members.rank"),
            workerID: WorkerID(rawValue: try reader.integer("PLAN.members.workerID")),
            region: RegionID(rawValue: try reader.integer("PLAN.members.region")),
            name: try reader.name("PLAN.members.name"),
            endpoint: try reader.text(
                "PLAN.members.endpoint", limit: ProtocolLimits.endpointBytes),
            dataKey: try reader.key("PLAN.members.dataKey"),
            incarnation: Incarnation(rawValue: try reader.integer("PLAN.members.incarnation")),
            microBatch: try reader.integer("PLAN.members.microBatch"),
            sampleOffset: try reader.integer("PLAN.members.sampleOffset"),
            syncEvery: try reader.integer("PLAN.members.syncEvery"),
            overlap: try reader.integer("PLAN.members.overlap"),
            lastStep: try reader.integer("PLAN.members.lastStep"),
            state: try reader.value("PLAN.members.state"),
            stateSource: try reader.rank("PLAN.members.stateSource"),
            ownerWeight: try reader.integer("PLAN.members.ownerWeight"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.rank(rank)
        writer.integer(workerID.rawValue)
        writer.integer(region.rawValue)
        try writer.name(name, "PLAN.members.name")
        try writer.text(endpoint, "PLAN.members.endpoint", limit: ProtocolLimits.endpointBytes)
        writer.key(dataKey)
        writer.integer(incarnation.rawValue)
        writer.integer(microBatch)
        writer.integer(sampleOffset)
        writer.integer(syncEvery)
        writer.integer(overlap)
        writer.integer(lastStep)
        writer.value(state)
        writer.rank(stateSource)
        writer.integer(ownerWeight)
    }
}

/// What contributions of one region's members to slices owned in another are encoded with; `from` and
/// `to` alike: what the means of slices owned there are encoded with.
package struct PlanCodec: Hashable, Codable, Sendable {
    package var from: RegionID
    package var to: RegionID
    package var transform: TransformID

    package init(from: RegionID, to: RegionID, transform: TransformID) {
        self.from = from
        self.to = to
        self.transform = transform
    }
}

extension PlanCodec: ListItem {
    static let minimumBytes = 5

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            from: RegionID(rawValue: try reader.integer("PLAN.codecs.from")),
            to: RegionID(rawValue: try reader.integer("PLAN.codecs.to")),
            transform: try reader.value("PLAN.codecs.transform"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(from.rawValue)
        writer.integer(to.rawValue)
        writer.value(transform)
    }
}

/// Two members that have no lane between them, and the one that passes their frames on
/// (section 8.9).
package struct Detour: Hashable, Codable, Sendable {
    /// The lower rank of the two: it says LANE-HELLO.
    package var a: Rank
    package var b: Rank
    package var relay: Rank

    package init(a: Rank, b: Rank, relay: Rank) {
        self.a = a
        self.b = b
        self.relay = relay
    }
}

extension Detour: ListItem {
    static let minimumBytes = 6

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            a: try reader.rank("PLAN.detours.a"), b: try reader.rank("PLAN.detours.b"),
            relay: try reader.rank("PLAN.detours.relay"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.rank(a)
        writer.rank(b)
        writer.rank(relay)
    }
}

extension ExpertBlock: ListItem {
    static let minimumBytes = 20
    private static let starts: ClosedRange<UInt64> = 0...(1 << 62) - 1
    /// With 1,024 experts after a start below 2^62 the end still fits 63 bits.
    private static let sizes: ClosedRange<UInt64> = 1...1 << 40
    private static let counts = 1...UInt32(ProtocolLimits.expertsPerBlock)

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            start: try reader.integer("PLAN.experts.start", in: Self.starts),
            each: try reader.integer("PLAN.experts.each", in: Self.sizes),
            count: try reader.integer("PLAN.experts.count", in: Self.counts))
    }

    /// Blocks are ascending and apart: experts are numbered through them, and cut slices where they lie.
    func check(after last: Self, at offset: Int) throws(FrameError) {
        let most = max(last.end, Self.starts.upperBound)
        try FieldRule.check(start, in: last.end...most, "PLAN.experts.start", at: offset)
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try writer.integer(start, "PLAN.experts.start", in: Self.starts)
        try writer.integer(each, "PLAN.experts.each", in: Self.sizes)
        try writer.integer(count, "PLAN.experts.count", in: Self.counts)
    }
}

extension ExpertPeriod: ListItem {
    static let minimumBytes = 1
    private static let exponents: ClosedRange<UInt8> = 0...4

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            exponent: try reader.integer("PLAN.expertPeriods.exponent", in: Self.exponents))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try writer.integer(exponent, "PLAN.expertPeriods.exponent", in: Self.exponents)
    }
}

/// A fragment as the concatenation of its ranges, in the order given.
package struct PlanFragment: Hashable, Codable, Sendable {
    package var id: FragmentID
    /// The next outer round of this fragment.
    package var round: UInt32
    package var ranges: [ElementRange]

    package init(id: FragmentID, round: UInt32, ranges: [ElementRange]) {
        self.id = id
        self.round = round
        self.ranges = ranges
    }
}

extension PlanFragment: ListItem {
    static let minimumBytes = 8

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            id: FragmentID(rawValue: try reader.integer("PLAN.fragments.id")),
            round: try reader.integer("PLAN.fragments.round"),
            ranges: try reader.list(
                "PLAN.fragments.ranges", limit: ProtocolLimits.rangesPerFragment))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(id.rawValue)
        writer.integer(round)
        try writer.list(
            ranges, "PLAN.fragments.ranges", limit: ProtocolLimits.rangesPerFragment)
    }
}

/// `start ..< start + count` of the flat parameter vector; the end is below 2^63.
package struct ElementRange: Hashable, Codable, Sendable {
    package var start: UInt64
    package var count: UInt64

    package init(start: UInt64, count: UInt64) {
        self.start = start
        self.count = count
    }
}

extension ElementRange: ListItem {
    static let minimumBytes = 16
    /// With `start` and `count` at most this, `start + count` fits a signed 64-bit integer.
    private static let most: UInt64 = (1 << 62) - 1

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            start: try reader.integer("PLAN.fragments.ranges.start", in: 0...ElementRange.most),
            count: try reader.integer("PLAN.fragments.ranges.count", in: 0...ElementRange.most))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try writer.integer(start, "PLAN.fragments.ranges.start", in: 0...ElementRange.most)
        try writer.integer(count, "PLAN.fragments.ranges.count", in: 0...ElementRange.most)
    }
}
