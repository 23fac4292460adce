import ClusterModel
import Coordination
import WireProtocol

/// Computes what means and parameters must be from what trainers put in, without the machines: every
/// mean a trainer takes must be the weighted mean of one complete set of contributions under one plan,
/// and every committed digest that of the reference's own outer step.
struct ReferenceReduction {
    struct Part {
        var range: Range<UInt64>
        var values: [Float]
    }

    /// What the seats of one plan put into one collective.
    struct Candidate {
        var parts: [Int: [Part]] = [:]
        var weights: [Int: Tokens] = [:]
        /// Tokens behind an offer.
        var tokens: [Int: UInt64] = [:]
    }

    /// State of a fragment that all replicas share: outer copy and momentum, or parameters and moments.
    struct Shared: Equatable {
        var tensors: [[Float]]
        var digest: UInt64 { TrainerState.digest(tensors) }
    }

    struct Outcome {
        var digest: UInt64
        var tokens: UInt64
        var state: Shared
    }

    let configuration: RunConfiguration
    let elements: Int
    var plans: [Epoch: Plan] = [:]
    private var latest = Epoch.none
    var candidates: [CollectiveKey: [Epoch: Candidate]] = [:]
    /// Tokens behind what a seat would contribute: of its last step, and of its replica since the last outer
    /// step.
    private var stepTokens: [UInt64]
    /// By seat and fragment: since it last left.
    private var roundTokens: [[UInt64]]
    /// Inner steps of a seat's replica since it last left; where sets are closed, what it has offered
    /// (tokens, steps), and how many rounds were committed without it since it was in one.
    private var roundSteps: [UInt64]
    var offered: [(tokens: UInt64, steps: UInt64)]
    var missed: [UInt32]
    /// What a seat's contribution to a round under way counts for.
    private var departures: [[CollectiveKey: Tokens]]
    /// By seat: tokens that used each expert since its fragment left last.
    private var expertTokens: [[UInt64]]
    /// Which elements are an expert's, and which of them a round exchanges.
    var experts: ReferenceExperts
    /// Tokens of the mean a seat is taking.
    private var takenTokens: [UInt64]
    /// Digests a seat may have after the step; nil: not known here.
    private var takenOutcomes: [[UInt64]?]
    /// Rounds that may be committed.
    var outcomes: [CollectiveKey: [Outcome]] = [:]
    /// By fragment: the last committed round, and what it may be: one state, or, where a run begins
    /// again from what seats have saved, one of those.
    var committed: [(round: UInt32, states: [Shared])] = []
    /// By seat and expert: who computed it when the seat took its last step, where experts are kept so; and
    /// whether it has applied a round since.
    var keepers: [[WorkerID]]
    var isEven: [Bool]
    /// By seat: whether the state it began with has what no round had taken in, and that state's step.
    private var hasRest: [Bool]
    private var stands: [UInt32]
    private let order: FragmentOrder
    /// Elements of each fragment.
    private let layout: [[Range<Int>]]

    init(configuration: RunConfiguration, seats: Int, elements: Int) {
        self.configuration = configuration
        self.elements = elements
        stepTokens = Array(repeating: 0, count: seats)
        takenTokens = stepTokens
        roundSteps = stepTokens
        offered = stepTokens.map { _ in (0, 0) }
        missed = stepTokens.map { _ in 0 }
        takenOutcomes = stepTokens.map { _ in [] }
        keepers = stepTokens.map { _ in [] }
        isEven = stepTokens.map { _ in true }
        hasRest = stepTokens.map { _ in false }
        stands = stepTokens.map { _ in 0 }
        let fragments = configuration.schedule.fragments
        order = FragmentOrder(count: fragments)
        roundTokens = Array(repeating: Array(repeating: 0, count: fragments), count: seats)
        departures = Array(repeating: [:], count: seats)
        layout = FragmentLayout.ranges(
            of: configuration.model, elements: UInt64(elements), fragments: fragments
        ).map { $0.map { Int($0.lowerBound)..<Int($0.upperBound) } }
        experts = ReferenceExperts(configuration, elements: elements)
        expertTokens = Array(
            repeating: Array(repeating: 0, count: experts.count), count: seats)
        if elements > 0 { committed = beginning }
    }

