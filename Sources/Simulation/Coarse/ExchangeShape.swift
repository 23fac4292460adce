import ClusterModel
import Coordination

/// What one pool exchange moves, from the plan's geometry: who owns how much, and how many frames of
/// which size cross from region to region. Linear in the number of members.
struct ExchangeShape {
    /// One region's members and the slices they own.
    struct Region {
        let id: RegionID
        /// In rank order.
        var seats: [Int] = []
        /// Elements of the slices owned here.
        var elements = 0
        /// Chunk positions of the slices owned here.
        var chunks = 0
        /// Bytes of these chunks' frames, payload, header and framing.
        var frameBytes = 0
        /// Bytes of the frame that comes last.
        var lastFrameBytes = 0
        /// Elements of the largest chunk.
        var largestChunk = 0
        /// How often this region contributes: once where it reduces what it has to send.
        var replicas = 1
    }

    let regions: [Region]
    let elements: Int
    /// Contributions an owner sums up.
    let replicas: Int
    /// Whether a mean crosses a link once per region and is passed on inside.
    let forwards: Bool

    init(
        members: [(seat: Int, region: RegionID, weight: UInt32)],
        schedule: RunConfiguration.Schedule,
        elements: UInt64, transform: TransformID, chunkElements: Int, encrypts: Bool
    ) {
        let ranks = members.indices.map { Rank($0) }
        let geometry = CollectiveGeometry(
            epoch: .none, participants: ranks, groups: [ranks], elements: elements,
            weights: members.map(\.weight), chunkElements: chunkElements)
        var regions: [Region] = []
        for (slice, member) in members.enumerated() {
            if regions.last?.id != member.region { regions.append(Region(id: member.region)) }
            let place = regions.count - 1
            regions[place].seats.append(member.seat)
            let range = geometry.range(ofSlice: slice)
            let positions = geometry.positionCount(ofSlice: slice)
            regions[place].elements += range.count
            regions[place].chunks += positions
            for position in 0..<positions {
                let count = geometry.range(ofSlice: slice, position: position).count
                let bytes = Self.frame(count, transform, encrypts: encrypts)
                regions[place].frameBytes += bytes
                regions[place].lastFrameBytes = bytes
                regions[place].largestChunk = max(regions[place].largestChunk, count)
            }
        }
        forwards = schedule.inner == .everyStep || schedule.reducesParts && regions.count > 1
        for place in regions.indices where !forwards {
            regions[place].replicas = regions[place].seats.count
        }
        self.regions = regions
        self.elements = Int(elements)
        replicas = regions.reduce(0) { $0 + $1.replicas }
    }

    /// Bytes of a chunk's frame on the link.
    static func frame(_ elements: Int, _ transform: TransformID, encrypts: Bool) -> Int {
        FrameSizes.chunk(PayloadPool.modelledBytes(transform, elements), encrypts: encrypts)
    }
}
