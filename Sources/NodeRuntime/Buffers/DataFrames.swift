import ClusterModel
import Coordination
import WireProtocol
import ZeroMQ

/// A frame of a data lane on its way out.
enum OutgoingFrame {
    /// Bytes of their own.
    case plain([UInt8])
    /// With a payload, in a buffer of a pool.
    case sealed(FrameBuffer.Sealed)

    /// A payload that lies in a buffer of `pool` stays there.
    ///
    /// - Parameter isShared: whether the receiver can read it there.
    init(
        _ header: FrameHeader, _ message: WireProtocol.Message, _ payload: PayloadBytes?,
        _ pool: FramePool, isShared: Bool
    ) throws {
        guard let payload else {
            self = .plain(try FrameEncoder.encode(header: header, message: message))
            return
        }
        let buffer = payload.frameBuffer(pool)
        let staysHere =
            isShared && payload.count >= SharedFrames.leastPayload && buffer.isShared
        self = .sealed(
            try buffer.seal(
                header, message, payloadCount: payload.count, offset: message.payloadOffset,
                for: staysHere ? .memory : .wire))
    }

    /// In bytes, with its header.
    var count: Int {
        switch self {
        case .plain(let bytes): bytes.count
        case .sealed(let frame): frame.count
        }
    }
}

extension PayloadBytes {
    /// The payload of a received frame; nil where its message has none.
    convenience init?(
        of message: WireProtocol.Message, in held: HeldMessage, range: Range<Int>
    ) {
        switch message {
        case .chunk(let chunk):
            self.init(in: held, range: range, transform: chunk.transform, stage: chunk.stage)
        case .stateChunk:
            self.init(in: held, range: range, transform: .fp32, stage: .stored)
        case .tokens(let tokens):
            guard tokens.rows > 0 else { return nil }
            self.init(in: held, range: range, transform: tokens.transform, stage: .stored)
        case .relay(let relay):
            self.init(of: relay.inner, in: held, range: range)
        default:
            return nil
        }
    }
}

extension WireProtocol.Message {
    /// Where the payload of a data frame starts.
    fileprivate var payloadOffset: Int {
        switch self {
        case .stateChunk: StateChunk.payloadOffset
        case .tokens: Tokens.payloadOffset
        case .relay(let relay): relay.payloadOffset
        default: Chunk.payloadOffset
        }
    }
}