    private var beginning: [(round: UInt32, states: [Shared])] {
        let start = TrainerState(elements: elements, seed: configuration.seed)
        return layout.indices.map { (0, [shared(start, $0)]) }
    }

    private var sharesGradients: Bool { configuration.schedule.outer == .everyStep }

    private func shared(_ state: TrainerState, _ fragment: Int) -> Shared {
        let tensors =
            sharesGradients
            ? [state.parameters, state.firstMoment, state.secondMoment]
            : [state.outerCopy, state.outerMomentum]
        return Shared(
            tensors: tensors.map { tensor in layout[fragment].flatMap { tensor[$0] } })
    }

    func elements(of key: CollectiveKey) -> Int {
        switch key.scope {
        case .region: elements
        case .pool: layout[key.fragment.index].reduce(0) { $0 + $1.count }
        }
    }

    // MARK: What drivers see

    /// What an earlier life left with is gone with it: this one may leave with the same round again.
    mutating func workerStarted(_ seat: Int, _ saved: TrainerState?) {
        forgetTokens(seat)
        departures[seat] = [:]
        keepers[seat] = []
        isEven[seat] = true
        hasRest[seat] = saved?.hasRest == true
        stands[seat] = saved?.step ?? 0
    }

    private mutating func forgetTokens(_ seat: Int) {
        for fragment in layout.indices { roundTokens[seat][fragment] = 0 }
        for expert in 0..<experts.count { expertTokens[seat][expert] = 0 }
        roundSteps[seat] = 0
        missed[seat] = 0
    }

    /// A run that starts from saved states starts from the furthest of them.
    mutating func resumes(from state: TrainerState) {
        guard elements > 0 else { return }
        for fragment in layout.indices {
            let round = order.rounds(of: FragmentID(fragment), through: state.round)
            if round == committed[fragment].round {
                committed[fragment].states.append(shared(state, fragment))
            } else if round > committed[fragment].round {
                committed[fragment] = (round, [shared(state, fragment)])
            }
        }
    }

    /// Everybody who held the last round is gone.
    mutating func beginsAgain(from states: [TrainerState]) {
        guard elements > 0 else { return }
        committed = beginning
        outcomes = [:]
        experts.beginsAgain()
        for state in states { resumes(from: state) }
    }

    /// nil, or what is wrong with where it starts.
    mutating func planned(_ plan: Plan, _ epoch: Epoch) -> String? {
        plans[epoch] = plan
        latest = max(latest, epoch)
        return experts.objection(to: plan)
    }

    mutating func said(_ commit: Commit) { experts.said(commit) }

    /// In the newest plan anybody follows.
    private func isMember(_ seat: Int) -> Bool {
        plans[latest]?.members.contains { $0.workerID == WorkerID(seat) } ?? false
    }

    mutating func computed(_ seat: Int, tokens: UInt64) {
        hasRest[seat] = false
        stepTokens[seat] = tokens
    }

    mutating func installed(_ seat: Int, step: UInt32, hasRest: Bool) {
        forgetTokens(seat)
        self.hasRest[seat] = hasRest
        stands[seat] = step
    }

    /// A seat goes on under a plan; from a boundary on all count anew. What a run begins with after its last
    /// step counts as one round.
    mutating func started(_ seat: Int, _ plan: Plan) {
        defer { hasRest[seat] = false }
        if plan.activateAtRound > 0 { return forgetTokens(seat) }
        guard hasRest[seat], !sharesGradients,
            let me = plan.members.first(where: { $0.workerID == WorkerID(seat) }),
            stands[seat] > 0, stands[seat] >= me.lastStep
        else { return }
        let replica = plan.members.filter {
            configuration.schedule.inner == .everyStep
                ? $0.region == me.region : $0.workerID == me.workerID
        }
        let batch = replica.reduce(UInt64(0)) { $0 + UInt64($1.microBatch) }
        let steps = UInt64(max(1, me.syncEvery))
        let tokens = batch * steps * UInt64(configuration.model.context)
        roundTokens[seat] = roundTokens[seat].map { _ in tokens }
        expertTokens[seat] = expertTokens[seat].map { _ in tokens }
        roundSteps[seat] = min(steps, UInt64(stands[seat]))
    }

