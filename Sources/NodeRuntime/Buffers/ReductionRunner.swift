package import ClusterModel
import Compression
package import Coordination

/// Runs fused passes for the slices a worker owns or reduces its region's parts of, on the loop thread,
/// straight out of the received messages.
@safe package final class ReductionRunner {
    private let reducer = FusedReducer()
    private let pool: FramePool
    private var list = unsafe SourceList()
    /// What lossy transforms have withheld from contributions made here.
    private var residues = SliceResidues()
    private let encoder = ChunkEncoder()
    private let decoder = ChunkDecoder()
    /// Of contributions made here that leave; nil: nobody counts.
    package var classes: TensorClassTally?

    package init(_ pool: FramePool) { self.pool = pool }

    /// The weighted mean of `sources`, in their order, encoded.
    ///
    /// - Parameter contribution: what the mean is a region's part of; nil: everybody's.
    package func reduce(
        _ sources: [(bytes: PayloadBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, contribution: RegionContribution? = nil, setup: TrainerSetup?
    ) throws -> PayloadBytes {
        // What stays here is decoded here at once.
        let scope = contribution.map { $0.staysHere ? .region : .pool } ?? scope
        reducer.choice = setup?.losslessChoice(scope, transform) ?? .stored
        let buffer = pool.take()
        // SAFETY: the list is emptied before the payloads it points into can go.
        defer { unsafe list.removeAll() }
        let result = try buffer.withMutablePayload(
            ChunkFormat.encodedSizeBound(transform, elements: elements)
        ) { output throws(ChunkError) in
            if let contribution, setup?.configuration.wire.errorFeedback == true,
                residues.mayChange(departure(contribution), transform: transform)
            {
                return try reduce(
                    sources, elements: elements, transform: transform, contribution, into: &output)
            }
            return try reduce(
                sources[...], elements: elements, transform: transform, into: &output)
        }
        if let contribution, !contribution.staysHere {
            let parts = FragmentMap(contribution.fragment).parameters(contribution.range)
            classes?.add(parts, bytes: result.extent.byteCount)
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

    /// What was dropped of the residues since the last call.
    package func takeNote(source: String) -> RunEvent? {
        residues.takeLost().map { SliceResidues.note($0, source: source) }
    }

    private func departure(_ contribution: RegionContribution) -> SliceResidues.Departure {
        SliceResidues.Departure(
            fragment: contribution.round.fragment, slice: contribution.slice,
            round: contribution.round.round, epoch: contribution.epoch)
    }

    /// With error feedback: the mean in fp32 first, then what was withheld from it last time goes along.
    private func reduce(
        _ sources: [(bytes: PayloadBytes, weight: UInt64)], elements: Int, transform: TransformID,
        _ contribution: RegionContribution, into output: inout MutableSpan<UInt8>
    ) throws(ChunkError) -> ReductionResult {
        encoder.choice = reducer.choice
        reducer.choice = .stored
        var plain = [UInt8](
            repeating: 0, count: ChunkFormat.encodedSizeBound(.fp32, elements: elements))
        var bytes = plain.mutableSpan
        var result = try reduce(
            sources[...], elements: elements, transform: .fp32, into: &bytes)
        guard result.firstNonFinite == nil else { return result }
        var values = [Float](repeating: 0, count: elements)
        var span = values.mutableSpan
        try decoder.decode(plain.span, transform: .fp32, stage: .stored, into: &span)
        if let extent = try residues.encode(
            values.span, chunk: contribution.position, of: departure(contribution),
            transform: transform, with: encoder, into: &output, chunks: contribution.chunks)
        {
            result.extent = extent
        } else {
            // What was withheld has just been dropped.
            result.extent = try encoder.encode(
                values.span, transform: transform, into: &output)
        }
        return result
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
