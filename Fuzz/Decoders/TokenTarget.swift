import ClusterModel
import Compression
import Reduction
import WireProtocol

/// Rows of tokens: the fields of a TOKENS frame, and words and values of the rows it announces. Input: the
/// fields, then the payload; the header is made to fit, so that every input reaches the decoders.
///
/// Promises checked beside memory safety: a frame that is accepted has room for no row more or less than
/// it says, and the instruction sets agree on its values, bit for bit.
struct TokenTarget {
    private let header: [UInt8]
    private let fast = ChunkDecoder()
    private let slow = ChunkDecoder(kernels: BaselineKernels.self)

    static let names = ["tokens"]
    private static let fields = Tokens.payloadOffset - 64

    init?(name: String) {
        guard Self.names.contains(name) else { return nil }
        let tokens = Tokens(
            step: 1, exchange: 0, kind: .dispatch, transform: .fp32, width: 1, words: 0, passes: 1,
            tokens: 0, first: 0, rows: 0, total: 0)
        let honest = FrameHeader(
            run: RunID(rawValue: 1), incarnation: Incarnation(rawValue: 1),
            epoch: Epoch(rawValue: 1), rank: Rank(0), sequence: 1)
        guard
            let frame = try? FrameEncoder.encode(
                header: honest, message: .tokens(tokens), payload: [UInt8]().span)
        else { preconditionFailure("the encoder refused an honest frame") }
        header = Array(frame[..<64])
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard input.count >= Self.fields else { return }
        var frame = unsafe header + Array(input)
        put(UInt64(input.count - Self.fields), bytes: 4, at: 44, in: &frame)
        put(0, bytes: 8, at: 56, in: &frame)
        put(Checksum.xxh3(frame.span), bytes: 8, at: 56, in: &frame)
        guard let decoded = try? FrameDecoder.decode(frame.span, limits: .data),
            case .tokens(let tokens) = decoded.message
        else { return }
        precondition(
            decoded.payload.count
                == Tokens.payloadBytes(
                    tokens.transform, rows: Int(tokens.rows), width: Int(tokens.width),
                    words: Int(tokens.words)), "accepted with other bytes than its rows have")
        guard tokens.rows > 0 else { return }
        let payload = Array(frame[decoded.payload])
        let first = rows(fast, tokens, payload)
        let second = rows(slow, tokens, payload)
        precondition(first == second, "the instruction sets differ")
    }

    /// Nil: refused.
    private func rows(
        _ decoder: ChunkDecoder, _ tokens: Tokens, _ payload: [UInt8]
    ) -> [UInt32]? {
        let rows = Int(tokens.rows)
        var words = [UInt32](repeating: 0, count: rows * Int(tokens.words))
        var values = [Float](repeating: 0, count: rows * Int(tokens.width))
        var intoWords = words.mutableSpan
        var intoValues = values.mutableSpan
        do {
            try decoder.decodeRows(
                payload.span, transform: tokens.transform, words: &intoWords, values: &intoValues)
        } catch {
            return nil
        }
        return words + values.map(\.bitPattern)
    }

    private func put(_ value: UInt64, bytes: Int, at offset: Int, in frame: inout [UInt8]) {
        for index in 0..<bytes {
            frame[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