    /// A seat's fragment leaves, or contributes again what it left with.
    mutating func begins(_ seat: Int, _ encoding: TrainerOrder.Encoding) {
        guard elements > 0 else { return }
        if encoding.source == .offeredOuterGradient {
            guard encoding.keeps else { return }
            offered[seat] = (roundTokens[seat][0], roundSteps[seat])
            roundTokens[seat][0] = 0
            roundSteps[seat] = 0
            return
        }
        let key = encoding.round
        guard key.scope == .pool, encoding.source != .gradient, departures[seat][key] == nil
        else { return }
        let fragment = key.fragment.index
        let tokens = roundTokens[seat][fragment]
        departures[seat] = departures[seat].filter { $0.key.fragment != key.fragment }
        let isStreaming = configuration.schedule.outer == .streaming
        departures[seat][key] = Tokens(
            all: isStreaming ? max(1, tokens) : tokens, experts: expertTokens[seat])
        roundTokens[seat][fragment] = 0
        for expert in Set(layout[fragment].flatMap { $0 }.compactMap { experts.expertOf[$0] }) {
            let isDue =
                plans[encoding.epoch].map { experts.isDue(expert, key, $0) } ?? true
            if isDue { expertTokens[seat][expert] = 0 }
        }
    }

    /// - Returns: nil, or what is wrong with it.
    mutating func encoded(
        _ seat: Int, _ encoding: TrainerOrder.Encoding, _ chunk: TrainerOrder.Chunk,
        _ values: [Float]
    ) -> String? {
        guard elements > 0 else { return nil }
        let key = round(of: encoding.key)
        let weight =
            switch (key.scope, encoding.source) {
            case (.region, _), (.pool, .gradient): Tokens(all: stepTokens[seat])
            case (.pool, .outerGradient), (.pool, .keptOuterGradient):
                departures[seat][key] ?? Tokens(all: 0)
            case (.pool, .offeredOuterGradient): Tokens(all: closedWeight(seat))
            }
        var candidate = candidates[key]?[encoding.epoch] ?? Candidate()
        candidate.weights[seat] = weight
        candidate.tokens[seat] = offered[seat].tokens
        candidate.parts[seat, default: []].append(Part(range: chunk.range, values: values))
        candidates[key, default: [:]][encoding.epoch] = candidate
        if key.scope == .region, key.round > 16 {
            var old = key
            old.round -= 16
            candidates[old] = nil
        }
        return objection(seat, encoding, chunk)
    }

    /// What a region's members send each other are parts of what it contributes: not where each is a
    /// replica and all are of one region.
    private func reducesParts(_ plan: Plan) -> Bool {
        configuration.schedule.isOneCollective
            || configuration.schedule.reducesParts
                && Set(plan.members.map(\.region)).count > 1
    }

    private func round(of key: CollectiveKey) -> CollectiveKey {
        guard configuration.schedule.reducesParts, let round = key.roundOfParts else { return key }
        return round
    }

    // MARK: Means

    /// nil, or what is wrong with the mean.
    mutating func absorbs(
        _ seat: Int, _ absorption: TrainerOrder.Absorption, _ means: [(Range<UInt64>, [Float])]
    ) -> String? {
        guard elements > 0 else { return nil }
        takenTokens[seat] = stepTokens[seat]
        guard !absorption.means.isEmpty else { return nil }
        let key = absorption.key
        for epoch in (candidates[key] ?? [:]).keys.sorted().reversed() {
            guard let plan = plans[epoch], let candidate = candidates[key]?[epoch] else { continue }
            let due = due(key, plan)
            guard let expected = mean(candidate, plan, key, due),
                expected.values == assemble(means, due)
            else { continue }
            takenTokens[seat] = expected.tokens
            if key.scope == .pool { experts.took(key, due) }
            return apply(seat, absorption, expected, due)
        }
        guard isMember(seat) else {
            // Put out long ago without knowing: what it finishes now is forgotten here.
            takenOutcomes[seat] = nil
            return nil
        }
        return "worker \(seat) takes a mean of \(key) that no set of contributions gives"
    }

