package import ClusterModel
internal import Reduction
package import ReductionKernels

/// One contribution held as an array, for callers which do not own raw buffers.
package struct EncodedChunk: Equatable, Sendable {
    package var bytes: [UInt8]
    package var transform: TransformID
    package var stage: StageID
    /// w_i: tokens.
    package var weight: UInt64

    package init(bytes: [UInt8], transform: TransformID, stage: StageID, weight: UInt64) {
        self.bytes = bytes
        self.transform = transform
        self.stage = stage
        self.weight = weight
    }
}

/// The sources of one reduction in their order of accumulation. Reused from chunk to chunk.
///
/// It keeps pointers: every buffer must stay valid until the `reduce` which uses it returns.
@unsafe
package struct SourceList {
    @unsafe
    struct Entry {
        var bytes: UnsafeRawBufferPointer
        var transform: TransformID
        var stage: StageID
        var weight: UInt64
    }

    var entries: [Entry] = unsafe []

    package init() {}

    /// Sources so far.
    package var count: Int { unsafe entries.count }

    /// Adds the next source. `weight` is w_i, the contribution's tokens.
    package mutating func append(
        _ bytes: UnsafeRawBufferPointer, transform: TransformID, stage: StageID, weight: UInt64
    ) {
        unsafe entries.append(
            Entry(bytes: bytes, transform: transform, stage: stage, weight: weight))
    }

    /// Forgets all sources and keeps the memory.
    package mutating func removeAll() {
        unsafe entries.removeAll(keepingCapacity: true)
    }
}

/// What a reduction found and wrote.
package struct ReductionResult: Equatable, Sendable {
    package var extent: EncodedExtent
    /// Sum of squares of the mean before it was encoded; not finite if a value of the mean is not.
    package var sumOfSquares: Double
    /// The first source (in order) which holds a NaN or an infinity. The mean is then worthless:
    /// drop that source and reduce again.
    package var firstNonFinite: Int?
}

