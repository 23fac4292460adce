internal import ClusterModel
internal import Foundation
internal import ZeroMQ

/// Measures an emulated link against its own parameters: the validation table of docs/links.md. Real
/// sockets and kernel TCP; every case has a link of its own.
package final class LinkVerifier {
    let mode: LinkMode
    let seed: UInt64
    let parts: [LinkPart]
    /// Told of every row as it is done.
    private let progress: (LinkCheck) -> Void
    private var checks: [LinkCheck] = []
    private var worstLateness: Int64 = 0

    package init(
        mode: LinkMode, parts: [LinkPart] = LinkPart.allCases, seed: UInt64 = 1,
        progress: @escaping (LinkCheck) -> Void = { _ in }
    ) {
        self.mode = mode
        self.seed = seed
        self.parts = parts
        self.progress = progress
    }

    /// - Throws: `RelayError` when a link cannot be set up or a connection breaks.
    package func run() throws -> LinkVerification {
        let start = MonotonicClock.now()
        for part in parts { try measure(part) }
        return LinkVerification(
            mode: mode, seed: seed, seconds: Double(MonotonicClock.now() - start) / 1e9,
            checks: checks, worstLatenessMilliseconds: Double(worstLateness) / 1e6)
    }

    private func measure(_ part: LinkPart) throws {
        switch part {
        case .idle: try idle()
        case .jitter: try jitter()
        case .rates: try rates()
        case .sharing: try sharing()
        case .transfers: try transfers()
        case .load: try load()
        case .duplex: try duplex()
        case .schedule: try schedule()
        case .transit: try transit()
        case .limits: if mode == .relay { try backPressure() } else { try losses() }
        }
    }

    // MARK: - Helpers

    func add(_ check: LinkCheck) {
        checks.append(check)
        progress(check)
    }

    @discardableResult
    func with<Value>(
        _ link: TestLink, _ body: (any LinkUnderTest) throws -> Value
    ) throws -> (value: Value, report: RelayReport?) {
        let running = try link.start(mode, seed: seed)
        let value: Value
        do { value = try body(running) } catch {
            _ = running.stop()
            throw error
        }
        let report = running.stop()
        worstLateness = max(
            worstLateness, report?.aToB.worstLatenessNanoseconds ?? 0,
            report?.bToA.worstLatenessNanoseconds ?? 0)
        return (value, report)
    }

    /// A link with a queue of one bandwidth-delay product, at least 64 KiB.
    static func parameters(
        megabits: Double, oneWayMilliseconds: Double, jitterMilliseconds: Double = 0,
        queueBytes: Int? = nil, loss: LossParameters? = nil
    ) -> LinkParameters {
        let product = Int(megabits * 1e6 / 8 * 2 * oneWayMilliseconds / 1e3)
        return LinkParameters(
            bitsPerSecond: UInt64(megabits * 1e6),
            oneWayNanoseconds: Int64(oneWayMilliseconds * 1e6),
            jitterNanoseconds: Int64(jitterMilliseconds * 1e6),
            queueLimitBytes: queueBytes ?? max(product, 64 * 1024), loss: loss)
    }

    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    func payload(_ megabits: Double) -> Double { megabits * 1e6 * mode.payloadShare }

    /// Payload bits per second of each flow from `side` after a warm-up.
    private func throughput(
        _ link: any LinkUnderTest, flows count: Int, from side: RelaySide = .a, warm: Double,
        seconds: Double
    ) throws -> [Double] {
        let flows = try (0..<count).map { _ in try TestFlow(link, from: side) }
        let start = MonotonicClock.now() + Int64(warm * 1e9)
        let end = start + Int64(seconds * 1e9)
        return try LinkMeasures.saturate(flows, seconds: warm + seconds + 0.2)
            .map { $0.rate(from: start, to: end) }
    }

    // MARK: - Cases

    private func idle() throws {
        for oneWay in [1.0, 15, 75] {
            let link = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: oneWay))
            let samples = try with(link) { try LinkMeasures.roundTrips($0, count: 15) }.value
            add(
                .roundTrip(
                    "idle round trip, \(Figures.significant(oneWay)) ms one way",
                    expected: 2 * oneWay / 1e3, measured: Self.median(samples)))
        }
    }

    private func jitter() throws {
        let link = TestLink(
            Self.parameters(megabits: 100, oneWayMilliseconds: 15, jitterMilliseconds: 5))
        let samples = try with(link) {
            try LinkMeasures.roundTrips($0, count: 100)
        }.value
        let mean = samples.reduce(0, +) / Double(samples.count)
        add(.roundTrip("mean round trip, 15 ms + 0...5 ms jitter", expected: 0.035, measured: mean))
        add(
            .roundTrip(
                "  longest", expected: 0.040, measured: samples.max() ?? 0, rule: .atMost))
        // Of 100 sums of two uniform numbers one is above 0.83 of the range with certainty 0.997.
        add(
            .roundTrip(
                "  spread", expected: 0.0055, measured: (samples.max() ?? 0) - (samples.min() ?? 0),
                rule: .atLeast))
    }

    private func rates() throws {
        for (megabits, oneWay, flows) in [(10.0, 15.0, 1), (100, 15, 1), (1000, 5, 4)] {
            let link = TestLink(Self.parameters(megabits: megabits, oneWayMilliseconds: oneWay))
            let rates = try with(link) {
                try throughput($0, flows: flows, warm: 1.5, seconds: 3)
            }.value
            add(
                .rate(
                    "goodput, \(Figures.significant(megabits)) Mbit/s, "
                        + (flows == 1 ? "1 flow" : "\(flows) flows"),
                    expected: payload(megabits), measured: rates.reduce(0, +)))
        }
    }

    private func sharing() throws {
        let link = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: 15))
        let rates = try with(link) {
            try throughput($0, flows: 8, warm: 3, seconds: 5)
        }.value
        let sum = rates.reduce(0, +)
        add(.rate("8 flows on 100 Mbit/s, sum", expected: payload(100), measured: sum))
        let squares = rates.reduce(0) { $0 + $1 * $1 }
        let jain = squares > 0 ? sum * sum / (Double(rates.count) * squares) : 0
        // The relay serves flows in turn; over one queue kernel TCP shares as it can.
        add(
            LinkCheck(
                "  Jain's index", .index, expected: mode == .relay ? 0.95 : 0.7, measured: jain,
                rule: .atLeast, tolerance: 0))
    }

    private func transfers() throws {
        let rate = 200.0
        let oneWay = 0.015
        let link = TestLink(
            Self.parameters(megabits: rate, oneWayMilliseconds: oneWay * 1e3))
        for (name, bytes) in [
            ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20), ("64 MiB", 64 << 20),
        ] {
            let seconds = try with(link) { try LinkMeasures.transfer($0, bytes: bytes) }.value
            let pace = Double(bytes) * 8 / payload(rate)
            // A relay has no slow start. A kernel starts with ten packets and doubles each round trip.
            let start = mode == .relay ? 0 : Self.slowStart(bytes, rate: payload(rate), oneWay)
            let expected = oneWay + pace + start
            let slack = mode == .relay ? 0 : 2 * oneWay
            add(
                LinkCheck(
                    "\(name) at \(Int(rate)) Mbit/s, 30 ms, new connection", .milliseconds,
                    expected: expected * 1e3, measured: seconds * 1e3,
                    tolerance: max(2, expected * 1e3 * 0.05) + slack * 1e3))
        }
    }

    /// Time in which the link idles while a window that begins at ten packets and doubles with each
    /// round trip grows to the bandwidth-delay product.
    static func slowStart(_ bytes: Int, rate: Double, _ oneWay: Double) -> Double {
        let roundTrip = 2 * oneWay
        var window = 10.0 * 1448
        var left = Double(bytes)
        var idle = 0.0
        while left > window, window * 8 < rate * roundTrip {
            idle += roundTrip - window * 8 / rate
            left -= window
            window *= 2
        }
        return idle
    }

    private func load() throws {
        let queue = 250_000
        let link = TestLink(
            Self.parameters(megabits: 100, oneWayMilliseconds: 15, queueBytes: queue))
        let (samples, report) = try with(link) { link in
            let flows = [try TestFlow(link, from: .a)]
            var samples: [Double] = []
            _ = try LinkMeasures.saturate(flows, seconds: 4) {
                Pause.nanoseconds(1_000_000_000)
                samples = try LinkMeasures.roundTrips(link, count: 40, every: 60_000_000)
            }
            return samples
        }
        add(
            .roundTrip(
                "round trip under load, 100 Mbit/s, 30 ms + queue 20 ms", expected: 0.050,
                measured: samples.max() ?? 0, rule: .atMost))
        add(
            LinkCheck(
                "  longest queue", .kibibytes, expected: Double(queue) / 1024,
                measured: Double(report?.aToB.peakQueueBytes ?? 0) / 1024, rule: .atMost,
                tolerance: 1))
    }

    private func duplex() throws {
        var link = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: 15))
        link.bToA = Self.parameters(megabits: 40, oneWayMilliseconds: 15, queueBytes: 375_000)
        let rates = try with(link) { link in
            let flows = [try TestFlow(link, from: .a), try TestFlow(link, from: .b)]
            let start = MonotonicClock.now() + 3_000_000_000
            return try LinkMeasures.saturate(flows, seconds: 7.2)
                .map { $0.rate(from: start, to: start + 4_000_000_000) }
        }.value
        // Acknowledgements share the direction: one of 52 bytes for two packets of 1,500 that arrive
        // singly, for up to 45 that arrive in one piece. In between; the tolerance takes both ends.
        let share = mode == .relay ? 0 : 52.0 / 7500
        add(
            .rate(
                "both directions at once: 100 Mbit/s", expected: payload(100 - 40 * share),
                measured: rates[0]))
        add(
            .rate(
                "  and 40 Mbit/s back", expected: payload(40 - 100 * share), measured: rates[1]))
        var lopsided = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: 10))
        lopsided.bToA = Self.parameters(megabits: 100, oneWayMilliseconds: 40)
        let samples = try with(lopsided) { try LinkMeasures.roundTrips($0, count: 15) }.value
        add(
            .roundTrip(
                "round trip, 10 ms there and 40 ms back", expected: 0.050,
                measured: Self.median(samples)))
    }

    private func schedule() throws {
        let base = Self.parameters(megabits: 100, oneWayMilliseconds: 15)
        var slower = LinkChange(at: .milliseconds(4_000))
        slower.rate = 20_000_000
        var outage = LinkChange(at: .milliseconds(9_000))
        outage.isOutage = true
        outage.duration = .milliseconds(1_000)
        var link = TestLink(base)
        link.aToBSchedule = LinkSchedule([slower, outage], over: base)
        link.bToASchedule = LinkSchedule([outage], over: base)
        let origin = MonotonicClock.now()
        let log = try with(link) { link in
            try LinkMeasures.saturate([try TestFlow(link, from: .a)], seconds: 12)[0]
        }.value
        func rate(_ from: Double, _ to: Double) -> Double {
            log.rate(from: origin + Int64(from * 1e9), to: origin + Int64(to * 1e9))
        }
        add(.rate("schedule: 100 Mbit/s", expected: payload(100), measured: rate(1.5, 3.9)))
        add(.rate("  20 Mbit/s from 4 s on", expected: payload(20), measured: rate(6.5, 8.9)))
        // TCP probes a dead path at growing intervals: it may see the end of the outage late, by at
        // most as long again and a time-out.
        add(
            LinkCheck(
                "  outage of 1 s", .seconds, expected: 1, measured: log.longestGap, rule: .atLeast,
                tolerance: 0.05))
        add(
            LinkCheck(
                "  its longest effect", .seconds, expected: mode == .relay ? 1 : 2.2,
                measured: log.longestGap, rule: .atMost, tolerance: 0.1))
    }

    private func transit() throws {
        var link = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: 10))
        link.second = Self.parameters(megabits: 40, oneWayMilliseconds: 5)
        let samples = try with(link) { try LinkMeasures.roundTrips($0, count: 15) }.value
        add(
            .roundTrip(
                "round trip over a transit region, 10 + 5 ms one way", expected: 0.030,
                measured: Self.median(samples)))
        let rates = try with(link) { try throughput($0, flows: 1, warm: 2, seconds: 3) }.value
        add(.rate("  goodput, 100 and 40 Mbit/s", expected: payload(40), measured: rates[0]))
    }

    private func backPressure() throws {
        let parameters = Self.parameters(megabits: 100, oneWayMilliseconds: 15)
        let link = TestLink(parameters)
        let accepted = try with(link) { try LinkMeasures.accepted($0) }.value
        // What is on the link, and at most the kernel's buffers on the way: the sender's, the relay's
        // two, the receiver's, each twice what was asked for.
        let held = Double(RelayLimits.flowBytes(parameters)) / 1024
        let buffers = 4 * (RelayLimits.socketBufferBytes + LinkMeasures.acceptedBuffers)
        add(
            LinkCheck(
                "bytes taken from a sender whose receiver does not read", .kibibytes,
                expected: held, measured: Double(accepted) / 1024, rule: .atMost,
                tolerance: Double(buffers) / 1024))
    }

    /// Datagrams, because TCP hides losses: 40,000, numbered, 20,000 in a second.
    private func losses() throws {
        let count = 40_000
        for (name, loss) in [
            ("random loss of 1 %", LossParameters.random(perBillion: 10_000_000)),
            ("bursty loss of 5 %", .bursts(perBillion: 50_000_000, meanLength: 8)),
        ] {
            var link = TestLink(Self.parameters(megabits: 100, oneWayMilliseconds: 5))
            link.aToB.loss = loss
            let arrived = try with(link) { try LinkMeasures.datagrams($0, count: count) }.value
            let lost = arrived.filter { !$0 }.count
            let bursts = zip([true] + arrived, arrived).filter { $0 && !$1 }.count
            let mean = 1 / (Double(loss.badToGood) / 1e9)
            // Three standard deviations; a burst counts as one event.
            let events = Double(count) * loss.meanLoss / mean
            add(
                LinkCheck(
                    name, .percent, expected: loss.meanLoss * 100,
                    measured: Double(lost) / Double(count) * 100,
                    tolerance: 3 * 100 * loss.meanLoss * (2 / events).squareRoot()))
            add(
                LinkCheck(
                    "  mean length of a loss", .packets,
                    expected: mean > 1 ? mean : 1 / (1 - loss.meanLoss),
                    measured: Double(lost) / Double(max(1, bursts)),
                    tolerance: mean > 1 ? 3 * mean / events.squareRoot() : 0.1))
        }
    }
}
