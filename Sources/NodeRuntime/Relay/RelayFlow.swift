/// One connection through the relay: two TCP legs and the bytes between them.
///
///     dialler --leg--> [channel: bytes, delayed] --leg--> acceptor      (and back)
final class RelayFlow {
    /// How far the set-up has come. It costs what a TCP connection over the link would: the request
    /// crosses, the connection is made on the far side, the answer crosses back.
    enum Phase {
        case handshake(SocksHandshake)
        /// The request is on the link.
        case crossing
        /// The far side is being connected.
        case dialling
        /// Connected to the first of further links, which are asked one after another.
        case chaining(SocksChain)
        /// The answer is on the link; the acceptor may send already.
        case answering
        /// A refusal is on the link.
        case refusing
        case open
    }

    /// One TCP connection on loopback.
    struct Leg {
        /// -1 before it exists and after it is closed.
        var descriptor: Int32 = -1
        /// Edge-triggered: true from the event until a read finds nothing.
        var readable = false
        /// True from the event until a write finds no room.
        var writable = false
        var isOpen: Bool { descriptor >= 0 }
    }

    /// The bytes one side has sent and the other has not taken yet, in order.
    final class Channel {
        let bytes: ByteQueue
        /// Bytes at the front which have crossed the link.
        var ripe = 0
        /// Segments still on the link.
        var segments = 0
        /// When the last segment arrives: no later one arrives before it.
        var lastDelivery: Int64 = .min
        /// Whether the flow waits in the ring of readable flows.
        var isQueued = false
        /// The source has finished sending.
        var hasEnded = false
        /// Its end has crossed the link.
        var endIsRipe = false
        /// Its end has been passed on.
        var isFinished = false

        init(_ pool: BlockPool) { bytes = ByteQueue(pool) }
    }

    let id: UInt64
    /// The side which dialled.
    let dialler: RelaySide
    let startedAt: Int64
    var phase = Phase.handshake(SocksHandshake())
    /// What the proxies of further links are asked for.
    var targets: [SocksDestination] = []
    private var legs: [2 of Leg] = [Leg(), Leg()]
    private let channels: [2 of Channel]

    init(id: UInt64, dialler: RelaySide, startedAt: Int64, pool: BlockPool) {
        self.id = id
        self.dialler = dialler
        self.startedAt = startedAt
        channels = [Channel(pool), Channel(pool)]
    }

    subscript(leg side: RelaySide) -> Leg {
        get { legs[side.rawValue] }
        set { legs[side.rawValue] = newValue }
    }

    /// The channel whose bytes come from `side`.
    subscript(channel side: RelaySide) -> Channel { channels[side.rawValue] }

    var isSettingUp: Bool {
        switch phase {
        case .handshake, .crossing, .dialling, .chaining, .refusing: true
        case .answering, .open: false
        }
    }

    /// Whether bytes may be read from a side's leg now.
    func mayRead(_ side: RelaySide) -> Bool {
        guard legs[side.rawValue].isOpen, !channels[side.rawValue].hasEnded else { return false }
        switch phase {
        case .open: return true
        case .answering: return side != dialler
        case .handshake, .crossing, .dialling, .chaining, .refusing: return false
        }
    }
}
