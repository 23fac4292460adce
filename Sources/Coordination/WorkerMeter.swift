import ClusterModel
import DequeModule
import WireProtocol

/// What a worker's reports say besides the round: how fast its trainer computes, and how fast the links
/// it sends over take its bytes. From one report to the next.
///
/// A link was busy with a frame from when it could have been acknowledged, had the link been free (a round
/// trip after it was sent), or from the acknowledgement before it, whichever is later, until its own:
///
/// ```
/// sent       1 2 3            4
/// acked              1  2  3            4
/// busy              |-||-||-|          |-|      (a frame's time on the link, no round trips)
/// ```
struct WorkerMeter: Sendable {
    private struct Link {
        var acknowledged: UInt64 = 0
        var busy = Interval.zero
        var lastAcknowledged = Instant.zero
    }

    /// To one peer, over the lanes one side has dialled.
    private struct Flow {
        var sent: UInt64 = 0
        var acknowledged: UInt64 = 0
        /// What is not acknowledged: bytes sent up to then, and when.
        var marks: Deque<(through: UInt64, at: Instant)> = []
    }

    /// Set before anything else happens.
    var now = Instant.zero
    private var reportedSamples: UInt64
    private var computeTime = Interval.zero
    /// By region.
    private var links: [Link]
    /// By region, as the cluster file has them.
    private let roundTrips: [Interval]
    /// Asked, never iterated.
    private var flows: [LaneID: Flow] = [:]

    /// For a worker of `region`.
    init(samples: UInt64, region: RegionID, topology: Topology) {
        reportedSamples = samples
        links = topology.regions.map { _ in Link() }
        roundTrips = topology.regions.indices.map { other in
            let link = topology.link(between: region, and: RegionID(other))
            return Interval(
                nanoseconds: [region, RegionID(other)].reduce(0) {
                    $0 + (link?.parameters(from: $1).oneWayNanoseconds ?? 0)
                })
        }
    }

    mutating func computed(_ elapsed: Interval) { computeTime = computeTime + elapsed }

    /// Cumulative counts of the lanes to a peer that one side has dialled; smaller ones than before are
    /// those of new sessions.
    mutating func note(
        _ peer: WorkerID, _ role: LaneSession.Role, region: RegionID, sent: UInt64,
        acknowledged: UInt64
    ) {
        guard links.indices.contains(region.index) else { return }
        let key = LaneID(peer: peer, role: role)
        var flow = flows[key] ?? Flow()
        // What the old session had under way is nobody's any more.
        if sent < flow.sent || acknowledged < flow.acknowledged { flow = Flow() }
        if sent > flow.sent {
            flow.marks.append((sent, now))
            flow.sent = sent
        }
        if acknowledged > flow.acknowledged {
            links[region.index].acknowledged += acknowledged - flow.acknowledged
            flow.acknowledged = acknowledged
            var sentAt = flow.marks.first?.at ?? now
            while let first = flow.marks.first, first.through <= acknowledged {
                sentAt = first.at
                flow.marks.removeFirst()
            }
            let free = sentAt + roundTrips[region.index]
            let from = max(free, links[region.index].lastAcknowledged)
            if now > from { links[region.index].busy = links[region.index].busy + (now - from) }
            links[region.index].lastAcknowledged = now
        }
        flows[key] = flow
    }

    /// Hands the counts over; they begin again at zero.
    mutating func fill(_ report: inout Report, samples: UInt64) {
        report.samples = samples - min(samples, reportedSamples)
        report.computeTime = computeTime
        reportedSamples = samples
        computeTime = .zero
        for index in links.indices where links[index].acknowledged > 0 {
            report.links.append(
                Report.LinkMeter(
                    region: RegionID(index), acknowledgedBytes: links[index].acknowledged,
                    busyTime: links[index].busy))
            links[index].acknowledged = 0
            links[index].busy = .zero
        }
    }
}
