package import ClusterModel
import WireProtocol

/// Every limit of the machines, with its reason. Frame limits are in `ProtocolLimits`.
package enum CoordinationLimits {
    /// Payload bytes a peer may have under way to us, on all its lanes together, where the link is not
    /// known: 32 full chunks. Memory is bounded by peers x this.
    package static let laneWindowBytes: UInt64 = 8 << 20
    /// Where rate and delay are known the window is twice what the link holds in a round trip, but not
    /// less than four full chunks, so that one is on its way while others are reduced ...
    package static let laneWindowMinimum: UInt64 = 1 << 20
    /// ... unless all pairs of workers across the link could then fill it for longer than this: a fifth
    /// of the silence that evicts. Two chunks are the least: one that moves, and ``creditForMeans(of:)``. It
    /// lowers the minimum only: what a link holds in two round trips stays, whatever the number of pairs ...
    package static let laneStandingLimit = Interval.seconds(3)
    /// ... and not more than this: 1 Gbit/s over 250 ms.
    package static let laneWindowMaximum: UInt64 = 64 << 20

    /// Twice the bandwidth-delay product of a link, within the bounds above. Control has connections of
    /// its own; what waits in front of a heartbeat is the link's queue, or, where that is larger, at most
    /// `pairs` x window / rate, and with several lanes up to two chunks more for each lane and pair.
    /// Where the round trip is long, the rate low or pairs are many that is more than `laneStandingLimit`:
    /// 16 pairs over 5 Mbit/s have 524 kB each, 13.4 s together, one pair over 200 kbit/s 21 s.
    ///
    /// - Parameter pairs: pairs of workers with a worker on each side.
    package static func laneWindow(over link: Topology.Link?, pairs: Int = 1) -> UInt64 {
        guard let link, link.rate > 0 else { return laneWindowBytes }
        let perSecond = Double(link.rate) / 8
        let roundTrip = Double(2 * link.oneWayDelay.nanoseconds) / 1e9
        let held = UInt64(2 * perSecond * roundTrip)
        let standing = UInt64(perSecond * laneStandingLimit.seconds) / UInt64(max(1, pairs))
        let least = min(laneWindowMinimum, max(2 * chunk, standing))
        return min(max(held, least), laneWindowMaximum)
    }
    /// Of a window of the first lane, what contributions and tokens leave to means: one chunk where there
    /// are two. Both ends have the same window. With all of it they could hold up the very means without
    /// which the receiver does not take them: a replica lets turns go when it has applied others, and not
    /// all have as many in flight. (A quarter of each lane's cost .06 of a full link's rate under CUBIC.)
    package static func creditForMeans(of window: UInt64) -> UInt64 {
        min(chunk, window - min(window, chunk))
    }
    /// The payload of the largest frame.
    private static let chunk = UInt64(ProtocolLimits.dataPayloadBytes)

    /// One lane's share of a window: whole chunks, and one more, because credit comes back chunk by chunk
    /// while the lanes' chunks arrive interleaved (8 lanes with two chunks each reached 50 MB/s of a
    /// link that one lane with the whole window filled to 60). The shares together exceed the window by
    /// less than two chunks for each lane. Before the number is
    /// decided (0) the first lane has it all, and keeps what it was granted until that is used up.
    package static func laneShare(of window: UInt64, lanes: UInt16) -> UInt64 {
        let count = UInt64(lanes)
        guard count > 1 else { return window }
        return ((window + count * chunk - 1) / (count * chunk) + 1) * chunk
    }
    /// Lanes to a far peer where nothing asks for more: each starts slowly by itself, and a lost packet
    /// halves one quarter of the traffic.
    package static let defaultLanes: UInt16 = 4
    /// The most where no packets are lost.
    package static let losslessLanes: UInt16 = 8
    /// A round trip this short is no distance: one connection fills it.
    package static let nearRoundTrip = Interval.milliseconds(2)
    /// Pieces of state (256 KiB) a joiner asks one source of its region for ahead of its answers: few, so
    /// that sources share what there is; a trainer reads one in a tenth of a millisecond.
    package static let nearStatePiecesAhead = 4
    /// The same over a link with such a window: what the link holds in a round trip and one more, so that
    /// it stays full; no more than a trainer should have to read at once.
    package static func statePiecesAhead(_ window: UInt64) -> Int {
        Int(min(window / 2 / UInt64(4 * CollectiveGeometry.chunkElements), 31)) + 1
    }
    /// The same where a simulator sends whole slices: no slice is larger, so nothing waits for credit.
    package static let wholeSliceWindowBytes: UInt64 = 1 << 44
    /// How many times in its life a lane asks for what went missing on it: a ROUTER that has dropped a
    /// message under pressure does it rarely, a peer that miscounts does it for ever.
    package static let laneRepairs = 3
    /// After this long without a frame what went missing is asked for once more: longer than a round trip
    /// and the queues of both ways on most links, and three times this is the silence that evicts.
    package static let laneWatch = Interval.seconds(5)
    /// Of so many watches of a broken lane one tells the coordinator again: every `laneOpening`.
    package static let laneBrokenWatches = 4
    /// Messages the lanes to one peer may hold. A round of 10^9 parameters over two owners is 7,630
    /// chunks per peer; more than this is a machine that keeps enqueuing without looking.
    package static let laneQueueMessages = 65_536
    /// Bits a second that a peer's report can make a link carry: more than any does.
    package static let rateMost = 1e15
    /// Steps of a worker behind a rate that plans are made from: one step says little.
    package static let balanceSteps = 4
    /// How much shorter a region's step must become for a new plan, which costs every member a pause of
    /// a round trip or two. Noise below it changes nothing.
    package static let balanceGain = 0.05
    /// A link's present transform stays while it would fit at a rate this much higher ...
    package static let codecMargin = 1.1
    /// ... and a more precise one comes when it would fit at this share of the measured rate ...
    package static let codecCaution = 0.7
    /// ... at so many commits in a row, of whatever fragments: a link that has come back may go again.
    package static let codecPatience = 3
    /// An expert's period changes where its load is beyond the bound by this factor.
    package static let expertMargin = 1.25
    /// What earlier rounds' loads keep of their weight with each round.
    package static let expertMemory = 0.75
    /// Rounds with known loads before experts are left out for the first time, and before a busier one is
    /// back: fewer say little.
    package static let expertPatience: UInt32 = 3
    /// Share of the model's values that longer periods must save: a plan costs a round of all of them.
    package static let expertGain = 0.05
    /// Rounds with known loads before experts get owners, and half of those before owners change again.
    package static let crossingPatience: UInt32 = 2
    /// A budget of tokens changes when it is wrong by this factor.
    package static let crossingMargin = 1.25
    /// After so many times without tokens that came the pause does not get longer: 2^4 rounds.
    package static let crossingPauseMost: UInt32 = 4
    /// How many steps of its own a worker waits for tokens of another region before it says so, and at least
    /// so many times ``RunConfiguration/Deadlines/patience``: who trains is slower at times, and evaluates.
    package static let tokenPatienceSteps: Int64 = 8
    package static let tokenPatience: Int64 = 2
    /// A wait that does not change is said again after pauses that double, up to so many patiences: who looks
    /// in later still finds it on the screen.
    package static let waitPauseMost: Int64 = 16
    /// Heartbeats are small: two a patience would already do, one a second shows progress.
    package static let heartbeatInterval = Interval.seconds(1)
    /// The coordinator's own probe. ROUTER says "unreachable" only when something is sent, so this bounds
    /// the time until a reset connection is noticed.
    package static let probeInterval = Interval.milliseconds(500)
    /// Nobody is silent between two heartbeats, whatever the patience: after this long one has been missed.
    package static let shortestSilence = Interval.seconds(3)
    /// First repeat of an unanswered HELLO; doubles up to the maximum.
    package static let helloRetryMinimum = Interval.milliseconds(500)
    package static let helloRetryMaximum = Interval.seconds(8)
    /// Repeats of a report nobody acknowledged with a COMMIT.
    package static let reportRetry = Interval.seconds(2)
    /// How many longest graces a late contribution waits for a round that somebody else begins: with the
    /// default grace two rounds of the fastest replica.
    package static let latePatience: Int64 = 8
    /// How far ahead of its own round an owner accepts contributions: a peer can have finished the
    /// round this worker is still in, and no more.
    package static let roundsAhead: UInt32 = 2
    /// How many times the silence limit the last holders of a committed round may be silent while others
    /// wait for their state: without them the run falls back, and on a slow link their heartbeats may
    /// queue behind that very state.
    package static let lastHolderPatience: Int64 = 8
    /// How many times the silence limit a region may be silent as a whole: its link is down more likely
    /// than all its machines are, and an eviction would cost every one of them a transfer of state.
    package static let cutOffPatience: Int64 = 3
    /// A timer that fires this much late means that *this* process stood still (stopped, swapped,
    /// suspended); silence of others in that time proves nothing.
    package static let ownStall = Interval.seconds(2)
    /// How long a lane may take to open before the peer's own is used instead, or the coordinator is told
    /// that there is none. Longer than the silence that evicts: a dead peer must not look unreachable.
    package static let laneOpening = Interval.seconds(20)
    /// From the first such report to the plan that answers it: others say the same in the same second.
    package static let unreachableCollection = Interval.seconds(2)
    /// How long a leaving worker waits for BYE before it goes without.
    package static let byeWait = Interval.seconds(3)
    /// How long the coordinator waits for the last LEAVE after STOP.
    package static let stopWait = Interval.seconds(30)
    /// Events a worker keeps while there is no coordinator to send them to; older ones go first.
    package static let eventBacklog = 4_096
}
