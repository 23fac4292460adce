import ClusterModel
import WireProtocol

/// What a worker's reports say besides the round: how fast its trainer computes, and how fast the links
/// it sends over take its bytes. From one report to the next.
struct WorkerMeter: Sendable {
    private struct Link {
        var acknowledged: UInt64 = 0
        var busy = Interval.zero
        var underWay: UInt64 = 0
        /// Since when something is under way, if anything is.
        var since: Instant?
    }

    /// Set before anything else happens.
    var now = Instant.zero
    private var reportedSamples: UInt64
    private var computeTime = Interval.zero
    /// By region.
    private var links: [Link]
    /// Bytes that were sent to each peer over the lanes of either side and acknowledged. Asked, never
    /// iterated.
    private var seen: [LaneID: (sent: UInt64, acknowledged: UInt64)] = [:]

    init(samples: UInt64, regions: Int) {
        reportedSamples = samples
        links = Array(repeating: Link(), count: regions)
    }

    mutating func computed(_ elapsed: Interval) { computeTime = computeTime + elapsed }

    /// A peer's cumulative counts over the lanes one side has dialled; smaller ones than before are those
    /// of new sessions.
    mutating func note(
        _ peer: WorkerID, _ role: LaneSession.Role, region: RegionID, sent: UInt64,
        acknowledged: UInt64
    ) {
        guard links.indices.contains(region.index) else { return }
        let key = LaneID(peer: peer, role: role)
        var before = seen[key] ?? (0, 0)
        if sent < before.sent || acknowledged < before.acknowledged {
            // What the old session had under way is nobody's any more.
            let lost = before.sent - before.acknowledged
            links[region.index].underWay -= min(lost, links[region.index].underWay)
            before = (0, 0)
        }
        seen[key] = (sent, acknowledged)
        var link = links[region.index]
        link.underWay += sent - before.sent
        link.underWay -= min(acknowledged - before.acknowledged, link.underWay)
        link.acknowledged += acknowledged - before.acknowledged
        if link.underWay > 0 {
            link.since = link.since ?? now
        } else if let since = link.since {
            link.busy = link.busy + (now - since)
            link.since = nil
        }
        links[region.index] = link
    }

    /// Hands the counts over; they begin again at zero.
    mutating func fill(_ report: inout Report, samples: UInt64) {
        report.samples = samples - min(samples, reportedSamples)
        report.computeTime = computeTime
        reportedSamples = samples
        computeTime = .zero
        for index in links.indices {
            if let since = links[index].since {
                links[index].busy = links[index].busy + (now - since)
                links[index].since = now
            }
            guard links[index].acknowledged > 0 else { continue }
            report.links.append(
                Report.LinkMeter(
                    region: RegionID(index), acknowledgedBytes: links[index].acknowledged,
                    busyTime: links[index].busy))
            links[index].acknowledged = 0
            links[index].busy = .zero
        }
    }
}
