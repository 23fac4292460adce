package import ClusterModel

extension ChunkDecoder {
    /// Decodes a payload of rows (Protocols/longhaul-1.md, section 6.4): `words.count` u32, little-endian,
    /// then the stored body of exactly `values.count` values.
    package func decodeRows(
        _ payload: Span<UInt8>, transform: TransformID, words: inout MutableSpan<UInt32>,
        values: inout MutableSpan<Float>
    ) throws(ChunkError) {
        let head = 4 * words.count
        guard payload.count > head else {
            let body = ChunkFormat.encodedSizeBound(transform, elements: values.count)
            throw .encodedLength(
                transform, .stored, expected: head + 1...head + body, got: payload.count)
        }
        for index in words.indices {
            words[index] = (0..<4).reduce(UInt32(0)) {
                $0 | UInt32(payload[4 * index + $1]) << (8 * $1)
            }
        }
        try decode(
            payload.extracting(head...), transform: transform, stage: .stored, into: &values)
    }
}
