package import ClusterModel
package import WireProtocol

/// Who takes part in one collective under one plan, who owns which slice, and how slices fall into
/// chunks. A pure function of the plan, so every member computes the same (Protocols/longhaul-1.md,
/// "Slices").
///
/// ```
/// fragment elements  0 ................................................ N
/// slices             | owner 0      | owner 1      | owner 2      | ...
/// chunks             |65536|65536|..|65536|65536|..|   (more of smaller values, inside a region)
/// ```
///
/// Where experts count by their own tokens, a chunk also ends where an expert begins or ends.
package struct CollectiveGeometry: Equatable, Sendable {
    /// Elements of one slice that travel together on the wire; 256 KiB as fp32.
    package static let chunkElements = 65_536
    /// Where a region shares by itself and all that travels is encoded alike: as many times that as are
    /// still a frame of at most 256 KiB, because what a frame costs beside its bytes is the same for every
    /// encoding. Three at most, so that small vectors are still several chunks.
    package static func chunkElements(of transform: TransformID) -> Int {
        switch transform {
        case .fp32, .topK: chunkElements
        case .bf16, .fp16: 2 * chunkElements
        case .int8, .int4, .e3m0: 3 * chunkElements
        }
    }
    /// What a simulator at fidelity `slice` puts in its place: every slice is one chunk, as long as its
    /// elements can be counted in 32 bits.
    package static let wholeSlice = 1 << 31

    package let epoch: Epoch
    /// Owners by slice index: every participant, in rank order; of ``parts(ofGroup:)`` who reduces the slice
    /// there.
    package private(set) var participants: [Rank]
    /// Those that contribute together, in the order in which they are accumulated. A member of a group
    /// holds the same values as the rest of it, or has a part of them (``parts(ofGroup:)``).
    package private(set) var groups: [[Rank]]
    /// Elements of the collective, all fragment ranges laid end to end.
    package let elements: UInt64
    /// Elements of one slice that travel together here; in a real run the wire's number.
    package let chunkElements: Int
    /// Sum of the weights of the slices before each, and of all; empty: equal slices.
    private let weightsBefore: [UInt64]
    /// By slice, where experts cut it: its chunks. Empty: chunks of `chunkElements`.
    private var cuts: [[ExpertCut]] = []
    /// By expert, those that this round leaves out; empty: none. Positions are counted alike in all rounds.
    private var absent: [Bool] = []
    /// By expert, the group that alone contributes its chunks; nil: all do. Empty: all do everywhere.
    private var contributors: [Int?] = []
    /// False: who contributes experts is not known before this worker has computed its own part.
    package private(set) var knowsContributors = true

    /// - Parameters:
    ///   - weights: of the slices, by participant; empty or all 0: equal.
    ///   - experts: parts of the collective that count by themselves, ascending and apart.
    package init(
        epoch: Epoch, participants: [Rank], groups: [[Rank]], elements: UInt64,
        weights: [UInt32] = [], chunkElements: Int = CollectiveGeometry.chunkElements,
        experts: [ExpertPart] = []
    ) {
        precondition(!participants.isEmpty && !groups.isEmpty && chunkElements > 0)
        precondition(weights.isEmpty || weights.count == participants.count)
        let isEven = weights.allSatisfy { $0 == weights[0] }
        weightsBefore =
            isEven ? [] : weights.reduce(into: [0]) { $0.append($0[$0.count - 1] + UInt64($1)) }
        self.chunkElements = chunkElements
        self.epoch = epoch
        self.participants = participants
        self.groups = groups
        self.elements = elements
        if !experts.isEmpty {
            cuts = participants.indices.map {
                ExpertCut.cuts(of: range(ofSlice: $0), by: experts, every: UInt64(chunkElements))
            }
        }
    }

    package var sliceCount: Int { participants.count }

    package func owner(ofSlice slice: Int) -> Rank { participants[slice] }

    package func slice(ownedBy rank: Rank) -> Int? { participants.firstIndex(of: rank) }

    /// One, except of ``parts(ofGroup:)``.
    package func slices(ownedBy rank: Rank) -> [Int] {
        participants.indices.filter { participants[$0] == rank }
    }

    /// Elements [floor(W_i N / W_n), floor(W_(i+1) N / W_n)) of the collective, W_i being the sum of the
    /// weights before slice i (i where all are equal).
    package func range(ofSlice slice: Int) -> Range<UInt64> {
        boundary(slice)..<boundary(slice + 1)
    }

    private func boundary(_ slice: Int) -> UInt64 {
        let before = weightsBefore.isEmpty ? UInt64(slice) : weightsBefore[slice]
        let all = weightsBefore.last ?? UInt64(sliceCount)
        // The product passes 2^64 for large sizes; the full-width one is exact.
        return all.dividingFullWidth(before.multipliedFullWidth(by: elements)).quotient
    }

    /// Chunks of a slice; the last may be short, an empty slice has none.
    package func positionCount(ofSlice slice: Int) -> Int {
        guard cuts.isEmpty else { return cuts[slice].count }
        let count = range(ofSlice: slice).count
        return (count + chunkElements - 1) / chunkElements
    }

    /// Elements of one chunk, as a range of the collective.
    package func range(ofSlice slice: Int, position: Int) -> Range<UInt64> {
        let whole = range(ofSlice: slice)
        guard cuts.isEmpty else {
            let next = position + 1 < cuts[slice].count ? cuts[slice][position + 1].start : nil
            return cuts[slice][position].start..<(next ?? whole.upperBound)
        }
        let start = whole.lowerBound + UInt64(position) * UInt64(chunkElements)
        return start..<min(start + UInt64(chunkElements), whole.upperBound)
    }

    /// Elements of its chunks, in order.
    func chunks(ofSlice slice: Int) -> [Range<UInt64>] {
        (0..<positionCount(ofSlice: slice)).map { range(ofSlice: slice, position: $0) }
    }

    /// The expert whose values a chunk holds; nil: everybody's.
    package func expert(ofSlice slice: Int, position: Int) -> Int? {
        cuts.isEmpty ? nil : cuts[slice][position].expert
    }

    /// Elements of a slice that are an expert's.
    func expertElements(ofSlice slice: Int) -> Int {
        (0..<positionCount(ofSlice: slice)).reduce(0) { sum, position in
            expert(ofSlice: slice, position: position) == nil
                ? sum : sum + range(ofSlice: slice, position: position).count
        }
    }

    /// The same in a round without these experts.
    package func leavingOut(_ absent: [Bool]) -> Self {
        var geometry = self
        geometry.absent = absent
        return geometry
    }

    /// The same in a round that leaves out what another of the same slices does.
    func passingOver(as other: Self) -> Self { other.isWhole ? self : leavingOut(other.absent) }

    /// The same where experts that one group computes are contributed by that one only.
    package func contributing(_ contributors: [Int?]) -> Self {
        var geometry = self
        geometry.contributors = contributors.contains { $0 != nil } ? contributors : []
        geometry.knowsContributors = true
        return geometry
    }

    /// The same before that is known: contributions can come, but nothing is complete.
    package var awaitingContributors: Self {
        var geometry = self
        geometry.knowsContributors = false
        return geometry
    }

    /// The group that alone contributes an expert; nil: all do.
    package func contributor(ofExpert expert: Int?) -> Int? {
        guard let expert, contributors.indices.contains(expert) else { return nil }
        return contributors[expert]
    }

    /// Whether a group sends its part of a chunk.
    package func contributes(group: Int, slice: Int, position: Int) -> Bool {
        guard !contributors.isEmpty,
            let only = contributor(ofExpert: expert(ofSlice: slice, position: position))
        else { return true }
        return only == group
    }

    /// Whether a chunk is exchanged.
    package func isDue(slice: Int, position: Int) -> Bool {
        guard !absent.isEmpty, let expert = expert(ofSlice: slice, position: position) else {
            return true
        }
        return !absent[expert]
    }

    /// No chunk is passed over.
    var isWhole: Bool { absent.isEmpty }
    /// Every group sends every chunk.
    var isContributedWhole: Bool { absent.isEmpty && contributors.isEmpty }

    /// Chunks that are exchanged.
    var duePositions: Int {
        guard !absent.isEmpty else { return totalPositions }
        return (0..<sliceCount).reduce(0) { $0 + duePositions(ofSlice: $1) }
    }

    func duePositions(ofSlice slice: Int) -> Int {
        let count = positionCount(ofSlice: slice)
        guard !absent.isEmpty else { return count }
        return (0..<count).count { isDue(slice: slice, position: $0) }
    }

    package var totalPositions: Int {
        (0..<sliceCount).reduce(0) { $0 + positionCount(ofSlice: $1) }
    }

    /// Index of a chunk when all positions of all slices are counted through.
    package func flatIndex(slice: Int, position: Int) -> Int {
        (0..<slice).reduce(position) { $0 + positionCount(ofSlice: $1) }
    }

    package func group(of rank: Rank) -> Int? {
        groups.firstIndex { $0.contains(rank) }
    }

    /// The member that sends group `group`'s part of `slice` and receives its mean: the owner itself
    /// where it is of that group, else the group's members in turn, so that they share the egress.
    package func sender(group: Int, slice: Int) -> Rank {
        let owner = owner(ofSlice: slice)
        if groups[group].contains(owner) { return owner }
        return groups[group][slice % groups[group].count]
    }

    /// Slices whose contribution `rank` sends.
    package func slicesSent(by rank: Rank) -> [Int] {
        guard let group = group(of: rank) else { return [] }
        return (0..<sliceCount).filter { sender(group: group, slice: $0) == rank }
    }

    /// The same slices as the members of one group reduce them to what the group contributes: each is a group
    /// by itself, and who sends the group's part of a slice owns it.
    package func parts(ofGroup group: Int) -> Self {
        var parts = self
        parts.participants = (0..<sliceCount).map { sender(group: group, slice: $0) }
        parts.groups = groups[group].map { [$0] }
        return parts
    }

    /// Whom the owner of `slice` sends the mean to: its own group directly, one member of each other.
    package func meanReceivers(slice: Int) -> [Rank] {
        let owner = owner(ofSlice: slice)
        return groups.indices.flatMap { group -> [Rank] in
            groups[group].contains(owner)
                ? groups[group].filter { $0 != owner } : [sender(group: group, slice: slice)]
        }
    }

    /// Whom `rank` passes a received mean of `slice` on to: the rest of its group, if it is the one
    /// member of a foreign group that the owner sends to.
    package func forwards(slice: Int, from rank: Rank) -> [Rank] {
        let owner = owner(ofSlice: slice)
        guard let group = group(of: rank), !groups[group].contains(owner),
            sender(group: group, slice: slice) == rank
        else { return [] }
        return groups[group].filter { $0 != rank }
    }
}

