import ClusterModel
import WireProtocol

/// A member's side of one collective: what it sends, and which positions of the mean it holds.
struct Exchange: Equatable, Sendable {
    /// What this worker's region reduces on the way.
    struct Parts: Equatable, Sendable {
        let key: CollectiveKey
        let geometry: CollectiveGeometry
    }

    let key: CollectiveKey
    let geometry: CollectiveGeometry
    /// Where a region's members have parts of what it contributes.
    let parts: Parts?
    /// Tokens behind this worker's contribution.
    let weight: TrainedTokens
    /// See "may-leave" in Protocols/longhaul-1.md: this worker knows the previous round committed.
    let mayLeave: Bool
    /// By flat position.
    private(set) var means: [EncodedPayload?]
    private var weights: [UInt64]
    private(set) var missing: Int
    /// Sum of weights the owners have counted, of a chunk that all tokens count for; of experts' chunks,
    /// which may have waited for several rounds, where there is no other.
    var totalWeight: UInt64 { plainWeight ?? expertWeight }
    private var plainWeight: UInt64?
    private var expertWeight: UInt64 = 0
    /// AND over all means.
    private(set) var allMayLeave = true
    /// When the first byte of anybody else arrived: until then this worker waited for a peer, from
    /// then on for bytes.
    var firstArrival: Instant?
    let began: Instant
    /// Outer exchanges: the step after which the values left, and the one after which the mean is due.
    var left: UInt32 = 0
    var appliesAt: UInt32 = 0
    /// Where sets are closed: this replica's offer is in the mean.
    var merges = false

    init(
        key: CollectiveKey, geometry: CollectiveGeometry, parts: Parts? = nil,
        weight: TrainedTokens, mayLeave: Bool, began: Instant
    ) {
        self.key = key
        self.geometry = geometry
        self.parts = parts
        self.weight = weight
        self.mayLeave = mayLeave
        self.began = began
        missing = geometry.duePositions
        means = Array(repeating: nil, count: geometry.totalPositions)
        weights = Array(repeating: 0, count: means.count)
    }

    var isComplete: Bool { missing == 0 }

    /// Under which this worker's own chunks leave.
    var contributes: Parts { parts ?? Parts(key: key, geometry: geometry) }

    /// False if the position is already held or does not exist.
    mutating func hold(
        _ mean: EncodedPayload, slice: Int, position: Int, weight: UInt64, mayLeave: Bool
    ) -> Bool {
        guard slice < geometry.sliceCount, position < geometry.positionCount(ofSlice: slice) else {
            return false
        }
        let index = geometry.flatIndex(slice: slice, position: position)
        guard means[index] == nil,
            geometry.isDue(slice: slice, position: position),
            UInt64(mean.elements) == geometry.range(ofSlice: slice, position: position).count
        else { return false }
        means[index] = mean
        missing -= 1
        weights[index] = weight
        if geometry.expert(ofSlice: slice, position: position) == nil {
            plainWeight = max(plainWeight ?? 0, weight)
        } else {
            expertWeight = max(expertWeight, weight)
        }
        allMayLeave = allMayLeave && mayLeave
        return true
    }

    func mean(slice: Int, position: Int) -> EncodedPayload? {
        guard slice < geometry.sliceCount, position < geometry.positionCount(ofSlice: slice) else {
            return nil
        }
        return means[geometry.flatIndex(slice: slice, position: position)]
    }

    /// What a held position counts for.
    func weight(slice: Int, position: Int) -> UInt64 {
        weights[geometry.flatIndex(slice: slice, position: position)]
    }

    var handles: [PayloadHandle] { means.compactMap { $0?.handle } }

    /// Owners whose slices are not complete here, in slice order.
    var missingOwners: [Rank] {
        (0..<geometry.sliceCount).filter { slice in
            (0..<geometry.positionCount(ofSlice: slice)).contains {
                isMissing(slice, $0)
            }
        }.map { geometry.owner(ofSlice: $0) }
    }

    /// Every (slice, position) not held yet, in order.
    var missingPositions: [(slice: Int, position: Int)] {
        var found: [(slice: Int, position: Int)] = []
        for slice in 0..<geometry.sliceCount {
            for position in 0..<geometry.positionCount(ofSlice: slice)
            where isMissing(slice, position) {
                found.append((slice, position))
            }
        }
        return found
    }

    private func isMissing(_ slice: Int, _ position: Int) -> Bool {
        geometry.isDue(slice: slice, position: position)
            && mean(slice: slice, position: position) == nil
    }

    /// What the trainer decodes: element ranges of the collective with their bytes, in order.
    var decodable: [TrainerOrder.MeanChunk] {
        var chunks: [TrainerOrder.MeanChunk] = []
        for slice in 0..<geometry.sliceCount {
            for position in 0..<geometry.positionCount(ofSlice: slice) {
                guard let mean = mean(slice: slice, position: position) else { continue }
                chunks.append(
                    TrainerOrder.MeanChunk(
                        range: geometry.range(ofSlice: slice, position: position), payload: mean))
            }
        }
        return chunks
    }
}
