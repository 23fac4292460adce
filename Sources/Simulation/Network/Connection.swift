import ClusterModel
import Coordination
import DequeModule
import WireProtocol

/// A frame under way: encoded as on a real wire, or, with modelled payloads, as the message itself.
struct WireFrame {
    enum Body {
        case encoded([UInt8])
        case plain(FrameHeader, Message, PayloadPool.Content?)
    }
    var body: Body
    /// Size on the link.
    var bytes: Int
    /// Without what the transport adds.
    var frameBytes: Int
}

/// A TCP connection as its users see one: frames arrive in order or not at all, late when the link is
/// slow or cut, and everything that has not arrived is lost when it is reset. The transport dials again
/// by itself until it is closed.
struct Connection {
    enum Purpose: Equatable {
        case control
        case lane
    }

    /// One direction.
    struct Flow {
        var frames: Deque<(frame: WireFrame, due: Int64)> = []
        var lastDue: Int64 = .min
        /// The head's arrival is scheduled.
        var isScheduled = false
        /// The path is cut: the head waits for it to heal.
        var isHeld = false
    }

    let purpose: Purpose
    let dialler: Int
    let diallerLife: UInt64
    let acceptor: Node
    /// The life whose endpoint is dialled; a restarted process listens elsewhere.
    let acceptorLife: UInt64
    /// Which of the dialler's lanes to the acceptor; 0 for control.
    var lane: UInt16 = 0
    var isUp = false
    /// Hung up for good.
    var isClosed = false
    /// Grows with every reset and close; occurrences of an older one are void.
    var generation: UInt64 = 0
    /// As the accepting side counts connections: another one after each reset.
    var acceptedAs = ConnectionID(rawValue: 0)
    /// The acceptor has heard LANE-HELLO on it (lanes) or any frame (control).
    var isIntroduced = false
    /// 0: dialler to acceptor; 1: back.
    var flows = [Flow(), Flow()]
    /// What the dialler sent while there was no connection; the transport keeps it.
    var outbox: Deque<WireFrame> = []
    /// Damage one of the next frames of a direction.
    var corruptNext = [false, false]

    /// As the dialler and the acceptor of a lane name it.
    var dialledLane: LaneID? {
        guard case .worker(let peer) = acceptor else { return nil }
        return LaneID(peer: WorkerID(peer), role: .dialler, index: lane)
    }
    var acceptedLane: LaneID {
        LaneID(peer: WorkerID(dialler), role: .acceptor, index: lane)
    }

    /// Frames the transport keeps for a dialler without connection (its high-water mark).
    static let outboxLimit = 10_000
}
