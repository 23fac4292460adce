package import ClusterModel

/// Rows of one exchange of tokens between two members of a region: on their way to the experts of the
/// receiver, or the answer (section 6.4). The payload is `rows * words` u32, then the encoded values.
package struct Tokens: Hashable, Codable, Sendable {
    package enum Kind: UInt8, Codable, Sendable {
        case dispatch = 0
        case combine = 1
        /// Weights and moments of experts, for who computes them from this step on (section 7.12).
        case state = 2
        /// The squared norm of the gradients of the sender's experts.
        case norm = 3
    }

    /// Inner step, from 1.
    package var step: UInt32
    /// Counts the exchanges of the step, from 0.
    package var exchange: UInt32
    package var kind: Kind
    /// fp32, bf16, fp16 or int8.
    package var transform: TransformID
    /// Values of a row.
    package var width: UInt16
    /// u32 of a row besides its values.
    package var words: UInt16
    /// In how many passes the sender computes this step.
    package var passes: UInt16
    /// That the sender trains on in this step.
    package var tokens: UInt32
    /// Of the sender's `total` rows in this exchange: the first that is here, and how many are.
    package var first: UInt32
    package var rows: UInt32
    package var total: UInt32

    package init(
        step: UInt32, exchange: UInt32, kind: Kind, transform: TransformID, width: UInt16,
        words: UInt16, passes: UInt16, tokens: UInt32, first: UInt32, rows: UInt32, total: UInt32
    ) {
        self.step = step
        self.exchange = exchange
        self.kind = kind
        self.transform = transform
        self.width = width
        self.words = words
        self.passes = passes
        self.tokens = tokens
        self.first = first
        self.rows = rows
        self.total = total
    }

    /// Where the payload of every TOKENS frame starts: 64 bytes of header, 32 of fields.
    package static let payloadOffset = 96

    package static func permits(_ transform: TransformID) -> Bool {
        switch transform {
        case .fp32, .bf16, .fp16, .int8: true
        case .int4, .e3m0, .topK: false
        }
    }

    /// Bytes of `rows` rows with their words.
    package static func payloadBytes(
        _ transform: TransformID, rows: Int, width: Int, words: Int
    ) -> Int {
        let values = rows * width
        let body =
            switch transform {
            case .bf16, .fp16: 2 * values
            case .int8: (values + 255) / 256 * 4 + values
            case .fp32, .int4, .e3m0, .topK: 4 * values
            }
        return 4 * rows * words + body
    }

    /// Rows that fit one frame.
    ///
    /// - Precondition: one fits.
    package static func rowsPerFrame(_ transform: TransformID, width: Int, words: Int) -> Int {
        let limit = ProtocolLimits.dataPayloadBytes
        var rows = min(
            ProtocolLimits.chunkElementsMost / width,
            limit / payloadBytes(transform, rows: 1, width: width, words: words))
        while rows > 0, payloadBytes(transform, rows: rows, width: width, words: words) > limit {
            rows -= 1
        }
        precondition(rows > 0, "a row of \(width) values and \(words) words fits no frame")
        return rows
    }

    /// The payload is as long as its rows are.
    func checkPayload(_ count: Int) throws(FrameError) {
        let values = Int(rows) * Int(width)
        let expected = Self.payloadBytes(
            transform, rows: Int(rows), width: Int(width), words: Int(words))
        guard values <= ProtocolLimits.chunkElementsMost, count == expected else {
            let most = min(expected, ProtocolLimits.dataPayloadBytes)
            throw .payloadLength(type: .tokens, allowed: most...most, got: count)
        }
    }
}

extension Tokens: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        let step: UInt32 = try reader.integer("TOKENS.step")
        let exchange: UInt32 = try reader.integer("TOKENS.exchange")
        let kind: Kind = try reader.value("TOKENS.kind")
        let offset = reader.position
        let transform: TransformID = try reader.value("TOKENS.transform")
        try Self.check(transform, at: offset)
        self.init(
            step: step, exchange: exchange, kind: kind, transform: transform,
            width: try reader.integer("TOKENS.width", in: Self.widths),
            words: try reader.integer("TOKENS.words"),
            passes: try reader.integer("TOKENS.passes"),
            tokens: try reader.integer("TOKENS.tokens"),
            first: try reader.integer("TOKENS.first"), rows: try reader.integer("TOKENS.rows"),
            total: try reader.integer("TOKENS.total"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(step)
        writer.integer(exchange)
        writer.value(kind)
        try Self.check(transform, at: writer.position)
        writer.value(transform)
        try writer.integer(width, "TOKENS.width", in: Self.widths)
        writer.integer(words)
        writer.integer(passes)
        writer.integer(tokens)
        writer.integer(first)
        writer.integer(rows)
        writer.integer(total)
    }

    private static let widths: ClosedRange<UInt16> = 1...UInt16.max

    private static func check(_ transform: TransformID, at offset: Int) throws(FrameError) {
        guard permits(transform) else {
            throw .invalidEnum(
                field: "TOKENS.transform", offset: offset, got: UInt64(transform.rawValue))
        }
    }
}
