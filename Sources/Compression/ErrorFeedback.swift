package import ClusterModel

/// What compression has withheld of one fragment range so far, in fp32. It is added to the next
/// contribution, so that every part of a gradient arrives in the end, if later.
///
/// The residue is made of values, whatever transform has withheld them: it survives a change of codec.
/// Nothing is dropped here by itself; when it must be is what ``SliceResidues`` knows.
package struct ErrorFeedback: Sendable {
    private var residue: [Float]
    private var chunkSquares: [Double]
    /// First element by chunk, and the end of all.
    private let starts: [Int]

    /// A zero residue for chunks of so many elements.
    package init(chunks: [Int]) {
        starts = chunks.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        residue = [Float](repeating: 0, count: starts[chunks.count])
        chunkSquares = [Double](repeating: 0, count: chunks.count)
    }

    /// Elements of the range.
    package var count: Int { residue.count }

    /// Number of chunks of the range.
    package var chunkCount: Int { chunkSquares.count }

    /// The residue's Euclidean norm, as of each chunk's last encoding.
    package var norm: Double { chunkSquares.reduce(0, +).squareRoot() }

    /// The residue of every element.
    package var values: [Float] { residue }

    /// Forgets the residue and returns the norm which is lost with it, to be reported.
    package mutating func drop() -> Double {
        let lost = norm
        for chunk in chunkSquares.indices { _ = drop(chunk: chunk) }
        return lost
    }

    /// The same of one chunk.
    package mutating func drop(chunk: Int) -> Double {
        precondition(chunkSquares.indices.contains(chunk), "chunk \(chunk) of \(chunkCount)")
        let lost = chunkSquares[chunk].squareRoot()
        for index in starts[chunk]..<starts[chunk + 1] { residue[index] = 0 }
        chunkSquares[chunk] = 0
        return lost
    }

    /// Encodes chunk `chunk` of the range: contribution + residue goes out, what the transform
    /// lost stays. `contribution` holds that chunk's values.
    package mutating func encode(
        chunk: Int, of contribution: Span<Float>, transform: TransformID,
        with encoder: ChunkEncoder, into output: inout MutableSpan<UInt8>
    ) throws(ChunkError) -> EncodedExtent {
        // SAFETY: both pointers are used only inside the closures.
        try unsafe output.withUnsafeMutableBytes { bytes throws(ChunkError) in
            try unsafe contribution.withUnsafeBytes { values throws(ChunkError) in
                try unsafe encode(
                    chunk: chunk, of: values, transform: transform, with: encoder, into: bytes)
            }
        }
    }

    /// The same over raw memory.
    package mutating func encode(
        chunk: Int, of contribution: UnsafeRawBufferPointer, transform: TransformID,
        with encoder: ChunkEncoder, into output: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) -> EncodedExtent {
        precondition(chunkSquares.indices.contains(chunk), "chunk \(chunk) of \(chunkCount)")
        let start = starts[chunk]
        let size = starts[chunk + 1] - start
        precondition(contribution.count == size * 4, "chunk \(chunk) has \(size) elements")
        // SAFETY: the slice of the residue has exactly the contribution's size.
        var span = residue.mutableSpan
        let written = try unsafe span.withUnsafeMutableBytes { all throws(ChunkError) in
            let rest = unsafe UnsafeMutableRawBufferPointer(
                rebasing: all[(start * 4)..<((start + size) * 4)])
            return try unsafe encoder.encode(
                contribution, residue: rest, transform: transform, into: output)
        }
        chunkSquares[chunk] = written.residueSquares
        return written.extent
    }
}
