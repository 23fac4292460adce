import ClusterModel
import WireProtocol

/// Frames of an epoch a worker has not reached, in order of arrival. Chunks count against the credit of
/// the lane they came on; what is passed on has only that of its two ends, which is counted here. Nobody's
/// frames are kept beyond a number.
struct PostponedFrames: Sendable {
    private(set) var frames: [(lane: LaneID, frame: Worker.LaneFrame)] = []
    /// Payload bytes of the RELAYs among them, by their ends; as many as there are detours.
    private var relayed: [(origin: WorkerID, destination: WorkerID, bytes: UInt64)] = []

    /// False, and nothing changes, if an honest peer cannot have so much under way.
    ///
    /// - Parameter window: payload bytes one end of a RELAY grants the other. Twice that may come: what
    ///   was sent again after a change of relay may be here already.
    mutating func keep(
        _ lane: LaneID, _ frame: Worker.LaneFrame, window: UInt64
    ) -> Bool {
        guard frames.count < CoordinationLimits.laneQueueMessages else { return false }
        if case .relay(let relay) = frame.message {
            let known = relayed.firstIndex {
                $0.origin == relay.origin && $0.destination == relay.destination
            }
            let bytes = UInt64(frame.payloadBytes) + (known.map { relayed[$0].bytes } ?? 0)
            let (most, overflow) = window.multipliedReportingOverflow(by: 2)
            guard overflow || bytes <= most else { return false }
            if let known {
                relayed[known].bytes = bytes
            } else {
                guard relayed.count < ProtocolLimits.detours * 2 else { return false }
                relayed.append((relay.origin, relay.destination, bytes))
            }
        }
        frames.append((lane, frame))
        return true
    }

    mutating func removeAll() -> [(lane: LaneID, frame: Worker.LaneFrame)] {
        defer { self = PostponedFrames() }
        return frames
    }
}
