import ClusterModel
import Coordination
import DequeModule
import WireProtocol

/// A trainer whose arithmetic is real and whose time is modelled: a quadratic objective with noise per
/// sample, momentum SGD inside, Nesterov momentum outside. What it computes depends on the run's seed,
/// the samples' indices and the parameters, and on nothing else.
struct ToyTrainer {
    /// Momentum of the inner optimiser; decay of the second moment, which only travels with the state.
    static let innerMomentum: Float = 0.9
    static let secondDecay: Float = 0.99
    private static let tokensPerSample: UInt64 = 32

    var state: TrainerState
    /// Gradient of the step under way.
    private(set) var gradient: [Float]
    /// Outer gradients as they left, of the fragments under way.
    private var kept: [Float]
    /// As offered, whatever means come in since.
    private var offered: [Float]
    let seat: Int
    let configuration: RunConfiguration
    /// Only sizes travel; nothing is computed.
    let isModelled: Bool
    let elements: UInt64
    private let experts: [ExpertBlock]

    init(
        seat: Int, configuration: RunConfiguration, elements: UInt64, isModelled: Bool,
        resuming saved: TrainerState?
    ) {
        self.seat = seat
        self.configuration = configuration
        self.elements = elements
        self.isModelled = isModelled
        experts = isModelled ? [] : configuration.expertBlocks(elements: elements)
        let count = isModelled ? 0 : Int(elements)
        state = saved ?? TrainerState(elements: count, seed: configuration.seed)
        gradient = [Float](repeating: 0, count: count)
        kept = gradient
        offered = gradient
    }

    /// The configured model's, where it is only modelled.
    private var tokensPerSample: UInt64 {
        isModelled ? UInt64(configuration.model.context) : Self.tokensPerSample
    }

    // MARK: Orders

    /// Mean gradient over samples of the run's order, and the mean loss.
    ///
    /// - Parameter elsewhere: by expert, that another region computes it alone: no gradient; empty: none.
    mutating func compute(
        samples range: Range<UInt64>, elsewhere: [Bool]
    ) -> (loss: Double, tokens: UInt64) {
        let count = state.parameters.count
        let samples = range.count
        var sum = [Float](repeating: 0, count: count)
        var loss: Double = 0
        for sample in isModelled ? 0..<0 : range {
            var generator = SeededGenerator(
                seed: configuration.seed &+ 0x9E37_79B9 &+ sample << 20)
            for index in 0..<count {
                let target = Float(index % 7) * 0.25 - 0.75
                let error = state.parameters[index] - target + (generator.uniform() - 0.5)
                sum[index] += error
                loss += Double(error * error)
            }
        }
        state.samples += UInt64(samples)
        let share = 1 / Float(max(1, samples))
        gradient = sum.map { $0 * share }
        var expert = 0
        for block in experts {
            for number in 0..<UInt64(block.count) {
                defer { expert += 1 }
                guard elsewhere.indices.contains(expert), elsewhere[expert] else { continue }
                let start = Int(block.start + number * block.each)
                for index in start..<start + Int(block.each) { gradient[index] = 0 }
            }
        }
        let values = Double(max(1, count * samples))
        return (loss / values, UInt64(samples) * tokensPerSample)
    }

    /// Keeps the outer gradient of `fragment` as it is now.
    mutating func keep(_ fragment: [ElementRange], as source: TrainerOrder.Source) {
        guard !isModelled else { return }
        for range in fragment {
            for index in Int(range.start)..<Int(range.start + range.count) {
                let now = state.outerCopy[index] - state.parameters[index]
                if source == .offeredOuterGradient {
                    offered[index] = now
                } else {
                    kept[index] = now
                }
            }
        }
    }

    /// Values of a chunk of this worker's contribution.
    func encode(_ chunk: TrainerOrder.Chunk, of encoding: TrainerOrder.Encoding)
        -> PayloadPool.Content
    {
        if isModelled {
            return .modelled(
                bytes: PayloadPool.modelledBytes(encoding.transform, chunk.range.count))
        }
        return .values(
            indices(chunk.range, in: encoding.fragment).map { index in
                switch encoding.source {
                case .gradient: gradient[index]
                case .outerGradient: state.outerCopy[index] - state.parameters[index]
                case .keptOuterGradient: kept[index]
                case .offeredOuterGradient: offered[index]
                }
            })
    }

    /// Steps on the mean; `nil` means the values are in place already.
    mutating func absorb(_ absorption: TrainerOrder.Absorption, means: [(Range<UInt64>, [Float])])
        -> UInt64
    {
        state.step = absorption.step
        if absorption.target.endsRound { state.round = absorption.turn }
        guard !isModelled else { return UInt64(absorption.key.round) }
        switch absorption.target {
        case .optimiserStep, .pooledOptimiserStep:
            place(means, absorption.fragment)
            innerStep()
            return sharedDigest
        case .outerStep:
            for (range, values) in means {
                for (index, value) in zip(indices(range, in: absorption.fragment), values) {
                    outerStep(index, value, absorption)
                }
            }
            return state.outerDigest(of: absorption.fragment)
        }
    }

    /// Of what members of a replica share after an inner step: not of experts that their holders keep.
    private var sharedDigest: UInt64 {
        guard configuration.keepsExpertsAtHolders else { return state.innerDigest }
        var rest = state
        for block in FragmentLayout.experts(of: configuration.model, elements: elements) {
            for index in Int(block.start)..<Int(block.end) {
                rest.parameters[index] = 0
                rest.firstMoment[index] = 0
                rest.secondMoment[index] = 0
            }
        }
        return rest.innerDigest
    }

