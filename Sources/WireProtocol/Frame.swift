/// A whole decoded frame. The payload is a range of the bytes it was decoded from.
package struct Frame: Equatable, Sendable {
    package var header: FrameHeader
    package var message: Message
    /// Empty for messages without payload.
    package var payload: Range<Int>

    package init(header: FrameHeader, message: Message, payload: Range<Int>) {
        self.header = header
        self.message = message
        self.payload = payload
    }
}

extension Message {
    /// What the payload must have besides the length its type allows.
    func checkPayload(_ payload: Range<Int>, of bytes: Span<UInt8>) throws(FrameError) {
        switch self {
        case .event:
            do {
                _ = try UTF8Span(validating: bytes.extracting(payload))
            } catch {
                throw .invalidUTF8(
                    field: "EVENT.payload",
                    offset: payload.lowerBound + error.byteOffsets.lowerBound)
            }
        case .stateChunk(let chunk):
            let expected = Int(chunk.item == .index ? 0 : chunk.count) * 4
            guard payload.count == expected else {
                throw .payloadLength(
                    type: .stateChunk, allowed: expected...expected, got: payload.count)
            }
        case .tokens(let tokens): try tokens.checkPayload(payload.count)
        case .relay(let relay):
            let allowed = relay.inner.type.shape.payload
            guard allowed.contains(payload.count) else {
                throw .payloadLength(
                    type: relay.inner.type, allowed: allowed, got: payload.count)
            }
            try relay.inner.checkPayload(payload, of: bytes)
        case .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat, .heartbeatAck, .report,
            .commit, .close, .suspect, .leave, .bye, .stop, .evicted, .error, .enrol, .enrolled,
            .offer,
            .laneHello, .laneWelcome, .chunk, .acknowledge, .pull, .stateRequest, .laneBye:
            break
        }
    }
}

/// How a frame comes to its receiver.
package enum FrameMedium: Sendable {
    /// As a message: the checksum is of the whole frame.
    case wire
    /// It stays where its sender has made it (section 2.1): the checksum is of header and fields.
    case memory
}