/// A plan with what is derived from it for one member.
package struct ActivePlan: Equatable, Sendable {
    package let epoch: Epoch
    package let plan: Plan
    package let schedule: RunConfiguration.Schedule
    package let rank: Rank
    /// Elements of a slice that travel together in pool scope; in region scope see ``CollectiveGeometry``.
    package let chunkElements: Int
    /// Asked for each chunk, and the same as long as the plan holds: of this worker's region, by fragment.
    private var regionGeometries: [CollectiveGeometry] = []
    private var poolGeometries: [CollectiveGeometry] = []
    /// Members send each other parts of what their region contributes to a round (section 7.2).
    package let reducesParts: Bool
    let expertRounds: ExpertRounds
    /// In a region one member computes and contributes each expert.
    package let spreadsExperts: Bool
    /// And keeps it from round to round: a region's all-reduce has nothing of it (section 7.12).
    package let keepsExperts: Bool

    /// - Parameters:
    ///   - spreadsExperts: ``RunConfiguration/spreadsExperts``.
    ///   - keepsExperts: ``RunConfiguration/keepsExpertsAtHolders``.
    package init?(
        epoch: Epoch, plan: Plan, schedule: RunConfiguration.Schedule, worker: WorkerID,
        chunkElements: Int = CollectiveGeometry.chunkElements, spreadsExperts: Bool = false,
        keepsExperts: Bool = false
    ) {
        self.chunkElements = chunkElements
        self.spreadsExperts = spreadsExperts && !plan.experts.isEmpty
        self.keepsExperts = self.spreadsExperts && keepsExperts
        guard let member = plan.members.first(where: { $0.workerID == worker }) else { return nil }
        self.epoch = epoch
        self.plan = plan
        self.schedule = schedule
        rank = member.rank
        let isOfOneRegion = plan.members.allSatisfy { $0.region == member.region }
        reducesParts = schedule.isOneCollective || schedule.reducesParts && !isOfOneRegion
        expertRounds = ExpertRounds(plan.expertPeriods)
        poolGeometries = plan.fragments.map { poolGeometry($0) }
        regionOrder = order(ofRegion: me.region)
        let count = reducesParts ? poolGeometries.count : 1
        regionGeometries = (0..<count).map { regionGeometry(me.region, FragmentID($0)) }
    }

    package var me: PlanMember { plan.members[rank.index] }

    /// What this worker draws in an inner step, counted from 1: its piece of the step's samples, which
    /// stand one after another in the run's order.
    package func samples(ofStep step: UInt32) -> Range<UInt64> {
        let start = UInt64(step - 1) * UInt64(plan.samplesPerStep) + UInt64(me.sampleOffset)
        return start..<start + UInt64(me.microBatch)
    }

    /// P.
    package var order: FragmentOrder { FragmentOrder(count: max(1, plan.fragments.count)) }

    package var pace: ReplicaPace {
        ReplicaPace(
            syncEvery: max(1, me.syncEvery), overlap: UInt32(me.overlap), lastStep: me.lastStep,
            fragments: UInt32(max(1, plan.fragments.count)))
    }

    /// What is shared inside a region, in the order in which it is laid out: all fragments together.
    package private(set) var regionOrder: [ElementRange] = []

    /// In the vector's own order.
    var wholeVector: [ElementRange] {
        plan.fragments.flatMap(\.ranges).sorted { $0.start < $1.start }.reduce(into: []) {
            if let last = $0.last, last.start + last.count == $1.start {
                $0[$0.count - 1].count += $1.count
            } else {
                $0.append($1)
            }
        }
    }

    package func member(_ worker: WorkerID) -> PlanMember? {
        plan.members.first { $0.workerID == worker }
    }

    /// Members that share this worker's replica, in rank order.
    package var replica: [Rank] {
        switch schedule.inner {
        case .everyStep:
            plan.members.filter { $0.region == me.region }.map(\.rank)
        case .none:
            [rank]
        }
    }

    /// Who contributes to a round together: regions in order (rank order inside), or single members.
    package var contributingGroups: [[Rank]] {
        guard schedule.inner == .everyStep || reducesParts else {
            return plan.members.map { [$0.rank] }
        }
        return plan.members.reduce(into: [[PlanMember]]()) { groups, member in
            if groups.last?.first?.region == member.region {
                groups[groups.count - 1].append(member)
            } else {
                groups.append([member])
            }
        }.map { $0.map(\.rank) }
    }

    /// The first member of each replica speaks for it (evaluation, loss of the replica).
    package var leadsReplica: Bool { replica.first == rank }

    /// With all experts.
    package func geometry(of key: CollectiveKey) -> CollectiveGeometry {
        switch key.scope {
        case .region:
            if key.region == me.region, regionGeometries.indices.contains(key.fragment.index) {
                return regionGeometries[key.fragment.index]
            }
            return regionGeometry(key.region, key.fragment)
        case .pool:
            if poolGeometries.indices.contains(key.fragment.index) {
                return poolGeometries[key.fragment.index]
            }
            return poolGeometry(plan.fragments.first { $0.id == key.fragment })
        }
    }

    private func regionGeometry(_ region: RegionID, _ fragment: FragmentID) -> CollectiveGeometry {
        if reducesParts, poolGeometries.indices.contains(fragment.index),
            let first = plan.members.first(where: { $0.region == region }),
            let group = poolGeometries[fragment.index].group(of: first.rank)
        {
            let parts = poolGeometries[fragment.index].parts(ofGroup: group)
            return spreadsExperts ? parts.awaitingContributors : parts
        }
        let members = plan.members.filter { $0.region == region }.map(\.rank)
        let geometry = CollectiveGeometry(
            epoch: epoch, participants: members, groups: members.map { [$0] },
            elements: plan.fragments.reduce(UInt64(0)) { $0 + $1.elements },
            chunkElements: chunkElements == CollectiveGeometry.chunkElements
                ? CollectiveGeometry.chunkElements(of: plan.regionTransform) : chunkElements,
            experts: spreadsExperts
                ? ExpertPart.parts(of: plan.experts, in: order(ofRegion: region)) : [])
        if keepsExperts {
            return geometry.leavingOut(Array(repeating: true, count: expertCount))
        }
        return spreadsExperts ? geometry.awaitingContributors : geometry
    }

    /// Without those that the plan leaves out of this round.
    func dueGeometry(of key: CollectiveKey) -> CollectiveGeometry {
        guard key.scope == .pool, expertRounds.leavesSomeOut else { return geometry(of: key) }
        return geometry(of: key).leavingOut(expertRounds.absent(round: key.round))
    }

    /// Experts that count by themselves.
    package var expertCount: Int { plan.experts.reduce(0) { $0 + Int($1.count) } }

    /// Numbers of those that lie in a fragment.
    func experts(of fragment: FragmentID) -> [Int] {
        guard let found = plan.fragments.first(where: { $0.id == fragment }) else { return [] }
        return ExpertPart.parts(of: plan.experts, in: found.ranges).map(\.expert)
    }

    private func poolGeometry(_ fragment: PlanFragment?) -> CollectiveGeometry {
        let groups = contributingGroups
        return CollectiveGeometry(
            epoch: epoch, participants: plan.members.map(\.rank), groups: groups,
            elements: fragment?.elements ?? 0, weights: plan.members.map(\.ownerWeight),
            chunkElements: chunkElements,
            experts: fragment.map { ExpertPart.parts(of: plan.experts, in: $0.ranges) } ?? []
        ).contributing(
            plan.expertOwners.map { owner in
                groups.firstIndex { plan.members[$0[0].index].region == owner.region }
            })
    }

    /// Of contributions of `from`'s members to slices owned in `to`; of the means of slices owned in a
    /// region, if both are that one.
    private func poolTransform(_ from: RegionID, _ to: RegionID) -> TransformID {
        // Few entries, and asked once a slice and chunk.
        plan.codecs.first { $0.from == from && $0.to == to }?.transform ?? plan.poolTransform
    }

    /// What a contribution crosses to the owner of a slice with. One that stays in its region meets no
    /// link.
    package func contributionTransform(
        of key: CollectiveKey, from sender: Rank, to owner: Rank
    ) -> TransformID {
        guard key.scope == .pool else { return plan.regionTransform }
        let (from, to) = (plan.members[sender.index].region, plan.members[owner.index].region)
        return from == to ? plan.poolTransform : poolTransform(from, to)
    }

    /// What the means of this worker's slices are encoded with: once, for all who receive them.
    package func meanTransform(of key: CollectiveKey) -> TransformID {
        key.scope == .pool ? poolTransform(me.region, me.region) : plan.regionTransform
    }

    // MARK: Parts

    /// What this worker's region reduces its parts of a round by (section 7.2); nil where regions reduce
    /// none, or the worker has nobody to share with.
    package func partsKey(of round: CollectiveKey) -> CollectiveKey? {
        guard reducesParts, round.scope == .pool,
            plan.members.contains(where: { $0.region == me.region && $0.rank != rank })
        else { return nil }
        return .parts(of: round, region: me.region)
    }

    /// The round that a reduced chunk of `key` is this region's contribution to; nil: it is a mean. With
    /// one region it is both, and crosses nothing.
    package func round(ofParts key: CollectiveKey) -> CollectiveKey? {
        guard reducesParts, groupCount > 1 else { return nil }
        return key.roundOfParts
    }

    /// Who contribute to a round.
    var groupCount: Int { poolGeometries.first?.groups.count ?? 0 }

    /// A chunk that this worker reduces its region's parts of.
    package func contribution(
        to round: CollectiveKey, slice: Int, position: Int
    ) -> RegionContribution {
        let geometry = geometry(of: round)
        return RegionContribution(
            round: round, epoch: epoch, slice: slice, position: position,
            range: geometry.range(ofSlice: slice, position: position),
            chunks: { geometry.chunks(ofSlice: slice) },
            fragment: plan.fragments.first { $0.id == round.fragment }?.ranges ?? [],
            staysHere: geometry.owner(ofSlice: slice) == rank)
    }
}

extension PlanFragment {
    package var elements: UInt64 { ranges.reduce(0) { $0 + $1.count } }
}
