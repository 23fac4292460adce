import ClusterModel
import WireProtocol

/// Frames of an epoch a worker has not reached, in order of arrival. Chunks count against the credit of
/// the lane they came on; what is passed on has only that of its two ends, which is counted here. Nobody's
/// frames are kept beyond a number. All of it is counted for each peer, and for each origin of what a peer
/// passes on, so that none uses up what another may have under way.
struct PostponedFrames: Sendable {
    private(set) var frames: [(lane: LaneID, frame: Worker.LaneFrame)] = []
    /// How many of each peer on whose lane they came, and origin. Asked, never iterated, like the next.
    private var counts: [[WorkerID]: Int] = [:]
    /// Peers of whom more came than is kept.
    private var overruns: Set<WorkerID> = []
    /// Payload bytes of the RELAYs among them, by who sent them and their ends; for each peer as many as
    /// there are detours.
    private var relayed: [Relayed] = []

    private struct Relayed: Sendable {
        let hop: WorkerID
        let origin: WorkerID
        let destination: WorkerID
        var bytes: UInt64
    }

    /// False, and nothing changes, if an honest peer cannot have so much under way.
    ///
    /// - Parameter window: payload bytes one end of a RELAY grants the other. Twice that may come: what
    ///   was sent again after a change of relay may be here already.
    mutating func keep(
        _ lane: LaneID, _ frame: Worker.LaneFrame, window: UInt64
    ) -> Bool {
        var sender = [lane.peer, lane.peer]
        if case .relay(let relay) = frame.message { sender[1] = relay.origin }
        let count = counts[sender] ?? 0
        guard count < CoordinationLimits.laneQueueMessages else { return false }
        if case .relay(let relay) = frame.message {
            let known = relayed.firstIndex {
                $0.hop == lane.peer && $0.origin == relay.origin
                    && $0.destination == relay.destination
            }
            let bytes = UInt64(frame.payloadBytes) + (known.map { relayed[$0].bytes } ?? 0)
            let (most, overflow) = window.multipliedReportingOverflow(by: 2)
            guard overflow || bytes <= most else { return false }
            if let known {
                relayed[known].bytes = bytes
            } else {
                let ends = relayed.count { $0.hop == lane.peer }
                guard ends < ProtocolLimits.detours * 2 else { return false }
                relayed.append(
                    Relayed(
                        hop: lane.peer, origin: relay.origin, destination: relay.destination,
                        bytes: bytes))
            }
        }
        frames.append((lane, frame))
        counts[sender] = count + 1
        return true
    }

    /// Whether `peer` had not sent too much before.
    mutating func isFirstOverrun(of peer: WorkerID) -> Bool {
        overruns.insert(peer).inserted
    }

    mutating func removeAll() -> [(lane: LaneID, frame: Worker.LaneFrame)] {
        defer { self = PostponedFrames() }
        return frames
    }
}
