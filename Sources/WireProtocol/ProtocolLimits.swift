/// Every limit of protocol version 1 with its reason (section 11 of the specification).
package enum ProtocolLimits {
    /// The only version this module speaks.
    package static let version: UInt8 = 1
    /// Bytes 4C 48 4C 31, "LHL1", read as a little-endian integer.
    package static let magic: UInt32 = 0x314C_484C
    /// A multiple of 8, so that fields stay aligned when the buffer is.
    package static let headerBytes = 64

    /// Small enough that a control frame never delays the next one noticeably, even at 10 Mbit/s
    /// (52 ms), and that a stranger's claimed length cannot make the coordinator allocate much.
    package static let controlFrameBytes = 64 * 1024
    /// One chunk of fp32. Above this a single message can outlast ZeroMQ's heartbeat timeout on a
    /// slow link (libzmq issue 2709).
    package static let dataPayloadBytes = 256 * 1024
    /// The payload and 1 KiB for header and meta: the value for ZMQ_MAXMSGSIZE on data sockets.
    package static let dataFrameBytes = dataPayloadBytes + 1024
    /// Elements of one slice in one chunk, 256 KiB as fp32; of a state's piece.
    package static let chunkElements = 65_536
    /// The most that a chunk or a frame of token rows holds: 195 KiB as int8.
    package static let chunkElementsMost = 3 * chunkElements
    /// One run event as JSON; half a control frame is more than any event needs.
    package static let eventBytes = 32 * 1024
    /// Configuration and topology as JSON; leaves room for the rest of WELCOME in a control frame.
    package static let configurationBytes = 48 * 1024

    /// A sentence for a human; longer text belongs in a log.
    package static let textBytes = 1024
    /// ZeroMQ endpoints are host names (at most 253 bytes) with a scheme and a port; longer names
    /// than this are refused by the cluster file.
    package static let endpointBytes = 255
    /// Names appear in file names, metrics labels and terminal columns.
    package static let nameBytes = 64

    /// A member needs at least 67 bytes, so a control frame holds no more than this; real names and
    /// endpoints reach the frame limit at several hundred.
    package static let members = 1024
    /// At most one contribution, one awaited rank per member.
    package static let ranks = members
    /// One per region of a cluster file.
    package static let links = 64
    /// Fragments are groups of layers; the schedules use tens.
    package static let fragments = 256
    /// A layer group is a handful of contiguous ranges.
    package static let rangesPerFragment = 256
    /// One per layer with experts; the cluster file's most layers.
    package static let expertBlocks = 1024
    /// Four times what the largest published models have in a layer.
    package static let expertsPerBlock = 1024
    /// Experts with periods of their own: their tokens fill half a control frame.
    package static let periodicExperts = 8_192
    /// At 0.01 % loss one connection carries some 50 Mbit/s over 30 ms; more connections than this
    /// between two workers only compete.
    package static let lanes: UInt16 = 16
    /// Pairs without a lane; a pool with more of them needs another network.
    package static let detours = 1024
    /// Directed pairs of 64 regions.
    package static let codecs = 4096
    /// One outer round per fragment and a few inner all-reduces can be in flight.
    package static let collectivesInFlight = 1024
}

/// What a receiver accepts on one connection.
package struct FrameLimits: Equatable, Sendable {
    package var plane: Plane
    /// Bytes of a whole frame; what ZMQ_MAXMSGSIZE of the socket is set to.
    package var frameBytes: Int

    package init(plane: Plane, frameBytes: Int) {
        self.plane = plane
        self.frameBytes = frameBytes
    }

    package static let control = FrameLimits(
        plane: .control, frameBytes: ProtocolLimits.controlFrameBytes)
    package static let data = FrameLimits(plane: .data, frameBytes: ProtocolLimits.dataFrameBytes)
}

/// Lengths and flags a frame of one type may have; checked before anything is allocated.
package struct FrameShape: Equatable, Sendable {
    package let meta: ClosedRange<Int>
    package let payload: ClosedRange<Int>
    package let flags: FrameFlags

    init(meta: ClosedRange<Int>, payload: ClosedRange<Int> = 0...0, flags: FrameFlags = []) {
        self.meta = meta
        self.payload = payload
        self.flags = flags
    }

    init(meta: Int, payload: ClosedRange<Int> = 0...0, flags: FrameFlags = []) {
        self.init(meta: meta...meta, payload: payload, flags: flags)
    }
}

extension MessageType {
    /// Minima are the fixed fields with empty texts and lists; maxima follow from the limits above.
    package var shape: FrameShape {
        typealias Limits = ProtocolLimits
        let text = Limits.textBytes
        let list = Limits.collectivesInFlight
        return switch self {
        case .hello: FrameShape(meta: 92...475)
        case .welcome: FrameShape(meta: 33...33 + Limits.configurationBytes)
        case .refuse: FrameShape(meta: 8...8 + 2 * text)
        case .plan: FrameShape(meta: 30...Limits.controlFrameBytes - Limits.headerBytes)
        case .ready: FrameShape(meta: 14...14 + 13 * list)
        case .go: FrameShape(meta: 6...6 + 15 * list)
        case .heartbeat: FrameShape(meta: 27...27 + 2 * Limits.ranks)
        case .heartbeatAck: FrameShape(meta: 16)
        case .report:
            FrameShape(meta: 56...56 + 18 * Limits.links + 4 * Limits.periodicExperts)
        case .commit: FrameShape(meta: 23)
        case .close: FrameShape(meta: 14...14 + 10 * Limits.ranks)
        case .event: FrameShape(meta: 0, payload: 1...Limits.eventBytes)
        case .suspect: FrameShape(meta: 12)
        case .leave: FrameShape(meta: 4...4 + text)
        case .bye: FrameShape(meta: 0)
        case .stop: FrameShape(meta: 5...5 + text)
        case .evicted: FrameShape(meta: 4...4 + text)
        case .error: FrameShape(meta: 13...13 + text)
        case .enrol: FrameShape(meta: 36...164)
        case .enrolled: FrameShape(meta: 4)
        case .offer: FrameShape(meta: 26)
        case .laneHello: FrameShape(meta: 30)
        case .laneWelcome: FrameShape(meta: 16)
        case .chunk:
            FrameShape(meta: 40, payload: 1...Limits.dataPayloadBytes, flags: .forwarded)
        case .acknowledge: FrameShape(meta: 16)
        case .pull: FrameShape(meta: 20)
        case .stateRequest: FrameShape(meta: 13)
        case .stateChunk: FrameShape(meta: 41, payload: 0...Limits.dataPayloadBytes)
        case .laneBye: FrameShape(meta: 8)
        // The inner message has 8 to 41 bytes of fields.
        case .relay: FrameShape(meta: 29...62, payload: 0...Limits.dataPayloadBytes)
        case .tokens: FrameShape(meta: 32, payload: 0...Limits.dataPayloadBytes)
        }
    }
}
