package import ClusterModel
internal import Reduction
package import ReductionKernels

/// What an encoder wrote.
package struct EncodedExtent: Equatable, Sendable {
    /// The lossless stage actually used; `stored` if no other made the chunk smaller.
    package var stage: StageID
    /// Bytes written.
    package var byteCount: Int
}

/// Encodes chunks of fp32 values: transform, then lossless stage. One per thread.
///
/// The transform decides the values which the receiver sees; the stage only the size. An encoded
/// chunk is never larger than its stored form (`ChunkFormat.encodedSizeBound`).
package final class ChunkEncoder {
    /// How bodies are compressed; may change between any two chunks.
    package var choice: LosslessChoice

    private let kernels: any KernelSet.Type
    private let compressor = StageCompressor()
    private let planes: PlaneStage
    private var chooser = StageChooser()
    private let body = Scratch(byteCount: ChunkFormat.elementLimit * 4)

    /// - Parameter kernels: the instruction set; tests compare them, everyone else takes the
    ///   default.
    package init(
        choice: LosslessChoice = .stored, kernels: any KernelSet.Type = Kernels.current
    ) {
        self.choice = choice
        self.kernels = kernels
        planes = PlaneStage(kernels: kernels)
    }

    /// What the kernels in use were compiled for.
    package var instructionSet: String { kernels.name }

    /// Encodes `source` (1 to `ChunkFormat.elementLimit` values) into the start of `output`.
    package func encode(
        _ source: Span<Float>, transform: TransformID, into output: inout MutableSpan<UInt8>
    ) throws(ChunkError) -> EncodedExtent {
        // SAFETY: both pointers are used only inside the closures.
        try unsafe output.withUnsafeMutableBytes { bytes throws(ChunkError) in
            try unsafe source.withUnsafeBytes { values throws(ChunkError) in
                try unsafe encode(values, transform: transform, into: bytes)
            }
        }
    }

    /// Encodes `source` and appends the bytes to `output`.
    package func encode(
        _ source: Span<Float>, transform: TransformID, appendingTo output: inout [UInt8]
    ) throws(ChunkError) -> EncodedExtent {
        let start = output.count
        let bound = ChunkFormat.encodedSizeBound(transform, elements: source.count)
        output.append(contentsOf: repeatElement(0, count: bound))
        var free = output.mutableSpan
        var tail = free._mutatingExtracting(start...)
        let extent = try encode(source, transform: transform, into: &tail)
        output.removeSubrange((start + extent.byteCount)...)
        return extent
    }

    /// Encodes the floats of `values` (any alignment) into the start of `output`.
    package func encode(
        _ values: UnsafeRawBufferPointer, transform: TransformID,
        into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> EncodedExtent {
        let elements = values.count / 4
        // SAFETY: `prepare` returns room for the body of `elements` values.
        return try unsafe withBody(transform, elements, output) { room in
            guard let kind = transform.kind else {
                unsafe SparseFormat.encode(values, into: room)
                return
            }
            unsafe kernels.encode(
                values.baseAddress.unsafelyUnwrapped, count: elements,
                into: kernelTarget(room.baseAddress.unsafelyUnwrapped, kind, elements: elements))
        }
    }

    /// Encodes contribution + residue and leaves in `residue` what the transform lost.
    ///
    /// - Returns: what was written, and the sum of squares of the new residue.
    package func encode(
        _ contribution: UnsafeRawBufferPointer, residue: UnsafeMutableRawBufferPointer,
        transform: TransformID, into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> (extent: EncodedExtent, residueSquares: Double) {
        let elements = contribution.count / 4
        precondition(residue.count == contribution.count, "a residue value per element")
        var squares = 0.0
        // SAFETY: residue and contribution cover `elements` floats, the body its transform's size.
        let extent = try unsafe withBody(transform, elements, output) { room in
            let rest = unsafe residue.baseAddress.unsafelyUnwrapped
            let from = unsafe contribution.baseAddress.unsafelyUnwrapped
            guard let kind = transform.kind else {
                unsafe kernels.accumulate(rest, from, count: elements)
                unsafe SparseFormat.encode(UnsafeRawBufferPointer(residue), into: room)
                unsafe SparseFormat.subtract(UnsafeRawBufferPointer(room), from: residue)
                squares = unsafe kernels.sumOfSquares(rest, count: elements)
                return
            }
            squares = unsafe kernels.encodeWithResidue(
                from, residue: rest, count: elements,
                into: kernelTarget(room.baseAddress.unsafelyUnwrapped, kind, elements: elements))
        }
        return (extent, squares)
    }

    /// Lets `fill` write the body, straight into the output when it is to be stored, and applies
    /// the lossless stage.
    func withBody(
        _ transform: TransformID, _ elements: Int, _ output: UnsafeMutableRawBufferPointer,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(ChunkError) -> EncodedExtent {
        guard elements > 0, elements <= ChunkFormat.elementLimit else {
            throw .elementCount(got: elements, limit: ChunkFormat.elementLimit)
        }
        let size = ChunkFormat.bodyBytes(transform, elements: elements)
        guard output.count >= size else {
            throw .destinationTooSmall(needed: size, got: output.count)
        }
        let stage = nextStage(transform)
        guard stage != .stored else {
            // SAFETY: the output has at least `size` bytes.
            unsafe fill(UnsafeMutableRawBufferPointer(rebasing: output[..<size]))
            return EncodedExtent(stage: .stored, byteCount: size)
        }
        // SAFETY: the scratch holds the largest body; compressed output is limited to size - 1.
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: body.bytes[..<size])
        unsafe fill(room)
        let start = unsafe output.baseAddress.unsafelyUnwrapped
        let began = ContinuousClock.now
        let written = unsafe compress(
            UnsafeRawBufferPointer(room), transform, stage, elements, into: start,
            limit: size - 1)
        let seconds: Double? =
            switch choice {
            case .adaptive: (ContinuousClock.now - began).seconds
            case .modelled(_, let rate): Double(size) / max(rate, 1)
            case .stored, .always: nil
            }
        if let seconds {
            chooser.record(
                transform, stage, elements: elements, bytes: written ?? size, seconds: seconds)
        }
        if let written { return EncodedExtent(stage: stage, byteCount: written) }
        unsafe output.copyMemory(from: UnsafeRawBufferPointer(room))
        return EncodedExtent(stage: .stored, byteCount: size)
    }

    private func nextStage(_ transform: TransformID) -> StageID {
        switch choice {
        case .stored: .stored
        case .always(let stage): ChunkFormat.allows(stage, after: transform) ? stage : .stored
        case .adaptive(let rate), .modelled(let rate, _):
            chooser.next(transform, linkBytesPerSecond: max(rate, 1))
        }
    }

    private func compress(
        _ body: UnsafeRawBufferPointer, _ transform: TransformID, _ stage: StageID,
        _ elements: Int, into output: UnsafeMutableRawPointer, limit: Int
    ) -> Int? {
        guard limit > 0 else { return nil }
        // SAFETY: each stage writes at most `limit` bytes.
        return switch stage {
        case .stored: nil
        case .lz4: unsafe compressor.lz4(body, into: output, limit: limit)
        case .zstd: unsafe compressor.zstd(body, into: output, limit: limit)
        case .rice:
            unsafe RiceStage.encode(body, elements: elements, into: output, limit: limit)
        case .lz4Planes, .zstdPlanes:
            PlaneStage.width(transform).flatMap { width in
                unsafe planes.encode(
                    body, width: width, stage, with: compressor, into: output, limit: limit)
            }
        }
    }
}
