package import ClusterModel
internal import Reduction
package import ReductionKernels

/// Decodes chunks to fp32. One per thread. Trusts nothing about the bytes: lengths are checked
/// before a stage runs, a stage must yield the body's exact length, and bodies must be canonical.
package final class ChunkDecoder {
    private let kernels: any KernelSet.Type
    private let decompressor = StageDecompressor()
    private let planes: PlaneStage
    private let body = Scratch(byteCount: ChunkFormat.elementLimit * 4)
    private lazy var sparse = Scratch(byteCount: ChunkFormat.elementLimit * 4)

    /// - Parameter kernels: the instruction set; tests compare them, everyone else takes the
    ///   default.
    package init(kernels: any KernelSet.Type = Kernels.current) {
        self.kernels = kernels
        planes = PlaneStage(kernels: kernels)
    }

    /// Decodes `bytes` to exactly `output.count` values.
    package func decode(
        _ bytes: Span<UInt8>, transform: TransformID, stage: StageID,
        into output: inout MutableSpan<Float>
    ) throws(ChunkError) {
        // SAFETY: both pointers are used only inside the closures.
        try unsafe output.withUnsafeMutableBytes { floats throws(ChunkError) in
            try unsafe bytes.withUnsafeBytes { encoded throws(ChunkError) in
                try unsafe decode(encoded, transform: transform, stage: stage, into: floats)
            }
        }
    }

    /// Decodes `bytes` to exactly `output.count / 4` floats (any alignment).
    package func decode(
        _ bytes: UnsafeRawBufferPointer, transform: TransformID, stage: StageID,
        into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) {
        let elements = output.count / 4
        // SAFETY: `unpack` returns a body of the right length and content.
        let body = try unsafe unpack(
            bytes, transform, stage, elements: elements, scratch: body.bytes)
        let base = unsafe body.baseAddress.unsafelyUnwrapped
        let target = unsafe output.baseAddress.unsafelyUnwrapped
        if let kind = transform.kind {
            unsafe kernels.decode(
                kernelSource(base, kind, elements: elements, factor: 1),
                count: elements, into: target)
        } else {
            unsafe SparseFormat.decode(body, into: output)
        }
    }

    /// The receiver's pass over one chunk of the mean: decodes it and takes the outer step on
    /// `outer.count` elements, which lie at equal places of the three arrays.
    ///
    /// - Returns: the elements stepped (fewer only when a block of the mean holds a NaN or an infinity: all
    ///   before that block are stepped, none after), and the sum of squares of the mean over them.
    package func apply(
        _ bytes: Span<UInt8>, transform: TransformID, stage: StageID, step: OuterStep,
        outer: inout MutableSpan<Float>, momentum: inout MutableSpan<Float>,
        live: inout MutableSpan<Float>
    ) throws(ChunkError) -> (applied: Int, squares: Double) {
        let count = outer.count
        precondition(
            momentum.count == count && live.count == count, "three arrays of equal length")
        // SAFETY: `operand` covers `count` elements, as do the three arrays; the pointers are used
        // only inside the closures.
        return try unsafe bytes.withUnsafeBytes { encoded throws(ChunkError) in
            let mean = try unsafe operand(encoded, transform, stage, elements: count)
            return unsafe outer.withUnsafeMutableBytes { outer in
                unsafe momentum.withUnsafeMutableBytes { momentum in
                    unsafe live.withUnsafeMutableBytes { live in
                        unsafe kernels.apply(
                            mean, count: count, step: step,
                            outer: outer.baseAddress.unsafelyUnwrapped,
                            momentum: momentum.baseAddress.unsafelyUnwrapped,
                            live: live.baseAddress.unsafelyUnwrapped)
                    }
                }
            }
        }
    }

    /// A chunk as a kernel's source, unpacked and, if sparse, decoded in this decoder's scratch.
    private func operand(
        _ bytes: UnsafeRawBufferPointer, _ transform: TransformID, _ stage: StageID,
        elements: Int
    ) throws(ChunkError) -> KernelSource {
        // SAFETY: `unpack` returns a body of the right length; the scratch holds every chunk.
        let body = try unsafe unpack(
            bytes, transform, stage, elements: elements, scratch: body.bytes)
        if let kind = transform.kind {
            return unsafe kernelSource(
                body.baseAddress.unsafelyUnwrapped, kind, elements: elements, factor: 1)
        }
        let room = unsafe UnsafeMutableRawBufferPointer(
            rebasing: sparse.bytes[..<(elements * 4)])
        unsafe SparseFormat.decode(body, into: room)
        return unsafe kernelSource(
            room.baseAddress.unsafelyUnwrapped, .fp32, elements: elements, factor: 1)
    }

    /// The canonical body of a chunk: `bytes` itself when stored, otherwise unpacked to `scratch`.
    func unpack(
        _ bytes: UnsafeRawBufferPointer, _ transform: TransformID, _ stage: StageID,
        elements: Int, scratch: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> UnsafeRawBufferPointer {
        guard elements > 0, elements <= ChunkFormat.elementLimit else {
            throw .elementCount(got: elements, limit: ChunkFormat.elementLimit)
        }
        guard ChunkFormat.allows(stage, after: transform) else {
            throw .stageNotAllowed(stage, after: transform)
        }
        let size = ChunkFormat.bodyBytes(transform, elements: elements)
        let range = stage == .stored ? size...size : 1...max(1, size - 1)
        guard range.contains(bytes.count) else {
            throw .encodedLength(transform, stage, expected: range, got: bytes.count)
        }
        guard stage != .stored else {
            try unsafe BodyValidation.check(bytes, transform, elements: elements)
            return unsafe bytes
        }
        // SAFETY: the scratch holds the largest body.
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch[..<size])
        let got = unsafe expand(bytes, transform, stage, elements, into: room)
        guard let got else { throw .malformedStage(transform, stage) }
        guard got == size else {
            throw .bodyLength(transform, stage, expected: size, got: got)
        }
        let body = UnsafeRawBufferPointer(room)
        try unsafe BodyValidation.check(body, transform, elements: elements)
        return unsafe body
    }

    private func expand(
        _ bytes: UnsafeRawBufferPointer, _ transform: TransformID, _ stage: StageID,
        _ elements: Int, into room: UnsafeMutableRawBufferPointer
    ) -> Int? {
        // SAFETY: the decompressors stay inside both buffers.
        return switch stage {
        case .lz4: unsafe decompressor.lz4(bytes, into: room)
        case .zstd: unsafe decompressor.zstd(bytes, into: room)
        case .rice: unsafe RiceStage.decode(bytes, elements: elements, into: room)
        case .lz4Planes, .zstdPlanes:
            PlaneStage.width(transform).flatMap { width in
                unsafe planes.decode(
                    bytes, width: width, stage, with: decompressor, into: room)
            }
        case .stored: nil
        }
    }
}
