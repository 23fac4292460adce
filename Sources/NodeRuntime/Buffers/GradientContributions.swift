package import ClusterModel
import Compression
package import Coordination
package import Training

/// This worker's gradient on its way to the members of its region, where the trainer lends it: encoded on the
/// loop thread just before it leaves, so that a chunk is copied, checksummed and handed to the kernel while
/// it is in the cache, and no thread has to be woken for it.
package struct GradientContributions {
    private struct Open {
        let encoding: TrainerOrder.Encoding
        let gradient: SharedFloats
        let map: FragmentMap
        /// Slices that stay here; their values are lent to the reduction where they need no encoding.
        let ownSlices: [Int]
        var next = 0
    }

    private let encoder = ChunkEncoder(choice: .stored)
    private let pool: FramePool
    private var open: Open?
    /// What `computeGradient` or the last mean left; nil: the trainer does not lend it.
    package var gradient: SharedFloats?

    package init(_ pool: FramePool) { self.pool = pool }

    /// False: this is the trainer's to encode. Between regions it is, because there it counts bytes by
    /// class of tensor, and keeps what the transform lost.
    package mutating func begin(_ encoding: TrainerOrder.Encoding, ownSlices: [Int]) -> Bool {
        // A fragment may leave while a gradient is on its way: that is another matter.
        guard encoding.source == .gradient else { return false }
        open = nil
        guard let gradient, encoding.key.scope == .region else { return false }
        open = Open(
            encoding: encoding, gradient: gradient, map: FragmentMap(encoding.fragment),
            ownSlices: ownSlices)
        return true
    }

    /// The mean is complete, perhaps by a holder's word: what has not left is of no use, and the trainer
    /// may write the gradient again.
    package mutating func end(_ key: CollectiveKey) {
        if open?.encoding.round == key { open = nil }
    }

    /// The trainer is about to write the gradient; what has not left is of a step that is computed again.
    package mutating func endAll() { open = nil }

    /// Whether `next` has something to give without waiting for a buffer.
    package var isReady: Bool {
        guard let open, open.next < open.encoding.chunks.count else { return false }
        return isLent(open.encoding.chunks[open.next], open) || pool.hasContributionBuffer
    }

    /// The next chunk; nil when there is none, or too many are under way.
    package mutating func next() throws -> (
        TrainerOrder.Encoding, TrainerOrder.Chunk, PayloadBytes
    )? {
        guard let current = open, isReady else { return nil }
        let encoding = current.encoding
        let chunk = encoding.chunks[current.next]
        open?.next += 1
        let parts = current.map.parameters(chunk.range)
        if isLent(chunk, current), parts.count == 1 {
            let bytes = PayloadBytes(values: current.gradient, range: parts[0])
            return (encoding, chunk, bytes)
        }
        let buffer = pool.takeForContribution()
        let extent =
            parts.count == 1
            ? try current.gradient.withSpan(parts[0]) { try encode($0, encoding.transform, buffer) }
            : try encode(gather(current.gradient, parts).span, encoding.transform, buffer)
        let bytes = PayloadBytes(
            pooled: buffer, count: extent.byteCount, transform: encoding.transform,
            stage: extent.stage)
        return (encoding, chunk, bytes)
    }

    private func isLent(_ chunk: TrainerOrder.Chunk, _ open: Open) -> Bool {
        open.encoding.transform == .fp32 && open.ownSlices.contains(chunk.slice)
    }

    private func encode(
        _ values: Span<Float>, _ transform: TransformID, _ buffer: FrameBuffer
    ) throws(ChunkError) -> EncodedExtent {
        let bound = ChunkFormat.encodedSizeBound(transform, elements: values.count)
        return try buffer.withMutablePayload(bound) { output throws(ChunkError) in
            try encoder.encode(values, transform: transform, into: &output)
        }
    }

    private func gather(_ floats: SharedFloats, _ parts: [Range<Int>]) -> [Float] {
        parts.flatMap { part in
            floats.withSpan(part) { values in values.indices.map { values[$0] } }
        }
    }
}
