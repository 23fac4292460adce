import ClusterModel
import Coordination
import WireProtocol
import ZeroMQ

extension ZeroMQ.Message {
    /// A frame of a data lane; a payload that lies in a buffer of `pool` is sent from there.
    init(
        _ header: FrameHeader, _ message: WireProtocol.Message, _ payload: PayloadBytes?,
        _ pool: FramePool
    ) throws {
        guard let payload else {
            self = try ZeroMQ.Message(
                copying: try FrameEncoder.encode(header: header, message: message))
            return
        }
        self = try payload.frameBuffer(pool).seal(
            header, message, payloadCount: payload.count, offset: message.payloadOffset)
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
