import ClusterModel

/// The links of the cluster: one clock per directed pair of regions, shared by all connections that
/// cross it, and one per worker for traffic inside its region. Cuts and slow-downs are laid over them.
struct Fabric {
    /// Inside a region.
    static let localDelay: Int64 = 50_000
    static let queueLimit = 1 << 30

    private let regionCount: Int
    private var links: [LinkClock]
    private var local: [LinkClock]
    private(set) var bytes: [UInt64]
    private(set) var peakQueue: [Int]
    /// Number of faults that cut a directed pair of regions.
    private var cuts: [Int]
    /// Number of faults that cut a node off, outwards and inwards; index 0 is the coordinator.
    private var cutOut: [Int]
    private var cutIn: [Int]
    /// Number of faults that keep a worker from dialling another; by dialler and acceptor.
    /// Asked, never iterated.
    private var blocked: [[Int]: Int] = [:]
    /// Further delay of a directed pair of regions, in nanoseconds, and a factor on its rate.
    private var slow: [Int]

    init(topology: Topology, seed: UInt64, localRate: UInt64) {
        let regions = topology.regions.count
        regionCount = regions
        var generator = SeededGenerator(seed: seed ^ 0x6c69_6e6b)
        var clocks: [LinkClock] = []
        for from in 0..<regions {
            for to in 0..<regions {
                let link = topology.link(between: RegionID(from), and: RegionID(to))
                let parameters =
                    link?.parameters(from: RegionID(from))
                    ?? LinkParameters(
                        bitsPerSecond: 0, oneWayNanoseconds: Self.localDelay,
                        queueLimitBytes: Self.queueLimit)
                clocks.append(
                    LinkClock(
                        parameters, seed: generator.next(),
                        schedule: link?.schedule(from: RegionID(from))))
            }
        }
        links = clocks
        let workers = topology.regions.reduce(0) { $0 + $1.workers.count }
        let nic = LinkParameters(
            bitsPerSecond: localRate, oneWayNanoseconds: Self.localDelay,
            queueLimitBytes: Self.queueLimit)
        local = (0...workers).map { _ in LinkClock(nic, seed: generator.next()) }
        bytes = Array(repeating: 0, count: regions * regions)
        peakQueue = Array(repeating: 0, count: regions * regions)
        cuts = bytes.map { _ in 0 }
        slow = cuts
        cutOut = Array(repeating: 0, count: workers + 1)
        cutIn = cutOut
    }

    private func pair(_ from: RegionID, _ to: RegionID) -> Int {
        from.index * regionCount + to.index
    }

    /// When a frame handed over at `now` arrives; never before `after`, the flow's last arrival. Lanes'
    /// frames queue in the order in which they are handed over; control, on connections of its own,
    /// waits behind no more of them than the link's queue holds: the rest waits in the lanes' sockets.
    /// (Turns of 16 KiB that a relay gives each waiting flow before it are left out.)
    mutating func deliver(
        bytes count: Int, from: RegionID, to: RegionID, sender: Node, isControl: Bool = false,
        now: Int64, after: Int64
    ) -> Int64 {
        guard from != to else {
            return local[Int(sender.code)].reserve(bytes: count, now: now, after: after).deliver
        }
        let index = pair(from, to)
        bytes[index] += UInt64(count)
        var due =
            isControl
            ? links[index].reserveBesideWaiting(bytes: count, now: now, after: after).deliver
            : links[index].reserve(bytes: count, now: now, after: after).deliver
        // A slow link takes its share more often and is further away.
        for _ in 0..<(3 * slow[index]) {
            due =
                isControl
                ? links[index].reserveBesideWaiting(bytes: count, now: now, after: due).deliver
                : links[index].reserve(bytes: count, now: now, after: due).deliver
        }
        peakQueue[index] = max(peakQueue[index], links[index].queuedBytes(at: now))
        return due
    }

    /// Bytes that cross a link beside any frame: greetings and handshakes.
    mutating func count(bytes count: Int, from: RegionID, to: RegionID) {
        guard from != to else { return }
        bytes[pair(from, to)] += UInt64(count)
    }

    func oneWay(_ from: RegionID, _ to: RegionID) -> Int64 {
        from == to ? Self.localDelay : links[pair(from, to)].parameters.oneWayNanoseconds
    }

    func linkUse(_ from: RegionID, _ to: RegionID) -> (bytes: UInt64, peakQueue: Int) {
        (bytes[pair(from, to)], peakQueue[pair(from, to)])
    }

    // MARK: Faults

    mutating func cut(_ from: RegionID, _ to: RegionID, by change: Int) {
        cuts[pair(from, to)] += change
    }

    mutating func cut(_ node: Node, outwards: Bool, by change: Int) {
        if outwards {
            cutOut[Int(node.code)] += change
        } else {
            cutIn[Int(node.code)] += change
        }
    }

    mutating func block(_ dialler: Int, _ acceptor: Int, by change: Int) {
        blocked[[dialler, acceptor], default: 0] += change
    }

    func isBlocked(_ dialler: Int, _ acceptor: Int) -> Bool {
        blocked[[dialler, acceptor], default: 0] > 0
    }

    mutating func slowDown(_ from: RegionID, _ to: RegionID, by change: Int) {
        slow[pair(from, to)] += change
    }

    func isCut(from: RegionID, _ sender: Node, to: RegionID, _ receiver: Node) -> Bool {
        cuts[pair(from, to)] > 0 || cutOut[Int(sender.code)] > 0 || cutIn[Int(receiver.code)] > 0
    }
}
