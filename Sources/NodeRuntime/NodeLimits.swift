import ClusterModel

/// Limits of the real driver, each with its reason.
enum NodeLimits {
    /// Messages taken from one socket before the others get their turn.
    static let burst = 64
    /// Chunks encoded on the loop thread before what has arrived gets its turn: half a millisecond.
    static let contributionBurst = 4
    /// Bytes are bounded by lane credit, so the message marks only must not be the tighter bound: 8 MiB
    /// of the smallest chunks (4 KiB) and their acknowledgements.
    static let laneHighWaterMark: Int32 = 8_192
    /// Control messages a peer may have queued: heartbeats of an outage.
    static let controlHighWaterMark: Int32 = 4_096
    /// How often cumulative figures (budget, traffic, memory) go to the log.
    static let figuresInterval = Interval.seconds(2)
    /// First attempts to reach the coordinator before giving up.
    static let joinDeadline = Interval.seconds(120)
    /// A refused or failed lane is dialled again after this: the peer may not have the plan yet.
    static let redialDelay = Interval.milliseconds(250)
    /// Key of the ZAP domain; any constant does, it must not be empty.
    static let zapDomain = "longhaul"
}