    /// Stand for a gate's: of the replica's tokens, by expert. They depend on parameters only, which its
    /// members share, so that replicas use experts unlike; some are not used at all.
    var expertShares: [Float] {
        let topK = UInt64(configuration.model.experts?.topK ?? 1)
        return experts.flatMap { block in
            // Under `keep: holder` members share no expert's.
            let source = configuration.keepsExpertsAtHolders ? 0 : Int(block.start)
            var generator = SeededGenerator(seed: UInt64(state.parameters[source].bitPattern))
            let draws = (0..<block.count).map { expert in
                generator.integer(below: 4) * popularity(expert)
            }
            let sum = max(1, draws.reduce(0, +))
            return draws.map { min(1, Float($0 * topK) / Float(sum)) }
        }
    }

    /// Where rounds leave experts out, or one region computes some alone, those are used rarely, and others
    /// some rounds later.
    private func popularity(_ expert: UInt32) -> UInt64 {
        if configuration.model.experts?.crossing != nil {
            return 1 << (3 * UInt64((expert + state.round / 6) % 3))
        }
        guard configuration.greatestExpertPeriod > 1 else { return 1 }
        return 1 << (3 * UInt64((expert + state.round / 10) % 3))
    }

    private mutating func place(_ means: [(Range<UInt64>, [Float])], _ fragment: [ElementRange]) {
        for (range, values) in means {
            for (index, value) in zip(indices(range, in: fragment), values) {
                gradient[index] = value
            }
        }
    }

    private mutating func innerStep() {
        let rate = Float(configuration.training.learningRate)
        for index in gradient.indices {
            let g = gradient[index]
            let first = Self.innerMomentum * state.firstMoment[index]
            state.firstMoment[index] = first + g
            let second = Self.secondDecay * state.secondMoment[index]
            let square = (1 - Self.secondDecay) * g * g
            state.secondMoment[index] = second + square
            let change = rate * state.firstMoment[index]
            state.parameters[index] -= change
        }
    }

    private mutating func outerStep(
        _ index: Int, _ mean: Float, _ absorption: TrainerOrder.Absorption
    ) {
        let rate = Float(configuration.schedule.outerLearningRate)
        let momentum = Float(configuration.schedule.outerMomentum)
        let change: Float
        switch configuration.schedule.optimiser {
        case .nesterov:
            // PyTorch's form: m <- mu m + d; theta <- theta - lr (d + mu m).
            let decayed = momentum * state.outerMomentum[index]
            state.outerMomentum[index] = decayed + mean
            let ahead = momentum * state.outerMomentum[index]
            change = rate * (mean + ahead)
        case .sgd:
            change = rate * mean
        case .delayedNesterov:
            let every = configuration.schedule.momentumEvery
            let part = 1 / Float(every) * mean
            let round = absorption.key.round
            let old = state.outerMomentum[index]
            let decayed = round % every == 1 || every == 1 ? momentum * old : old
            state.outerMomentum[index] = decayed + part
            let ahead = round % every == 0 ? momentum * state.outerMomentum[index] : 0
            change = rate * (part + ahead)
        }
        if let carried = absorption.carried {
            var own = state.parameters[index] - state.outerCopy[index]
            if carried == .sinceOffer { own += offered[index] }
            state.outerCopy[index] -= change
            state.parameters[index] = own + state.outerCopy[index]
            return
        }
        state.outerCopy[index] -= change
        guard absorption.blend > 0 else {
            state.parameters[index] = state.outerCopy[index]
            return
        }
        let local = absorption.blend * state.parameters[index]
        let outer = (1 - absorption.blend) * state.outerCopy[index]
        state.parameters[index] = local + outer
    }

    // MARK: State transfer

    func read(_ request: StateRequest) -> (chunk: StateChunk, content: PayloadPool.Content) {
        let values = state[request.item]
        let chunk = StateChunk(
            item: request.item, start: request.start, count: request.count, total: elements,
            round: state.round, step: UInt64(state.step), digest: digest(of: request.item))
        if request.count == 0 { return (chunk, .values([])) }
        if isModelled { return (chunk, .modelled(bytes: 4 * Int(request.count))) }
        let start = Int(request.start)
        return (chunk, .values(Array(values[start..<start + Int(request.count)])))
    }

    /// Of a modelled state its round and step stand for what it is.
    func digest(of item: StateItem) -> UInt64 {
        if isModelled { return UInt64(state.round) << 32 | UInt64(state.step) }
        return item == .index ? state.outerDigest : TrainerState.digest([state[item]])
    }

    mutating func stand(at handover: TrainerOrder.Handover) {
        state.step = handover.step
        state.round = handover.round
        if handover.beginsFromOuterCopy { state.parameters = state.outerCopy }
    }

    mutating func install(_ chunk: StateChunk, _ values: [Float]) {
        if isModelled {
            state.step = UInt32(clamping: chunk.step)
            state.round = chunk.round
        }
        guard !isModelled else { return }
        state[chunk.item].replaceSubrange(
            Int(chunk.start)..<Int(chunk.start) + values.count, with: values)
    }

    // MARK: Layout

    /// Parameter indices of a range of the collective, whose elements are the fragment's ranges laid
    /// end to end.
    private func indices(_ range: Range<UInt64>, in fragment: [ElementRange]) -> [Int] {
        var found: [Int] = []
        found.reserveCapacity(range.count)
        var base: UInt64 = 0
        for part in fragment {
            let from = max(range.lowerBound, base)
            let to = min(range.upperBound, base + part.count)
            if from < to {
                found += (from..<to).map { Int(part.start + ($0 - base)) }
            }
            base += part.count
        }
        return found
    }
}