    /// Of the elements that are due, one after another; fewer if there is a gap.
    private func assemble(_ parts: [(Range<UInt64>, [Float])], _ due: [Int]?) -> [Float] {
        parts.sorted { $0.0.lowerBound < $1.0.lowerBound }.reduce(into: []) { whole, part in
            guard let due else {
                if UInt64(whole.count) == part.0.lowerBound { whole += part.1 }
                return
            }
            let next = due[min(whole.count, due.count)...].prefix(part.1.count)
            if next.elementsEqual(part.0.map { Int($0) }) { whole += part.1 }
        }
    }

    /// Elements of the parameter vector that a collective lays end to end.
    func place(_ key: CollectiveKey) -> [Int] {
        key.scope == .pool ? layout[key.fragment.index].flatMap { Array($0) } : []
    }

    /// Seats by contributing replica, in the order of accumulation: regions in order, ranks inside.
    func groups(_ plan: Plan, _ key: CollectiveKey) -> [[Int]] {
        let members = plan.members.sorted { $0.rank < $1.rank }
        let seat = { (member: PlanMember) in Int(member.workerID.rawValue) }
        if key.scope == .region {
            return members.filter { $0.region == key.region }.map { [seat($0)] }
        }
        guard configuration.schedule.inner == .everyStep || reducesParts(plan) else {
            return members.map { [seat($0)] }
        }
        let regions = members.map(\.region).reduce(into: [RegionID]()) { found, region in
            if !found.contains(region) { found.append(region) }
        }
        return regions.sorted().map { region in
            members.filter { $0.region == region }.map(seat)
        }
    }

    private func mean(
        _ candidate: Candidate, _ plan: Plan, _ key: CollectiveKey, _ due: [Int]?
    ) -> (values: [Float], tokens: UInt64)? {
        let elements = due?.count ?? elements(of: key)
        var vectors: [[Float]] = []
        var weights: [Tokens] = []
        let groups = groups(plan, key)
        let only = reducesParts(plan) ? nil : contributors(plan, groups, key)
        for (number, group) in groups.enumerated() {
            if reducesParts(plan) {
                guard let (vector, tokens) = regionMean(candidate, group, key, due) else {
                    return nil
                }
                vectors.append(vector)
                weights.append(tokens)
                continue
            }
            let parts = group.flatMap { candidate.parts[$0] ?? [] }
            // Who is not in a closed set puts nothing in.
            if closesSets, parts.isEmpty { continue }
            let own = contributed(only, by: number, due)
            let vector = assemble(parts.map { ($0.range, $0.values) }, own ?? due)
            let weight = Set(group.compactMap { candidate.weights[$0] })
            guard vector.count == own?.count ?? elements, weight.count == 1,
                let tokens = weight.first
            else { return nil }
            vectors.append(spread(vector, own, due, self.elements(of: key)))
            weights.append(tokens)
        }
        let total = weights.reduce(UInt64(0)) { $0 + $1.all }
        guard !vectors.isEmpty else { return nil }
        let place = place(key)
        let plain = shares(weights, of: nil)
        let own = (0..<experts.count).map { shares(weights, of: $0) }
        let values = (0..<elements).map { index -> Float in
            let expert = key.scope == .pool ? experts.expertOf[place[due?[index] ?? index]] : nil
            if let group = only?[due?[index] ?? index] { return vectors[group][index] }
            let shares = expert.map { own[$0] } ?? plain
            var sum = shares[0] * vectors[0][index]
            for group in vectors.indices.dropFirst() {
                let product = shares[group] * vectors[group][index]
                sum = sum + product
            }
            return sum
        }
        return (values, total)
    }

