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
        func add(_ x: Interval, _ y: Interval) -> Interval {
            let (value, overflow) = x.nanoseconds.addingReportingOverflow(y.nanoseconds)
            return Interval(nanoseconds: overflow ? .max : value)
        }
        var sum = Self()
        sum.wall = add(a.wall, b.wall)
        sum.compute = add(a.compute, b.compute)
        sum.encode = add(a.encode, b.encode)
        sum.wait = add(a.wait, b.wait)
        sum.transfer = add(a.transfer, b.transfer)
        sum.decode = add(a.decode, b.decode)
        sum.apply = add(a.apply, b.apply)
        sum.recover = add(a.recover, b.recover)
        sum.paced = add(a.paced, b.paced)
        if a.processor != nil || b.processor != nil {
            sum.processor = add(a.processor ?? .zero, b.processor ?? .zero)
        }
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
    var tokenBytes: UInt64 = 0

    static let zero = LinkCount()

    init() {}

    init(_ traffic: RunEvent.Traffic) {
        bytes = traffic.bytes
        frames = traffic.frames
        resent = traffic.resent
        values = traffic.values
        encodedBytes = traffic.encodedBytes
        tokenBytes = traffic.tokenBytes ?? 0
    }

    init(_ use: RunEvent.LinkUse) {
        bytes = use.bytes
        flows = use.flows
    }

    func isRestart(after earlier: LinkCount) -> Bool { bytes < earlier.bytes }

    static func + (a: LinkCount, b: LinkCount) -> LinkCount {
        var total = LinkCount()
        total.bytes = saturatingSum(a.bytes, b.bytes)
        total.frames = saturatingSum(a.frames, b.frames)
        total.resent = saturatingSum(a.resent, b.resent)
        total.values = saturatingSum(a.values, b.values)
        total.encodedBytes = saturatingSum(a.encodedBytes, b.encodedBytes)
        total.flows = saturatingSum(a.flows, b.flows)
        total.tokenBytes = saturatingSum(a.tokenBytes, b.tokenBytes)
        return total
    }
}
