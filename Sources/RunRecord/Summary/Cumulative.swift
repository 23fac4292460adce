internal import ClusterModel

/// Counts that grow while a process lives and start again from zero with its next life.
protocol CumulativeCount {
    static var zero: Self { get }
    /// Whether `self`, told after `earlier`, belongs to a later life of the counting process.
    func isRestart(after earlier: Self) -> Bool
    static func + (a: Self, b: Self) -> Self
}

/// The sum over the lives of a counter of which each event tells the value so far.
struct Cumulative<Count: CumulativeCount> {
    private var earlierLives = Count.zero
    private var last = Count.zero

    mutating func update(_ count: Count) {
        if count.isRestart(after: last) { earlierLives = earlierLives + last }
        last = count
    }

    var total: Count { earlierLives + last }
}

extension RunEvent.TimeBudget: CumulativeCount {
    static var zero: Self { Self() }

    func isRestart(after earlier: Self) -> Bool { wall < earlier.wall }

    static func + (a: Self, b: Self) -> Self {
        var sum = Self()
        sum.wall = a.wall + b.wall
        sum.compute = a.compute + b.compute
        sum.encode = a.encode + b.encode
        sum.wait = a.wait + b.wait
        sum.transfer = a.transfer + b.transfer
        sum.decode = a.decode + b.decode
        sum.apply = a.apply + b.apply
        sum.recover = a.recover + b.recover
        sum.paced = a.paced + b.paced
        return sum
    }
}

/// What lanes or a relay counted in one direction; lanes leave the relay's fields at zero and the
/// other way round. A worker's own counters restart together with its bytes.
struct LinkCount: CumulativeCount {
    var bytes: UInt64 = 0
    var frames: UInt64 = 0
    var resent: UInt64 = 0
    var values: UInt64 = 0
    var encodedBytes: UInt64 = 0
    var flows: UInt64 = 0

    static let zero = LinkCount()

    init() {}

    init(_ traffic: RunEvent.Traffic) {
        bytes = traffic.bytes
        frames = traffic.frames
        resent = traffic.resent
        values = traffic.values
        encodedBytes = traffic.encodedBytes
    }

    init(_ use: RunEvent.LinkUse) {
        bytes = use.bytes
        flows = use.flows
    }

    func isRestart(after earlier: LinkCount) -> Bool { bytes < earlier.bytes }

    /// Saturating: a damaged log must not end the report.
    static func + (a: LinkCount, b: LinkCount) -> LinkCount {
        func sum(_ x: UInt64, _ y: UInt64) -> UInt64 {
            let (value, overflow) = x.addingReportingOverflow(y)
            return overflow ? .max : value
        }
        var total = LinkCount()
        total.bytes = sum(a.bytes, b.bytes)
        total.frames = sum(a.frames, b.frames)
        total.resent = sum(a.resent, b.resent)
        total.values = sum(a.values, b.values)
        total.encodedBytes = sum(a.encodedBytes, b.encodedBytes)
        total.flows = sum(a.flows, b.flows)
        return total
    }
}
