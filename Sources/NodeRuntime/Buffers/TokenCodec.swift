import ClusterModel
import Compression
import Training
import WireProtocol

/// Rows of tokens to payloads and back, on the trainer's thread: words, then the values as section 6.4 of
/// the specification has them.
package final class TokenCodec {
    private let pool: FramePool
    private let encoder = ChunkEncoder()
    private let decoder = ChunkDecoder()
    /// Rows of one frame, side by side, for formats that are made from values.
    private var gathered: [Float] = []

    package init(_ pool: FramePool) { self.pool = pool }

    /// - Parameter rows: of the whole batch; `tokens` says which of them.
    func encode(
        _ tokens: Tokens, rows: TokenRows, of values: Span<Float>, words: [UInt32]
    ) -> PayloadBytes {
        let (first, count, width) = (Int(tokens.first), Int(tokens.rows), Int(tokens.width))
        let perRow = Int(tokens.words)
        let size = Tokens.payloadBytes(
            tokens.transform, rows: count, width: width, words: perRow)
        let buffer = pool.take()
        buffer.withMutablePayload(size) { bytes in
            let head = 4 * perRow * count
            for index in 0..<perRow * count {
                bytes.storeLittleEndian(words[first * perRow + index], at: 4 * index)
            }
            var body = bytes._mutatingExtracting(head...)
            switch (tokens.transform, rows) {
            case (.fp32, .list(let list)):
                for row in 0..<count {
                    body.copyFloats(
                        values, Int(list[first + row]) * width, width, at: 4 * row * width)
                }
            case (.fp32, .range(let range)):
                body.copyFloats(values, (range.lowerBound + first) * width, count * width, at: 0)
            case (let transform, .range(let range)):
                let start = (range.lowerBound + first) * width
                encode(
                    values.extracting(start..<start + count * width), transform, &body)
            case (let transform, .list(let list)):
                var picked = gathered
                gathered = []
                picked.removeAll(keepingCapacity: true)
                for row in list[first..<first + count] {
                    let start = Int(row) * width
                    for index in start..<start + width { picked.append(values[index]) }
                }
                encode(picked.span, transform, &body)
                gathered = picked
            }
        }
        return PayloadBytes(
            pooled: buffer, count: size, transform: tokens.transform, stage: .stored)
    }

    private func encode(
        _ values: Span<Float>, _ transform: TransformID, _ body: inout MutableSpan<UInt8>
    ) {
        do {
            _ = try encoder.encode(values, transform: transform, into: &body)
        } catch {
            preconditionFailure("rows of at most 196,608 values into room for them: \(error)")
        }
    }

    /// - Parameter start: row of `values`, and of `words`, where the first row belongs.
    func decode(
        _ tokens: Tokens, _ bytes: PayloadBytes, at start: Int, into values: SharedFloats,
        words: inout [UInt32]
    ) throws(ChunkError) {
        let (count, width) = (Int(tokens.rows), Int(tokens.width))
        let perRow = Int(tokens.words)
        let target = start * width..<(start + count) * width
        try bytes.withBytes { payload throws(ChunkError) in
            try values.withMutableSpan(target) {
                (rows: inout MutableSpan<Float>) throws(ChunkError) in
                var all = words.mutableSpan
                var own = all._mutatingExtracting(start * perRow..<(start + count) * perRow)
                try decoder.decodeRows(
                    payload, transform: tokens.transform, words: &own, values: &rows)
            }
        }
    }
}

extension MutableSpan<UInt8> {
    fileprivate mutating func storeLittleEndian(_ value: UInt32, at offset: Int) {
        for byte in 0..<4 { self[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }

    /// Bytes of `count` floats from `first` on; little-endian, as this machine is.
    fileprivate mutating func copyFloats(
        _ source: Span<Float>, _ first: Int, _ count: Int, at offset: Int
    ) {
        let floats = source.extracting(first..<first + count)
        var target = _mutatingExtracting(offset..<offset + 4 * count)
        // SAFETY: both have 4 * count bytes, and do not overlap.
        unsafe floats.withUnsafeBytes { from in
            unsafe target.withUnsafeMutableBytes { unsafe $0.copyMemory(from: from) }
        }
    }
}
