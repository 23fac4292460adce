import ClusterModel
import Testing

/// Rates and delays that change, integrated exactly.
struct LinkScheduleTests {
    private static let second: Int64 = 1_000_000_000
    private let base = LinkParameters(
        bitsPerSecond: 8_000_000, oneWayNanoseconds: 1_000, queueLimitBytes: 1_000_000)

    private func phase(_ start: Int64, _ rate: UInt64, down: Bool = false, oneWay: Int64 = 1_000)
        -> LinkSchedule.Phase
    {
        .init(start: start, bitsPerSecond: rate, oneWayNanoseconds: oneWay, isDown: down)
    }

    @Test func aConstantScheduleIsTheFormula() throws {
        let schedule = try #require(
            LinkSchedule(phases: [phase(0, 8_000_000), phase(77_777, 8_000_000)], period: 100_003))
        var plain = LinkClock(base, seed: 3)
        var scheduled = LinkClock(base, seed: 3, schedule: schedule, origin: 500)
        var generator = SeededGenerator(seed: 9)
        var now: Int64 = 500
        for _ in 0..<2_000 {
            let bytes = Int(generator.integer(below: 3_000))
            now += Int64(generator.integer(below: 2_000_000))
            let a = plain.reserve(bytes: bytes, now: now)
            let b = scheduled.reserve(bytes: bytes, now: now)
            #expect(a == b)
            #expect(plain.queuedBytes(at: now) == scheduled.queuedBytes(at: now))
        }
    }

    @Test func aTransferCrossesPhases() throws {
        // 1 byte per microsecond, then a tenth of it.
        let schedule = try #require(
            LinkSchedule(phases: [phase(0, 8_000_000), phase(1_000_000, 800_000, oneWay: 5)]))
        var clock = LinkClock(base, seed: 1, schedule: schedule)
        let delivery = clock.reserve(bytes: 1_100, now: 0)
        #expect(delivery.depart == 2_000_000)
        #expect(delivery.deliver == 2_000_005)
        #expect(clock.queuedBytes(at: 1_000_000) == 100)
        #expect(clock.queuedBytes(at: 500_000) == 600)
        #expect(clock.queuedBytes(at: 2_000_000) == 0)
    }

    @Test func nothingDepartsDuringAnOutage() throws {
        var outage = LinkChange(at: Interval(nanoseconds: 1_000_000))
        outage.isOutage = true
        outage.duration = Interval(nanoseconds: 3_000_000)
        let schedule = try #require(LinkSchedule([outage], over: base))
        var clock = LinkClock(base, seed: 1, schedule: schedule)
        #expect(clock.reserve(bytes: 400, now: 0).depart == 400_000)
        #expect(clock.reserve(bytes: 700, now: 0).depart == 4_100_000)
        #expect(clock.queuedBytes(at: 2_000_000) == 100)
        #expect(clock.reserve(bytes: 10, now: 2_000_000).depart == 4_110_000)
    }

    @Test func roomIsThereWhenItIsSaidToBe() throws {
        let schedule = try #require(
            LinkSchedule(
                phases: [
                    phase(0, 8_000_000), phase(300_000, 80_000_000), phase(400_000, 0, down: true),
                ], period: 1_000_000))
        let small = LinkParameters(
            bitsPerSecond: 8_000_000, oneWayNanoseconds: 0, queueLimitBytes: 5_000)
        var clock = LinkClock(small, seed: 1, schedule: schedule)
        var generator = SeededGenerator(seed: 4)
        var now: Int64 = 0
        for _ in 0..<3_000 {
            let bytes = 1 + Int(generator.integer(below: 2_000))
            if !clock.canAccept(bytes: bytes, now: now) {
                let room = clock.acceptTime(bytes: bytes)
                #expect(room > now)
                now = room
                // Rounding of queued bytes and of the instant: within a few nanoseconds.
                #expect(clock.canAccept(bytes: bytes, now: now + 1_000))
                // Where a phase begins there was room all through an outage before it.
                if now % 1_000_000 > 2_000, (now % 1_000_000 - 400_000).magnitude > 2_000 {
                    #expect(!clock.canAccept(bytes: bytes, now: now - 2_000))
                }
                now += 1_000
            }
            _ = clock.reserve(bytes: bytes, now: now)
        }
    }

    @Test func aLinkDownForEverIsNoTrap() throws {
        let schedule = try #require(LinkSchedule(phases: [phase(0, 0, down: true)]))
        var clock = LinkClock(base, seed: 1, schedule: schedule)
        let delivery = clock.reserve(bytes: 1, now: 0)
        #expect(delivery.depart > 3_000_000 * Self.second)
        #expect(clock.reserve(bytes: 1, now: 5).depart >= delivery.depart)
    }

    @Test func changesLieOverTheLinksOwnParameters() throws {
        var slow = LinkChange(at: .seconds(10))
        slow.rate = 1_000_000
        var far = LinkChange(at: .seconds(20))
        far.oneWay = .milliseconds(40)
        far.duration = .seconds(5)
        var reset = LinkChange(at: .seconds(1))
        reset.reset = .one
        let schedule = try #require(LinkSchedule([slow, far, reset], over: base))
        #expect(schedule.phases.map(\.start) == [0, 10, 20, 25].map { $0 * Self.second })
        #expect(
            schedule.phases.map(\.bitsPerSecond) == [8_000_000, 1_000_000, 1_000_000, 1_000_000])
        #expect(schedule.phases.map(\.oneWayNanoseconds) == [1_000, 1_000, 40_000_000, 1_000])
        #expect(LinkSchedule([reset], over: base) == nil)
    }

    @Test func resetsRepeat() {
        var reset = LinkChange(at: .seconds(2))
        reset.reset = .all
        #expect(reset.nextReset(after: -1) == 2 * Self.second)
        #expect(reset.nextReset(after: 2 * Self.second) == nil)
        reset.every = .seconds(3)
        #expect(reset.nextReset(after: 2 * Self.second) == 5 * Self.second)
        #expect(reset.nextReset(after: 9 * Self.second) == 11 * Self.second)
    }

    @Test func badSchedulesAreRefused() {
        #expect(LinkSchedule(phases: []) == nil)
        #expect(LinkSchedule(phases: [phase(5, 8_000_000)]) == nil)
        #expect(LinkSchedule(phases: [phase(0, 999)]) == nil)
        #expect(LinkSchedule(phases: [phase(0, 0, down: true)], period: 10) == nil)
        #expect(
            LinkSchedule(phases: [phase(0, 0), phase(10, 8_000_000)], period: 10) == nil)
    }
}

