import ClusterModel
import Coordination
import WireProtocol

/// The gradient all-reduce of one region by formula: every chunk passes through the interfaces of the
/// workers it concerns, in the order of slices, over link clocks of their own. Depends on nothing but
/// how far apart the workers come, so the last answers are kept. Where a region only contributes what it
/// reduces, no mean comes back.
struct RegionExchange {
    struct Outcome {
        /// A worker's time encoding its part.
        var encoding: Int64
        /// From the last worker's arrival to the last mean's, or to the last chunk's reduction.
        var duration: Int64
    }

    /// Where experts are spread, with who contributes them.
    private let geometry: CollectiveGeometry
    private let transform: TransformID
    private let cost: CostModel
    private let encrypts: Bool
    private let localRate: UInt64
    private let hasMeans: Bool
    /// How long before the last one each worker came, and what came of it.
    private var kept: [(offsets: [Int64], outcome: Outcome)] = []

    init(
        workers: Int, elements: UInt64, transform: TransformID, options: SimulationOptions,
        chunk: Int, hasMeans: Bool = true, spread: [ExpertBlock] = []
    ) {
        self.hasMeans = hasMeans
        let ranks = (0..<workers).map { Rank($0) }
        geometry = CollectiveGeometry(
            epoch: .none, participants: ranks, groups: ranks.map { [$0] }, elements: elements,
            chunkElements: chunk,
            experts: ExpertPart.parts(
                of: spread,
                in: ExpertHolders.order(
                    elements: elements, blocks: hasMeans ? spread : [], members: workers
                ).map { ElementRange(start: $0.lowerBound, count: UInt64($0.count)) })
        ).contributing(
            spread.flatMap { block in
                (0..<Int(block.count)).map {
                    ExpertHolders.holder(of: $0, experts: Int(block.count), members: workers)
                }
            })
        self.transform = transform
        cost = options.cost
        encrypts = options.encrypts
        localRate = options.localRate
    }

    /// - Parameter ready: when each worker's gradient is there.
    mutating func run(ready: [Int64]) -> Outcome {
        let last = ready.max() ?? 0
        let offsets = ready.map { last - $0 }
        if let known = kept.first(where: { $0.offsets == offsets }) { return known.outcome }
        let outcome = compute(ready: offsets.map { -$0 })
        if kept.count == 4 { kept.removeFirst() }
        kept.append((offsets, outcome))
        return outcome
    }

    /// Times relative to the last worker's arrival.
    private func compute(ready: [Int64]) -> Outcome {
        let parameters = LinkParameters(
            bitsPerSecond: localRate, oneWayNanoseconds: Fabric.localDelay,
            queueLimitBytes: Fabric.queueLimit)
        var interfaces = ready.map { _ in LinkClock(parameters, seed: 0) }
        /// `only`: who alone contributes it.
        var chunks: [(owner: Int, elements: Int, arrived: Int64, only: Int?)] = []
        for slice in 0..<geometry.sliceCount {
            for position in 0..<geometry.positionCount(ofSlice: slice) {
                let elements = geometry.range(ofSlice: slice, position: position).count
                let only = geometry.contributor(
                    ofExpert: geometry.expert(ofSlice: slice, position: position))
                chunks.append((slice, elements, .min, only))
            }
        }
        var encoding: Int64 = 0
        for worker in ready.indices {
            var encoded = ready[worker]
            for index in chunks.indices where (chunks[index].only ?? worker) == worker {
                encoded += cost.time(4 * chunks[index].elements, at: cost.encodeRate)
                var due = encoded
                if chunks[index].owner != worker {
                    let bytes = ExchangeShape.frame(
                        chunks[index].elements, transform, encrypts: encrypts)
                    due = interfaces[worker].reserve(bytes: bytes, now: encoded).deliver
                }
                chunks[index].arrived = max(chunks[index].arrived, due)
            }
            encoding = encoded - ready[worker]
        }
        var complete: Int64 = 0
        for chunk in chunks {
            let parts = chunk.only == nil ? ready.count : 1
            let reduced =
                chunk.arrived
                + cost.time(4 * chunk.elements * (parts + 1), at: cost.reduceRate)
            guard hasMeans else {
                complete = max(complete, reduced)
                continue
            }
            let bytes =
                (ready.count - 1)
                * ExchangeShape.frame(chunk.elements, transform, encrypts: encrypts)
            let due = interfaces[chunk.owner].reserve(bytes: bytes, now: reduced).deliver
            complete = max(complete, due)
        }
        return Outcome(encoding: encoding, duration: complete)
    }
}
