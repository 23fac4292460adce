import ClusterModel
import WireProtocol

/// Bytes of frames on a link, framing included, from the codec that ships; one frame of each type is
/// encoded, the others of its type count as much.
struct FrameSizes {
    /// By type; asked, never iterated.
    private var known: [UInt8: Int] = [:]
    private var plan: (version: UInt32, bytes: Int)?

    private let encrypts: Bool

    /// - Parameter encrypts: frames carry what CURVE adds.
    init(encrypts: Bool) { self.encrypts = encrypts }

    /// A CHUNK with `payload` bytes.
    static func chunk(_ payload: Int, encrypts: Bool) -> Int {
        WireSize.message(
            ProtocolLimits.headerBytes + MessageType.chunk.shape.meta.lowerBound + payload,
            encrypts: encrypts)
    }

    mutating func bytes(_ message: Message) -> Int {
        if case .plan(let message) = message { return bytes(of: message) }
        let type = message.type.rawValue
        if let size = known[type] { return size }
        let size = encoded(message)
        known[type] = size
        return size
    }

    /// Members of a PLAN that is encoded to be measured; with the longest names and endpoints they fit
    /// a control frame.
    private static let piece = 128

    /// PLAN is limited to 1,024 members on the wire, and to a control frame: a longer one counts as its
    /// pieces would, with one header.
    private mutating func bytes(of message: Plan) -> Int {
        if let plan, plan.version == message.planVersion { return plan.bytes }
        var piece = message
        piece.members = []
        let empty = encoded(.plan(piece))
        var total = empty
        for start in stride(from: 0, to: message.members.count, by: Self.piece) {
            let end = min(start + Self.piece, message.members.count)
            piece.members = Array(message.members[start..<end])
            for index in piece.members.indices { piece.members[index].rank = Rank(index) }
            for index in piece.members.indices { piece.members[index].stateSource = .none }
            total += encoded(.plan(piece)) - empty
        }
        plan = (message.planVersion, total)
        return total
    }

    private func encoded(_ message: Message) -> Int {
        let header = FrameHeader(
            run: Simulator.run, incarnation: Incarnation(rawValue: 1), epoch: .none, rank: .none,
            sequence: 1)
        do {
            return WireSize.message(
                try FrameEncoder.encode(header: header, message: message).count,
                encrypts: encrypts)
        } catch {
            preconditionFailure("cannot encode \(message.type): \(error)")
        }
    }
}
