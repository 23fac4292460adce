internal import ClusterModel

/// A direction between two regions, or inside one.
struct Direction: Hashable, Comparable {
    var from: RegionID
    var to: RegionID
    static func < (a: Direction, b: Direction) -> Bool { (a.from, a.to) < (b.from, b.to) }
}

/// Bytes per direction, as the relay and as the workers' lanes counted them.
struct LinkTally {
    struct Key: Hashable {
        var worker: WorkerID
        var direction: Direction
    }

    private var lanes: [Key: Cumulative<LinkCount>] = [:]
    /// Who counts in a direction; thousands of workers share thousands of directions.
    private var workers: [Direction: [WorkerID]] = [:]
    private var laneTotals: [Direction: UInt64] = [:]
    private var relays: [Direction: Cumulative<LinkCount>] = [:]
    private var peakQueues: [Direction: UInt64] = [:]
    private var laneNumbers: [Direction: RunEvent.LaneCount] = [:]
    private var laneSeries: [Direction: Series] = [:]
    private var relaySeries: [Direction: Series] = [:]

    mutating func add(
        _ traffic: RunEvent.Traffic, by worker: WorkerID, in region: RegionID, at time: Double
    ) {
        let direction = Direction(from: region, to: traffic.toRegion)
        let key = Key(worker: worker, direction: direction)
        if lanes[key] == nil { workers[direction, default: []].append(worker) }
        var counter = lanes[key] ?? Cumulative()
        let before = counter.total.bytes
        counter.update(LinkCount(traffic))
        lanes[key] = counter
        let grown = counter.total.bytes - min(before, counter.total.bytes)
        laneTotals[direction] = saturatingSum(laneTotals[direction] ?? 0, grown)
        laneSeries[direction, default: Series()].append(time, laneTotals[direction] ?? 0)
    }

    mutating func add(_ use: RunEvent.LinkUse, at time: Double) {
        let direction = Direction(from: use.from, to: use.to)
        var counter = relays[direction] ?? Cumulative()
        counter.update(LinkCount(use))
        relays[direction] = counter
        peakQueues[direction] = max(peakQueues[direction] ?? 0, use.peakQueueBytes)
        relaySeries[direction, default: Series()].append(time, counter.total.bytes)
    }

    mutating func add(_ count: RunEvent.LaneCount) {
        let direction = Direction(from: count.from, to: count.to)
        guard count.lanes >= laneNumbers[direction]?.lanes ?? 0 else { return }
        laneNumbers[direction] = count
    }

    /// The largest number of lanes from one worker to another.
    func lanesPerPair(_ direction: Direction) -> RunEvent.LaneCount? { laneNumbers[direction] }

    /// Every direction anybody counted.
    var directions: Set<Direction> { Set(laneTotals.keys).union(relays.keys) }

    func laneCount(_ direction: Direction) -> LinkCount {
        (workers[direction] ?? []).reduce(LinkCount.zero) { sum, worker in
            sum + (lanes[Key(worker: worker, direction: direction)]?.total ?? .zero)
        }
    }

    func relayCount(_ direction: Direction) -> LinkCount? { relays[direction]?.total }

    func peakQueue(_ direction: Direction) -> UInt64? { peakQueues[direction] }

    /// A relay that told its count only once, at the end, shows no course: then the lanes do.
    func series(
        _ direction: Direction
    ) -> (samples: [RunSummary.Link.Sample], source: String) {
        let relay = relaySeries[direction]?.samples ?? []
        let lanes = laneSeries[direction]?.samples ?? []
        return relay.count > 1 || lanes.isEmpty ? (relay, "relay") : (lanes, "lanes")
    }
}

/// A cumulative series that halves its resolution when it is full.
private struct Series {
    private(set) var samples: [RunSummary.Link.Sample] = []
    private var count = 0
    private var stride = 1
    /// The newest sample is always there; it stays only when its turn has come.
    private var isLastTentative = false

    mutating func append(_ seconds: Double, _ bytes: UInt64) {
        if isLastTentative { samples.removeLast() }
        samples.append(RunSummary.Link.Sample(seconds: seconds, bytes: bytes))
        isLastTentative = !count.isMultiple(of: stride)
        count += 1
        guard samples.count > RunSummary.pointLimit, !isLastTentative else { return }
        samples = samples.enumerated().compactMap { $0.offset.isMultiple(of: 2) ? $0.element : nil }
        stride *= 2
    }
}