/// Decodes N chunks, forms their weighted mean in the given order and encodes it: one pass over
/// memory. One per thread.
///
/// f_i = Float(Double(w_i) / Double(sum w)); acc = f_0 x_0, then acc = acc + f_i x_i, every product
/// and sum rounded to fp32. The finite check costs nothing per source: a NaN or an infinity reaches the
/// mean's sum of squares, and only then the sources are searched.
package final class FusedReducer {
    /// Sources of one reduction: a bound on scratch memory (768 KiB each when compressed).
    package static let sourceLimit = 1_024

    private let kernels: any KernelSet.Type
    private let encoder: ChunkEncoder
    private let decoder: ChunkDecoder
    private var scratch: [Scratch] = []
    private let floats = Scratch(byteCount: ChunkFormat.elementLimit * 4)

    /// How the mean is compressed.
    package var choice: LosslessChoice {
        get { encoder.choice }
        set { encoder.choice = newValue }
    }

    package init(
        choice: LosslessChoice = .stored, kernels: any KernelSet.Type = Kernels.current
    ) {
        self.kernels = kernels
        encoder = ChunkEncoder(choice: choice, kernels: kernels)
        decoder = ChunkDecoder(kernels: kernels)
    }

    /// Reduces `sources`, each of `elements` values, into the start of `output`.
    ///
    /// - Parameter limit: finite values of the mean beyond +-limit are encoded as +-limit; a
    ///   positive number or .infinity (none). The sum of squares is the mean's before it.
    package func reduce(
        _ sources: SourceList, elements: Int, transform: TransformID, limit: Float = .infinity,
        into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> ReductionResult {
        precondition(limit > 0, "a limit of \(limit): expected a positive number or infinity")
        let factors = try unsafe meanFactors(sources.entries.map { unsafe $0.weight })
        // SAFETY: the operands which the pass gets cover `elements` values each, the target too.
        return try unsafe pass(sources, factors, elements, transform, output) {
            unsafe kernels.reduce(
                $0, sourceCount: $0.count, count: elements, limit: limit, into: $1)
        }
    }

    /// The coordinate-wise trimmed mean of 1 to 64 sources: per element `trim` values are dropped at
    /// either end. Weights do not count. It withstands up to `trim` arbitrary sources, and
    /// trim = (count - 1) / 2 is the median.
    ///
    /// A source with a NaN or an infinity is only reported when it reaches the result.
    package func trimmedMean(
        _ sources: SourceList, elements: Int, transform: TransformID, trim: Int,
        into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> ReductionResult {
        let count = unsafe sources.count
        guard (1...64).contains(count), trim >= 0, 2 * trim < count else {
            throw .sources("\(count) sources trimmed by \(trim) at either end, of at most 64")
        }
        let factors = [Float](repeating: 1, count: count)
        // SAFETY: as in `reduce`.
        return try unsafe pass(sources, factors, elements, transform, output) {
            unsafe kernels.trimmedMean(
                $0, sourceCount: $0.count, count: elements, trim: trim, into: $1)
        }
    }

    /// Opens the sources, lets `kernel` write the mean, and encodes it.
    private func pass(
        _ sources: SourceList, _ factors: [Float], _ elements: Int, _ transform: TransformID,
        _ output: UnsafeMutableRawBufferPointer,
        _ kernel: ([KernelSource], KernelTarget) -> Double
    ) throws(ChunkError) -> ReductionResult {
        var operands: [KernelSource] = unsafe []
        for index in unsafe sources.entries.indices {
            unsafe operands.append(
                try operand(sources.entries[index], index, elements, factors[index]))
        }
        var squares = 0.0
        // SAFETY: the operands cover `elements` values each and `room` the mean's body.
        let extent = try unsafe encoder.withBody(transform, elements, output) { room in
            let base = unsafe room.baseAddress.unsafelyUnwrapped
            if let kind = transform.kind {
                squares = unsafe kernel(operands, kernelTarget(base, kind, elements: elements))
            } else {
                let mean = unsafe floats.bytes.baseAddress.unsafelyUnwrapped
                squares = unsafe kernel(operands, kernelTarget(mean, .fp32, elements: elements))
                unsafe SparseFormat.encode(
                    UnsafeRawBufferPointer(start: mean, count: elements * 4), into: room)
            }
        }
        let culprit =
            squares.isFinite ? nil : unsafe firstNonFinite(operands, elements: elements)
        return ReductionResult(
            extent: extent, sumOfSquares: squares, firstNonFinite: culprit)
    }

    /// Reduces chunks held in arrays and returns the mean in one; `weight` of the result is the
    /// sum of the weights.
    package func reduce(
        _ chunks: [EncodedChunk], elements: Int, transform: TransformID,
        limit: Float = .infinity
    ) throws(ChunkError) -> (mean: EncodedChunk, result: ReductionResult) {
        // SAFETY: the arrays are pinned while the closure runs.
        try unsafe collect(chunks, elements, transform) { list, room throws(ChunkError) in
            try unsafe reduce(
                list, elements: elements, transform: transform, limit: limit, into: room)
        }
    }

    /// The trimmed mean of chunks held in arrays.
    package func trimmedMean(
        _ chunks: [EncodedChunk], elements: Int, transform: TransformID, trim: Int
    ) throws(ChunkError) -> (mean: EncodedChunk, result: ReductionResult) {
        // SAFETY: as in `reduce`.
        try unsafe collect(chunks, elements, transform) { list, room throws(ChunkError) in
            try unsafe trimmedMean(
                list, elements: elements, transform: transform, trim: trim, into: room)
        }
    }

    private typealias ListPass =
        (SourceList, UnsafeMutableRawBufferPointer) throws(ChunkError) -> ReductionResult

    private func collect(
        _ chunks: [EncodedChunk], _ elements: Int, _ transform: TransformID, _ body: ListPass
    ) throws(ChunkError) -> (mean: EncodedChunk, result: ReductionResult) {
        var output = [UInt8](
            repeating: 0,
            count: ChunkFormat.encodedSizeBound(transform, elements: max(0, elements)))
        var list = unsafe SourceList()
        let result = try unsafe pinned(chunks[...], &list, &output, body)
        output.removeSubrange(result.extent.byteCount...)
        let mean = EncodedChunk(
            bytes: output, transform: transform, stage: result.extent.stage,
            weight: chunks.reduce(0) { $0 &+ $1.weight })
        return (mean, result)
    }

    /// Pins one array after the other; the innermost call holds all of them.
    private func pinned(
        _ chunks: ArraySlice<EncodedChunk>, _ list: inout SourceList, _ output: inout [UInt8],
        _ body: ListPass
    ) throws(ChunkError) -> ReductionResult {
        guard let chunk = chunks.first else {
            let sources = unsafe list
            // SAFETY: every array in `list` is pinned by a caller's closure.
            var span = output.mutableSpan
            return try unsafe span.withUnsafeMutableBytes { room throws(ChunkError) in
                try unsafe body(sources, room)
            }
        }
        return try unsafe chunk.bytes.span.withUnsafeBytes { bytes throws(ChunkError) in
            unsafe list.append(
                bytes, transform: chunk.transform, stage: chunk.stage, weight: chunk.weight)
            return try unsafe pinned(chunks.dropFirst(), &list, &output, body)
        }
    }

    /// The body of one source as an operand; unpacks compressed and sparse ones into scratch.
    private func operand(
        _ entry: SourceList.Entry, _ index: Int, _ elements: Int, _ factor: Float
    ) throws(ChunkError) -> KernelSource {
        if unsafe entry.stage != .stored || entry.transform == .topK {
            while scratch.count <= index {
                scratch.append(Scratch(byteCount: ChunkFormat.elementLimit * 4))
            }
        }
        // SAFETY: stored bodies live in the caller's buffer, others in this source's scratch.
        guard let kind = unsafe entry.transform.kind else {
            let room = unsafe UnsafeMutableRawBufferPointer(
                rebasing: scratch[index].bytes[..<(elements * 4)])
            try unsafe decoder.decode(
                entry.bytes, transform: entry.transform, stage: entry.stage, into: room)
            return unsafe kernelSource(
                room.baseAddress.unsafelyUnwrapped, .fp32, elements: elements, factor: factor)
        }
        let room = unsafe entry.stage == .stored ? floats.bytes : scratch[index].bytes
        let body = try unsafe decoder.unpack(
            entry.bytes, entry.transform, entry.stage, elements: elements, scratch: room)
        return unsafe kernelSource(
            body.baseAddress.unsafelyUnwrapped, kind, elements: elements, factor: factor)
    }

    private func firstNonFinite(_ operands: [KernelSource], elements: Int) -> Int? {
        for index in unsafe operands.indices {
            // SAFETY: `floats` holds a whole chunk.
            unsafe kernels.decode(
                operands[index], count: elements,
                into: floats.bytes.baseAddress.unsafelyUnwrapped)
            for element in 0..<elements {
                let value = unsafe floats.bytes.load(fromByteOffset: element * 4, as: Float.self)
                if !value.isFinite { return index }
            }
        }
        return nil
    }
}

/// f_i = Float(Double(w_i) / Double(sum w)).
package func meanFactors(_ weights: [UInt64]) throws(ChunkError) -> [Float] {
    guard !weights.isEmpty, weights.count <= FusedReducer.sourceLimit else {
        throw .sources(
            "\(weights.count) sources, expected 1 to \(FusedReducer.sourceLimit)")
    }
    var sum: UInt64 = 0
    for weight in weights {
        let (next, overflow) = sum.addingReportingOverflow(weight)
        guard !overflow else { throw .sources("the weights' sum exceeds 64 bits") }
        sum = next
    }
    guard sum > 0 else { throw .sources("all weights are zero") }
    return weights.map { Float(Double($0) / Double(sum)) }
}