    /// What a region's members make of their parts, in rank order.
    private func regionMean(
        _ candidate: Candidate, _ group: [Int], _ key: CollectiveKey, _ due: [Int]?
    ) -> (values: [Float], tokens: Tokens)? {
        let elements = due?.count ?? elements(of: key)
        let only = holders(among: group.count)
        let vectors = group.enumerated().map { member, seat in
            let own = contributed(only, by: member, due)
            let parts = (candidate.parts[seat] ?? []).map { ($0.range, $0.values) }
            return spread(assemble(parts, own ?? due), own, due, self.elements(of: key))
        }
        let weights = group.compactMap { candidate.weights[$0] }
        guard weights.count == group.count, vectors.allSatisfy({ $0.count == elements }) else {
            return nil
        }
        guard group.count > 1 else { return (vectors[0], weights[0]) }
        let place = place(key)
        let plain = shares(weights, of: nil)
        let own = (0..<experts.count).map { shares(weights, of: $0) }
        let values = (0..<elements).map { index -> Float in
            if let member = only?[due?[index] ?? index] { return vectors[member][index] }
            let shares = experts.expertOf[place[due?[index] ?? index]].map { own[$0] } ?? plain
            var sum = shares[0] * vectors[0][index]
            for member in vectors.indices.dropFirst() {
                let product = shares[member] * vectors[member][index]
                sum = sum + product
            }
            return sum
        }
        return (values, Tokens(of: weights, experts: experts.count))
    }

    private func shares(_ weights: [Tokens], of expert: Int?) -> [Float] {
        var counts = weights.map { $0.weight(expert) }
        if counts.allSatisfy({ $0 == 0 }) { counts = counts.map { _ in 1 } }
        let total = Double(counts.reduce(0, +))
        return counts.map { Float(Double($0) / total) }
    }

    /// The state every member must have after the step that ends a round.
    private mutating func apply(
        _ seat: Int, _ absorption: TrainerOrder.Absorption,
        _ mean: (values: [Float], tokens: UInt64), _ due: [Int]?
    ) -> String? {
        guard absorption.target.endsRound else { return nil }
        let round = absorption.key.round
        let committed = committed[absorption.key.fragment.index]
        // One who was put out and does not know it yet finishes a round the others have committed.
        takenOutcomes[seat] = nil
        if round <= committed.round, !isMember(seat) { return nil }
        guard committed.round + 1 == round else {
            return "round \(round) is applied when \(committed.round) is the last committed"
        }
        var digests: [UInt64] = []
        for base in committed.states {
            var state = base
            if sharesGradients {
                ReferenceOptimiser.inner(&state.tensors, mean.values, configuration)
            } else {
                let places = due ?? Array(mean.values.indices)
                var part = state.tensors.map { tensor in places.map { tensor[$0] } }
                ReferenceOptimiser.outer(&part, mean.values, round: round, configuration)
                for (index, tensor) in part.enumerated() {
                    for (place, value) in zip(places, tensor) {
                        state.tensors[index][place] = value
                    }
                }
            }
            let outcome = Outcome(digest: state.digest, tokens: mean.tokens, state: state)
            digests.append(outcome.digest)
            let key = absorption.key
            if outcomes[key]?.contains(where: { $0.digest == outcome.digest }) != true {
                outcomes[key, default: []].append(outcome)
            }
        }
        takenOutcomes[seat] = digests
        return nil
    }

    mutating func absorbed(
        _ seat: Int, _ absorption: TrainerOrder.Absorption, _ digest: UInt64, _ experts: [Float]
    ) -> String? {
        guard elements > 0 else { return nil }
        switch absorption.target {
        case .optimiserStep:
            for fragment in layout.indices { roundTokens[seat][fragment] += takenTokens[seat] }
            for expert in 0..<self.experts.count {
                let tokens = Double(experts[expert]) * Double(takenTokens[seat])
                expertTokens[seat][expert] += UInt64(tokens.rounded())
            }
            roundSteps[seat] += 1
        case .pooledOptimiserStep, .outerStep:
            isEven[seat] = true
            if let expected = takenOutcomes[seat], !expected.contains(digest) {
                return "worker \(seat) has other parameters after \(absorption.key) than it must"
            }
        }
        return nil
    }
}
