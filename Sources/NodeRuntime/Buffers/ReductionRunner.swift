import ClusterModel
import Compression

/// Runs fused passes for the shard a worker owns, on the loop thread, straight out of the received
/// messages.
@safe final class ReductionRunner {
    private let reducer = FusedReducer()
    private let pool: FramePool
    private var list = unsafe SourceList()

    init(_ pool: FramePool) { self.pool = pool }

    /// The weighted mean of `sources`, in their order, encoded.
    func reduce(
        _ sources: [(bytes: PayloadBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, setup: TrainerSetup?
    ) throws -> PayloadBytes {
        reducer.choice = setup?.losslessChoice(scope, transform) ?? .stored
        let buffer = pool.take()
        // SAFETY: the list is emptied before the payloads it points into can go.
        defer { unsafe list.removeAll() }
        let result = try buffer.withMutablePayload(
            ChunkFormat.encodedSizeBound(transform, elements: elements)
        ) { output throws(ChunkError) in
            try reduce(
                sources[...], elements: elements, transform: transform, into: &output)
        }
        if let source = result.firstNonFinite {
            throw NodeError(
                .digestMismatch, "contribution \(source) holds a NaN or an infinity",
                hint: "lower the learning rate, or look at that worker's hardware")
        }
        return PayloadBytes(
            pooled: buffer, count: result.extent.byteCount, transform: transform,
            stage: result.extent.stage)
    }

    /// Opens one source after the other, so that all are in place when the pass runs.
    private func reduce(
        _ sources: ArraySlice<(bytes: PayloadBytes, weight: UInt64)>, elements: Int,
        transform: TransformID, into output: inout MutableSpan<UInt8>
    ) throws(ChunkError) -> ReductionResult {
        guard let source = sources.first else {
            // SAFETY: `list` refers to bytes of the payloads that the callers on this stack hold open.
            return try unsafe output.withUnsafeMutableBytes { target throws(ChunkError) in
                try unsafe reducer.reduce(
                    list, elements: elements, transform: transform, into: target)
            }
        }
        return try source.bytes.withBytes { span throws(ChunkError) in
            // SAFETY: the pointer is used only while this closure, and so the payload, is open.
            try unsafe span.withUnsafeBytes { bytes throws(ChunkError) in
                unsafe list.append(
                    bytes, transform: source.bytes.transform, stage: source.bytes.stage,
                    weight: source.weight)
                return try reduce(
                    sources.dropFirst(), elements: elements, transform: transform, into: &output)
            }
        }
    }
}
