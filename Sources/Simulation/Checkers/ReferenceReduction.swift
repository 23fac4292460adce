import ClusterModel
import Coordination
import WireProtocol

/// Computes what means and parameters must be from what trainers put in, without the machines: every
/// mean a trainer takes must be the weighted mean of one complete set of contributions under one plan,
/// and every committed digest that of the reference's own outer step.
struct ReferenceReduction {
    private struct Part {
        var range: Range<UInt64>
        var values: [Float]
    }

    /// What the seats of one plan put into one collective.
    private struct Candidate {
        var parts: [Int: [Part]] = [:]
        var weights: [Int: UInt64] = [:]
    }

    /// State that all replicas share: outer copy and momentum, or parameters and moments.
    struct Shared: Equatable {
        var tensors: [[Float]]
        var digest: UInt64 { TrainerState.digest(tensors) }
    }

    private struct Outcome {
        var digest: UInt64
        var tokens: UInt64
        var state: Shared
    }

    private let configuration: RunConfiguration
    private let elements: Int
    private var plans: [Epoch: Plan] = [:]
    private var latest = Epoch.none
    private var candidates: [CollectiveKey: [Epoch: Candidate]] = [:]
    /// Tokens behind what a seat would contribute: of its last step, of its replica's last step, and
    /// of its replica since the last outer step.
    private var stepTokens: [UInt64]
    private var gradientTokens: [UInt64]
    private var roundTokens: [UInt64]
    /// Tokens of the mean a seat is taking.
    private var takenTokens: [UInt64]
    /// Digests a seat may have after the step; nil: not known here.
    private var takenOutcomes: [[UInt64]?]
    /// Rounds that may be committed, by round.
    private var outcomes: [UInt32: [Outcome]] = [:]
    /// The last committed round, and what it may be: one state, or, where a run begins again from what
    /// seats have saved, one of those.
    private var committed: (round: UInt32, states: [Shared])?

    init(configuration: RunConfiguration, seats: Int, elements: Int) {
        self.configuration = configuration
        self.elements = elements
        stepTokens = Array(repeating: 0, count: seats)
        gradientTokens = stepTokens
        roundTokens = stepTokens
        takenTokens = stepTokens
        takenOutcomes = stepTokens.map { _ in [] }
        if elements > 0 {
            let start = TrainerState(elements: elements, seed: configuration.seed)
            committed = (0, [shared(start)])
        }
    }

    private var sharesGradients: Bool { configuration.schedule.outer == .everyStep }

    private func shared(_ state: TrainerState) -> Shared {
        sharesGradients
            ? Shared(tensors: [state.parameters, state.firstMoment, state.secondMoment])
            : Shared(tensors: [state.outerCopy, state.outerMomentum])
    }

    // MARK: What drivers see

    mutating func workerStarted(_ seat: Int, _ saved: TrainerState?) {
        roundTokens[seat] = 0
    }

    /// A run that starts from saved states starts from the furthest of them.
    mutating func resumes(from state: TrainerState) {
        guard elements > 0, state.round >= (committed?.round ?? 0) else { return }
        if state.round == committed?.round {
            let candidate = shared(state)
            committed?.states.append(candidate)
        } else {
            committed = (state.round, [shared(state)])
        }
    }

    /// Everybody who held the last round is gone.
    mutating func beginsAgain(from states: [TrainerState]) {
        guard elements > 0 else { return }
        committed = (0, [shared(TrainerState(elements: elements, seed: configuration.seed))])
        outcomes = [:]
        for state in states { resumes(from: state) }
    }

    mutating func planned(_ plan: Plan, _ epoch: Epoch) {
        plans[epoch] = plan
        latest = max(latest, epoch)
    }

    /// In the newest plan anybody follows.
    private func isMember(_ seat: Int) -> Bool {
        plans[latest]?.members.contains { $0.workerID == WorkerID(seat) } ?? false
    }

    mutating func computed(_ seat: Int, tokens: UInt64) {
        stepTokens[seat] = tokens
        gradientTokens[seat] = tokens
    }

    mutating func installed(_ seat: Int) { roundTokens[seat] = 0 }

    mutating func encoded(
        _ seat: Int, _ encoding: TrainerOrder.Encoding, _ chunk: TrainerOrder.Chunk,
        _ values: [Float]
    ) {
        guard elements > 0 else { return }
        let key = encoding.key
        let weight =
            switch (key.scope, encoding.source) {
            case (.region, _): stepTokens[seat]
            case (.pool, .gradient): gradientTokens[seat]
            case (.pool, .outerGradient): roundTokens[seat]
            }
        var candidate = candidates[key]?[encoding.epoch] ?? Candidate()
        candidate.weights[seat] = weight
        candidate.parts[seat, default: []].append(Part(range: chunk.range, values: values))
        candidates[key, default: [:]][encoding.epoch] = candidate
        if key.scope == .region, key.round > 16 {
            var old = key
            old.round -= 16
            candidates[old] = nil
        }
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
        let taken = assemble(means)
        guard taken.count == elements else { return "a mean of \(key) has gaps" }
        for epoch in (candidates[key] ?? [:]).keys.sorted().reversed() {
            guard let plan = plans[epoch], let candidate = candidates[key]?[epoch],
                let expected = mean(candidate, groups(plan, key)), expected.values == taken
            else { continue }
            takenTokens[seat] = expected.tokens
            return apply(seat, absorption, expected)
        }
        guard isMember(seat) else {
            // Put out long ago without knowing: what it finishes now is forgotten here.
            takenOutcomes[seat] = nil
            return nil
        }
        return "worker \(seat) takes a mean of \(key) that no set of contributions gives"
    }

