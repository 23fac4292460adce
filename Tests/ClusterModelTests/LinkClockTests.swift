import ClusterModel
import Testing

@Suite("LinkClock")
struct LinkClockTests {
    private let wan = LinkParameters(
        bitsPerSecond: 100_000_000, oneWayNanoseconds: 15_000_000, queueLimitBytes: 1_000_000)

    @Test("an idle link serialises, then propagates")
    func idle() {
        var clock = LinkClock(wan, seed: 1)
        // 1,250 bytes = 10,000 bits = 100 us at 100 Mbit/s.
        let first = clock.offer(bytes: 1250, now: 1_000)
        #expect(first?.depart == 101_000)
        #expect(first?.deliver == 15_101_000)
        let second = clock.offer(bytes: 1250, now: 50_000)
        #expect(second?.depart == 201_000, "the second waits for the first")
        let third = clock.offer(bytes: 1250, now: 900_000)
        #expect(third?.depart == 1_000_000, "the link was idle in between")
    }

    @Test("fractions of a nanosecond are carried: a busy link has exactly its rate")
    func noDrift() {
        let parameters = LinkParameters(
            bitsPerSecond: 7_000_000_001, oneWayNanoseconds: 0, queueLimitBytes: 1 << 30)
        var clock = LinkClock(parameters, seed: 1)
        var total = 0
        var last: Int64 = 0
        for index in 0..<100_000 {
            let bytes = 1 + index % 1500
            total += bytes
            last = clock.reserve(bytes: bytes, now: 0).depart
        }
        #expect(last == Int64(total) * 8_000_000_000 / 7_000_000_001)
    }

    @Test("the queue refuses what does not fit and says when it will")
    func queueLimit() throws {
        var clock = LinkClock(wan, seed: 1)
        #expect(clock.offer(bytes: 600_000, now: 0) != nil)
        #expect(clock.queuedBytes(at: 0) == 600_000)
        #expect(clock.offer(bytes: 400_001, now: 0) == nil)
        #expect(clock.queuedBytes(at: 0) == 600_000, "a refusal changes nothing")
        let later = clock.acceptTime(bytes: 400_001)
        #expect(!clock.canAccept(bytes: 400_001, now: later - 1))
        #expect(clock.canAccept(bytes: 400_001, now: later))
        #expect(clock.offer(bytes: 400_001, now: later) != nil)
        // Half of it has departed after half the time.
        #expect(clock.queuedBytes(at: later + 40_000_000) == 500_000)
    }

    @Test("a transfer larger than the whole queue passes when the link is idle")
    func oversized() {
        var clock = LinkClock(wan, seed: 1)
        #expect(clock.offer(bytes: 2_000_000, now: 0)?.depart == 160_000_000)
        #expect(clock.offer(bytes: 2_000_000, now: 159_999_999) == nil)
        #expect(clock.acceptTime(bytes: 2_000_000) == 160_000_000)
        #expect(clock.offer(bytes: 2_000_000, now: 160_000_000) != nil)
    }

    @Test("rate 0 is unlimited: only the delay remains, and nothing queues")
    func unlimited() {
        var clock = LinkClock(
            LinkParameters(bitsPerSecond: 0, oneWayNanoseconds: 7, queueLimitBytes: 1), seed: 1)
        for now in [5, 5, 9] as [Int64] {
            #expect(clock.offer(bytes: 1 << 30, now: now)?.deliver == now + 7)
        }
        #expect(clock.queuedBytes(at: 0) == 0)
    }

    @Test("jitter is within its bound, reaches both ends and repeats with the seed")
    func jitter() {
        var parameters = wan
        parameters.bitsPerSecond = 0
        parameters.jitterNanoseconds = 9
        func run(_ seed: UInt64) -> [Int64] {
            var clock = LinkClock(parameters, seed: seed)
            return (0..<1000).map { now in
                clock.reserve(bytes: 1, now: now).deliver - now - parameters.oneWayNanoseconds
            }
        }
        #expect(run(3) == run(3))
        #expect(run(3) != run(4))
        #expect(Set(run(3)) == Set(0...9))
    }

    @Test("deliveries of one flow keep their order under jitter")
    func order() {
        var parameters = wan
        parameters.jitterNanoseconds = 5_000_000
        var clock = LinkClock(parameters, seed: 11)
        var last: Int64 = .min
        var reordered = 0
        for index in 0..<1000 {
            let now = Int64(index) * 1_000
            let delivery = clock.reserve(bytes: 10, now: now, after: last)
            if delivery.deliver == last { reordered += 1 }
            #expect(delivery.deliver >= last)
            last = delivery.deliver
        }
        #expect(reordered > 0, "the seed must exercise the rule")
    }

    @Test("beside a full queue of the largest size nothing overflows")
    func besideTheLargestQueue() {
        var clock = LinkClock(
            LinkParameters(
                bitsPerSecond: 10_000_000_000_000, oneWayNanoseconds: 0,
                queueLimitBytes: LinkClock.largestTransfer), seed: 1)
        for _ in 0..<2 { _ = clock.reserve(bytes: LinkClock.largestTransfer, now: 0) }
        let control = clock.reserveBesideWaiting(bytes: 100, now: 0)
        #expect(control.depart == Int64(LinkClock.largestTransfer) * 8 / 10_000)
    }

    @Test("the extremes do not overflow")
    func extremes() {
        var slow = LinkClock(
            LinkParameters(
                bitsPerSecond: 1_000, oneWayNanoseconds: LinkClock.longestDelay,
                queueLimitBytes: LinkClock.largestTransfer), seed: 1)
        let delivery = slow.reserve(bytes: LinkClock.largestTransfer, now: 0)
        #expect(delivery.depart == Int64(LinkClock.largestTransfer) * 8_000_000)
        #expect(slow.queuedBytes(at: 0) == LinkClock.largestTransfer)
        var fast = LinkClock(
            LinkParameters(
                bitsPerSecond: 10_000_000_000_000, oneWayNanoseconds: 0, queueLimitBytes: 1),
            seed: 1)
        #expect(fast.reserve(bytes: 5000, now: 0).depart == 4)
        #expect(
            !LinkParameters(bitsPerSecond: 999, oneWayNanoseconds: 0, queueLimitBytes: 1).isValid)
    }
}