/// A measured rate over time, from text.
struct RateTraceTests {
    @Test func twoColumnsAreSecondsAndMegabits() throws {
        let trace = try RateTrace(text: "# measured\n0 10\n0.5\t20 # faster\n\n1.5, 0\r\n")
        #expect(trace.steps.map(\.start) == [0, 500_000_000, 1_500_000_000])
        #expect(trace.steps.map(\.bitsPerSecond) == [10_000_000, 20_000_000, 0])
        #expect(trace.period == 2_500_000_000)
        #expect(trace.meanBitsPerSecond == 10e6)
        let schedule = try #require(trace.schedule(oneWayNanoseconds: 7))
        #expect(schedule.phases.map(\.isDown) == [false, false, true])
    }

    @Test func oneColumnIsMahimahi() throws {
        // One packet in the first millisecond, none in the second, two in the third.
        let trace = try RateTrace(text: "1\n3\n3\n")
        #expect(trace.steps.map(\.start) == [0, 1_000_000, 2_000_000])
        #expect(trace.steps.map(\.bitsPerSecond) == [12_000_000, 0, 24_000_000])
        #expect(trace.period == 3_000_000)
    }

    @Test func aTraceRepeats() throws {
        let trace = try RateTrace(text: "0 8\n1 0\n")
        let schedule = try #require(trace.schedule(oneWayNanoseconds: 0))
        var clock = LinkClock(
            LinkParameters(
                bitsPerSecond: 8_000_000, oneWayNanoseconds: 0, queueLimitBytes: 1 << 30),
            seed: 1, schedule: schedule)
        // A million bytes in each even second.
        #expect(clock.reserve(bytes: 1_000_000, now: 0).depart == 1_000_000_000)
        #expect(clock.reserve(bytes: 1_500_000, now: 0).depart == 4_500_000_000)
    }

    @Test(arguments: [
        ("", 1, "empty"), ("0 ten", 1, "expected"), ("0 10\n0 20", 2, "ascend"),
        ("0 0\n1 0", 1, "nothing"), ("3\n2", 2, "ascend"), ("0 10\n5", 2, "expected"),
        ("0 0.0001", 1, "Mbit/s"), ("0 -1", 1, "expected"), ("1.5", 1, "whole"),
    ])
    func mistakesAreNamed(text: String, line: Int, says: String) {
        let error = #expect(throws: RateTraceError.self) { try RateTrace(text: text) }
        #expect(error?.line == line)
        #expect(error?.problem.contains(says) == true, "\(error?.problem ?? "")")
    }
}

/// Share and length of losses, over enough packets for the seed not to matter.
struct LossModelTests {
    private func lost(_ parameters: LossParameters, _ count: Int, seed: UInt64) -> [Bool] {
        var model = LossModel(parameters, seed: seed)
        return (0..<count).map { _ in model.losesNext() }
    }

    @Test func randomLossHasItsShare() {
        let lost = lost(.random(perBillion: 10_000_000), 1_000_000, seed: 5)
        let share = Double(lost.filter(\.self).count) / 1e6
        #expect(abs(share - 0.01) < 0.0006)
    }

    @Test func burstsHaveTheirShareAndLength() {
        let parameters = LossParameters.bursts(perBillion: 20_000_000, meanLength: 8)
        #expect(abs(parameters.meanLoss - 0.02) < 1e-6)
        let lost = lost(parameters, 1_000_000, seed: 5)
        let count = lost.filter(\.self).count
        let bursts = zip([false] + lost, lost).filter { !$0 && $1 }.count
        #expect(abs(Double(count) / 1e6 - 0.02) < 0.003)
        #expect(abs(Double(count) / Double(bursts) - 8) < 0.8)
    }

    @Test func bothStatesMayLose() {
        let parameters = LossParameters(
            goodToBad: 1_000_000, badToGood: 100_000_000, lossInGood: 1_000_000,
            lossInBad: 500_000_000)
        let share = Double(lost(parameters, 2_000_000, seed: 1).filter(\.self).count) / 2e6
        #expect(abs(share - parameters.meanLoss) < 0.0008)
        #expect(lost(parameters, 1_000, seed: 2) == lost(parameters, 1_000, seed: 2))
    }

    @Test func withoutLossNothingIsLost() {
        #expect(!lost(.random(perBillion: 0), 10_000, seed: 1).contains(true))
    }
}
