import ClusterModel
import Coordination
import WireProtocol

/// Stands for a trainer: vectors are 64-bit hashes, so that two members agree exactly if they have
/// decoded the same means in the same order.
struct TrainerModel {
    let seat: UInt64
    private(set) var live: UInt64 = 1
    private(set) var outer: UInt64 = 1
    private var gradient: UInt64 = 0
    private(set) var samples: UInt64 = 0
    var step: UInt32 = 0
    var round: UInt32 = 0
    /// What it says computing takes.
    var secondsPerSample = Interval.milliseconds(50)
    /// Makes the digest of this round wrong.
    var corruptsRound: UInt32?

    init(seat: WorkerID) { self.seat = UInt64(seat.rawValue) }

    /// What `--resume` would have read.
    mutating func restore(from other: TrainerModel) {
        live = other.live
        outer = other.outer
        step = other.step
        round = other.round
    }

    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var generator = SeededGenerator(seed: a &* 0x9E37_79B9 &+ b)
        return generator.next()
    }

    mutating func compute(step: UInt32, samples range: Range<UInt64>) -> Worker.TrainerEvent {
        samples += UInt64(range.count)
        gradient = Self.mix(Self.mix(live, seat), UInt64(step))
        return .computed(
            step: step, loss: 1, tokens: UInt64(range.count) * 128, samples: samples,
            elapsed: secondsPerSample * Int64(range.count))
    }

    private var kept: [FragmentID: UInt64] = [:]

    mutating func keep(_ fragment: FragmentID) { kept[fragment] = Self.mix(outer, live) }

    func encoded(
        _ source: TrainerOrder.Source, _ chunk: TrainerOrder.Chunk, of key: CollectiveKey
    ) -> UInt64 {
        let values =
            switch source {
            case .gradient: gradient
            case .outerGradient: Self.mix(outer, live)
            case .keptOuterGradient, .offeredOuterGradient: kept[key.fragment] ?? 0
            }
        return Self.mix(values, chunk.range.lowerBound)
    }

    mutating func absorb(
        _ order: TrainerOrder.Absorption, contents: [UInt64]
    ) -> Worker.TrainerEvent {
        let mean = contents.isEmpty ? gradient : contents.reduce(0, Self.mix)
        let digest = take(mean, order.target, step: order.step, round: order.turn)
        return .absorbed(key: order.key, target: order.target, digest: digest)
    }

    /// The digest of the state that ends a round; 0 where none ends.
    @discardableResult
    mutating func take(
        _ mean: UInt64, _ target: TrainerOrder.Target, step: UInt32, round: UInt32
    ) -> UInt64 {
        switch target {
        case .optimiserStep:
            live = Self.mix(live, mean)
            self.step = step
            return 0
        case .pooledOptimiserStep:
            live = Self.mix(live, mean)
            outer = live
            self.step = step
            return endRound(round)
        case .outerStep:
            outer = Self.mix(outer, mean)
            live = outer
            return endRound(round)
        }
    }

    private mutating func endRound(_ number: UInt32) -> UInt64 {
        round = number
        return corruptsRound == number ? Self.mix(outer, 13) : outer
    }

    func piece(_ request: StateRequest) -> (chunk: StateChunk, contents: UInt64) {
        let total = Fixtures.parameterCount
        let contents =
            switch request.item {
            case .parameters: live
            case .outerCopy: outer
            case .index, .outerMomentum, .firstMoment, .secondMoment: UInt64(0)
            }
        let chunk = StateChunk(
            item: request.item, start: request.start, count: request.count, total: total,
            round: round, step: UInt64(step), digest: digest(of: request.item))
        return (chunk, contents)
    }

    func digest(of item: StateItem) -> UInt64 {
        switch item {
        case .parameters: live
        case .outerCopy, .index: outer
        case .outerMomentum, .firstMoment, .secondMoment: 0
        }
    }

    mutating func stand(at handover: TrainerOrder.Handover) {
        step = handover.step
        round = handover.round
        if handover.beginsFromOuterCopy { live = outer }
    }

    mutating func install(_ chunk: StateChunk, contents: UInt64) {
        switch chunk.item {
        case .parameters: live = contents
        case .outerCopy: outer = contents
        case .index, .outerMomentum, .firstMoment, .secondMoment: break
        }
    }
}
