package import ClusterModel
internal import Reduction

/// The outcome of one `longhaul bench codec` measurement; field names are those of its JSON output.
package struct CodecBenchmark: Codable, Sendable {
    /// Transform and stage, such as `fp32-planes-lz4`.
    package var codec: String
    /// 4 bytes per value.
    package var rawBytes: Int
    /// Bytes after encoding, chunk headers not included.
    package var encodedBytes: Int
    /// 8 encodedBytes / values.
    package var bitsPerValue: Double
    /// rawBytes / median time / 1e9, one thread.
    package var encodeGigabytesPerSecond: Double
    package var decodeGigabytesPerSecond: Double
    /// |x - decode(encode(x))|^2 / |x|^2.
    package var relativeSquaredError: Double

    private enum CodingKeys: String, CodingKey {
        case codec
        case rawBytes = "rawBytes"
        case encodedBytes = "encodedBytes"
        case bitsPerValue = "bitsPerValue"
        case encodeGigabytesPerSecond = "encodeGigabytesPerSecond"
        case decodeGigabytesPerSecond = "decodeGigabytesPerSecond"
        case relativeSquaredError = "relativeSquaredError"
    }
}

/// One codec: a transform and the lossless stage tried after it.
package struct Codec: Equatable, Sendable {
    package var transform: TransformID
    package var stage: StageID

    /// The name in benchmark output.
    package var name: String { "\(transform.name)-\(stage.name)" }

    /// Every defined pair.
    package static let all: [Codec] = TransformID.allCases.flatMap { transform in
        StageID.allCases.filter { ChunkFormat.allows($0, after: transform) }.map {
            Codec(transform: transform, stage: $0)
        }
    }

    /// The codec of that name, or nil.
    package init?(name: String) {
        guard let match = Self.all.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    private init(transform: TransformID, stage: StageID) {
        self.transform = transform
        self.stage = stage
    }
}

/// Encodes and decodes `values`, chunk by chunk on one thread, and returns the figures.
package func benchCodec(
    _ codec: Codec, values: [Float], samples: Int = 9
) throws(ChunkError) -> CodecBenchmark {
    let encoder = ChunkEncoder(choice: .always(codec.stage))
    let decoder = ChunkDecoder()
    let limit = ChunkFormat.usualElements
    let starts = Array(stride(from: 0, to: values.count, by: limit))
    var buffers = starts.map { start in
        let size = min(limit, values.count - start)
        return [UInt8](
            repeating: 0,
            count: ChunkFormat.encodedSizeBound(codec.transform, elements: size))
    }
    var extents = starts.map { _ in EncodedExtent(stage: .stored, byteCount: 0) }
    var decoded = [Float](repeating: 0, count: values.count)
    func encodeAll() throws(ChunkError) {
        for (index, start) in starts.enumerated() {
            let part = values.span.extracting(start..<min(start + limit, values.count))
            var room = buffers[index].mutableSpan
            extents[index] = try encoder.encode(part, transform: codec.transform, into: &room)
        }
    }
    func decodeAll() throws(ChunkError) {
        for (index, start) in starts.enumerated() {
            var all = decoded.mutableSpan
            var part = all._mutatingExtracting(start..<min(start + limit, values.count))
            let buffer = buffers[index]
            try decoder.decode(
                buffer.span.extracting(..<extents[index].byteCount), transform: codec.transform,
                stage: extents[index].stage, into: &part)
        }
    }
    try encodeAll()
    try decodeAll()
    // Both have succeeded once on the same bytes; they cannot fail afterwards.
    let encodeTimes = measure(samples: samples) { _ = try? encodeAll() }
    let decodeTimes = measure(samples: samples) { _ = try? decodeAll() }
    let raw = values.count * 4
    let encoded = extents.reduce(0) { $0 + $1.byteCount }
    return CodecBenchmark(
        codec: codec.name, rawBytes: raw, encodedBytes: encoded,
        bitsPerValue: Double(encoded * 8) / Double(max(values.count, 1)),
        encodeGigabytesPerSecond: Double(raw) / encodeTimes[encodeTimes.count / 2] / 1e9,
        decodeGigabytesPerSecond: Double(raw) / decodeTimes[decodeTimes.count / 2] / 1e9,
        relativeSquaredError: relativeSquaredError(values, decoded))
}

private func relativeSquaredError(_ values: [Float], _ decoded: [Float]) -> Double {
    var error = 0.0
    var power = 0.0
    for (value, got) in zip(values, decoded) {
        error += (Double(value) - Double(got)) * (Double(value) - Double(got))
        power += Double(value) * Double(value)
    }
    return power > 0 ? error / power : 0
}
