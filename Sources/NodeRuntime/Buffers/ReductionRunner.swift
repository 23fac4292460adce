import ClusterModel
import Compression

/// Runs fused passes for the shard a worker owns, on the loop thread, straight out of the received
/// messages.
final class ReductionRunner {
    private let reducer = FusedReducer()

    /// The weighted mean of `sources`, in their order, encoded.
    func reduce(
        _ sources: [(bytes: PayloadBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, setup: TrainerSetup?
    ) throws -> PayloadBytes {
        reducer.choice = setup?.losslessChoice(scope, transform) ?? .stored
        var output = [UInt8](
            repeating: 0, count: ChunkFormat.encodedSizeBound(transform, elements: elements))
        var list = unsafe SourceList()
        let result = try unsafe reduce(
            sources[...], &list, elements: elements, transform: transform, into: &output)
        if let source = result.firstNonFinite {
            throw NodeError(
                .digestMismatch, "contribution \(source) holds a NaN or an infinity",
                hint: "lower the learning rate, or look at that worker's hardware")
        }
        output.removeSubrange(result.extent.byteCount...)
        return PayloadBytes(made: output, transform: transform, stage: result.extent.stage)
    }

    /// Opens one source after the other, so that all are in place when the pass runs.
    private func reduce(
        _ sources: ArraySlice<(bytes: PayloadBytes, weight: UInt64)>, _ list: inout SourceList,
        elements: Int, transform: TransformID, into output: inout [UInt8]
    ) throws(ChunkError) -> ReductionResult {
        guard let source = sources.first else {
            // SAFETY: `list` refers to bytes of the payloads that the callers on this stack hold open.
            var span = output.mutableSpan
            return try unsafe span.withUnsafeMutableBytes { target throws(ChunkError) in
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
                return try unsafe reduce(
                    sources.dropFirst(), &list, elements: elements, transform: transform,
                    into: &output)
            }
        }
    }
}
