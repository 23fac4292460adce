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
    /// Rows of one frame, where they are not read or written in its payload.
    private var scratch: [Float] = []

    package init(_ pool: FramePool) { self.pool = pool }

    /// - Parameters:
    ///   - words: of the frame's rows.
    ///   - make: writes the values of these rows.
    func encode(
        _ tokens: Tokens, words: Span<UInt32>, make: (inout MutableSpan<Float>) -> Void
    ) -> PayloadBytes {
        let (count, width) = (Int(tokens.rows), Int(tokens.width))
        let size = Tokens.payloadBytes(
            tokens.transform, rows: count, width: width, words: Int(tokens.words))
        let buffer = pool.take()
        buffer.withMutablePayload(size) { bytes in
            let head = 4 * words.count
            for index in words.indices { bytes.storeLittleEndian(words[index], at: 4 * index) }
            var body = bytes._mutatingExtracting(head...)
            if tokens.transform == .fp32 {
                body.withFloats(make)
            } else {
                withScratch(count * width) { values in
                    make(&values)
                    encode(values.span, tokens.transform, &body)
                }
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

    private func withScratch<E: Error>(
        _ count: Int, _ body: (inout MutableSpan<Float>) throws(E) -> Void
    ) throws(E) {
        var floats = scratch
        scratch = []
        defer { scratch = floats }
        if floats.count < count { floats = Array(repeating: 0, count: count) }
        var all = floats.mutableSpan
        var part = all._mutatingExtracting(0..<count)
        try body(&part)
    }

    /// Lends words and values of a frame's rows: fp32 where they lie in its payload.
    func withRows(
        _ tokens: Tokens, _ bytes: PayloadBytes, _ body: (Span<UInt32>, Span<Float>) -> Void
    ) throws(ChunkError) {
        let rows = Int(tokens.rows)
        let (words, values) = (rows * Int(tokens.words), rows * Int(tokens.width))
        try bytes.withBytes { payload throws(ChunkError) in
            if tokens.transform == .fp32, payload.count == 4 * (words + values),
                payload.lend(words: words, body)
            {
                return
            }
            try withScratch(values) { (floats: inout MutableSpan<Float>) throws(ChunkError) in
                var decoded = [UInt32](repeating: 0, count: words)
                var own = decoded.mutableSpan
                try decoder.decodeRows(
                    payload, transform: tokens.transform, words: &own, values: &floats)
                body(own.span, floats.span)
            }
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

    /// As floats, which lie 4-aligned in a pool's payload, behind whole words; little-endian, as this
    /// machine is.
    fileprivate mutating func withFloats(_ body: (inout MutableSpan<Float>) -> Void) {
        // SAFETY: initialised bytes, of which any four are a float; the span does not outlive the call.
        unsafe withUnsafeMutableBytes { bytes in
            precondition(UInt(bitPattern: bytes.baseAddress) % 4 == 0, "floats out of place")
            var floats = unsafe bytes.bindMemory(to: Float.self).mutableSpan
            body(&floats)
        }
    }
}

extension Span<UInt8> {
    /// Lends words and then floats where they lie; false if that is not 4-aligned.
    fileprivate func lend(words: Int, _ body: (Span<UInt32>, Span<Float>) -> Void) -> Bool {
        // SAFETY: initialised bytes, aligned, of which any four are a word or a float; the spans do not
        // outlive the call.
        unsafe withUnsafeBytes { bytes in
            guard UInt(bitPattern: bytes.baseAddress) % 4 == 0 else { return false }
            let head = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<(4 * words)])
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[(4 * words)...])
            unsafe body(
                head.bindMemory(to: UInt32.self).span, rest.bindMemory(to: Float.self).span)
            return true
        }
    }
}