    private func assemble(_ parts: [(Range<UInt64>, [Float])]) -> [Float] {
        parts.sorted { $0.0.lowerBound < $1.0.lowerBound }.reduce(into: []) { whole, part in
            if UInt64(whole.count) == part.0.lowerBound { whole += part.1 }
        }
    }

    /// Seats by contributing replica, in the order of accumulation: regions in order, ranks inside.
    private func groups(_ plan: Plan, _ key: CollectiveKey) -> [[Int]] {
        let members = plan.members.sorted { $0.rank < $1.rank }
        let seat = { (member: PlanMember) in Int(member.workerID.rawValue) }
        if key.scope == .region {
            return members.filter { $0.region == key.region }.map { [seat($0)] }
        }
        guard configuration.schedule.inner == .everyStep else { return members.map { [seat($0)] } }
        let regions = members.map(\.region).reduce(into: [RegionID]()) { found, region in
            if !found.contains(region) { found.append(region) }
        }
        return regions.sorted().map { region in
            members.filter { $0.region == region }.map(seat)
        }
    }

    private func mean(
        _ candidate: Candidate, _ groups: [[Int]]
    ) -> (values: [Float], tokens: UInt64)? {
        var vectors: [[Float]] = []
        var weights: [UInt64] = []
        for group in groups {
            let parts = group.flatMap { candidate.parts[$0] ?? [] }
            let vector = assemble(parts.map { ($0.range, $0.values) })
            let weight = Set(group.compactMap { candidate.weights[$0] })
            guard vector.count == elements, weight.count == 1, let tokens = weight.first else {
                return nil
            }
            vectors.append(vector)
            weights.append(tokens)
        }
        let total = weights.reduce(0, +)
        guard total > 0 else { return nil }
        let shares = weights.map { Float(Double($0) / Double(total)) }
        let values = (0..<elements).map { index -> Float in
            var sum = shares[0] * vectors[0][index]
            for group in vectors.indices.dropFirst() {
                let product = shares[group] * vectors[group][index]
                sum = sum + product
            }
            return sum
        }
        return (values, total)
    }

    /// The state every member must have after the step that ends a round.
    private mutating func apply(
        _ seat: Int, _ absorption: TrainerOrder.Absorption,
        _ mean: (values: [Float], tokens: UInt64)
    ) -> String? {
        guard absorption.target.endsRound, let committed else { return nil }
        let round = absorption.key.round
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
                ReferenceOptimiser.outer(&state.tensors, mean.values, configuration)
            }
            let outcome = Outcome(digest: state.digest, tokens: mean.tokens, state: state)
            digests.append(outcome.digest)
            if outcomes[round]?.contains(where: { $0.digest == outcome.digest }) != true {
                outcomes[round, default: []].append(outcome)
            }
        }
        takenOutcomes[seat] = digests
        return nil
    }

    mutating func absorbed(
        _ seat: Int, _ absorption: TrainerOrder.Absorption, _ digest: UInt64
    ) -> String? {
        guard elements > 0 else { return nil }
        switch absorption.target {
        case .gradient: gradientTokens[seat] = takenTokens[seat]
        case .optimiserStep: roundTokens[seat] += takenTokens[seat]
        case .pooledOptimiserStep, .outerStep:
            roundTokens[seat] = 0
            if let expected = takenOutcomes[seat], !expected.contains(digest) {
                return "worker \(seat) has other parameters after \(absorption.key) than it must"
            }
        }
        return nil
    }

    // MARK: Commits

    /// A stopped worker may still take a mean the others have long committed.
    private mutating func forget(before round: UInt32) {
        for key in candidates.keys.sorted() where key.scope == .pool && key.round + 8 < round {
            candidates[key] = nil
        }
    }

    mutating func committed(_ round: UInt32, _ digest: UInt64, _ tokens: UInt64) -> String? {
        guard elements > 0 else { return nil }
        defer {
            outcomes = [:]
            forget(before: round)
        }
        guard let outcome = outcomes[round]?.first(where: { $0.digest == digest }) else {
            return "the committed digest of round \(round) is not that of any mean taken"
        }
        committed = (round, [outcome.state])
        guard outcome.tokens == tokens else {
            return "round \(round) counts \(tokens) tokens, \(outcome.tokens) were trained on"
        }
        return nil
    }
}
