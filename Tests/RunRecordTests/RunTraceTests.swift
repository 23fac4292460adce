import ClusterModel
import Foundation
import RunRecord
import Testing

/// The trace of a run's record, against what can be reckoned by hand from its events.
struct RunTraceTests {
    private struct Entry: Decodable {
        var name: String
        var ph: String
        var tid: Int
        var ts: Double?
        var dur: Double?
        var args: [String: Value]?

        enum Value: Decodable {
            case number(Double)
            case text(String)
            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                self =
                    if let number = try? container.decode(Double.self) { .number(number) } else {
                        .text(try container.decode(String.self))
                    }
            }
            var number: Double? { if case .number(let number) = self { number } else { nil } }
        }
    }

    private func entries(_ events: [StampedEvent]) throws -> [Entry] {
        let text = try RunTrace.json(events)
        return try JSONDecoder().decode([Entry].self, from: Data(text.utf8))
    }

    /// Also where steps are heard of late.
    @Test(arguments: [0, 1_500_000_000])
    func everyStepIsASpanAndRoundsAreInstants(lateness: Int64) throws {
        var run = SyntheticRun()
        run.lateness = { _ in lateness }
        let entries = try entries(run.events)
        let rows = entries.filter { $0.ph == "M" }.compactMap { $0.args?["name"] }
        #expect(rows.count == 4)
        for worker in 0..<4 {
            let steps = entries.filter { $0.ph == "X" && $0.tid == worker }
            #expect(steps.map(\.name) == (1...60).map { "step \($0)" })
            // Each from the end of the one before: steps of 0.2 s, and the first of the second round with it.
            #expect(steps[1].dur == 200_000)
            let first = Double(run.startNanoseconds + run.stepNanoseconds) / 1e3
            #expect(steps[0].ts == first || lateness == 0)
            #expect(steps[30].dur == 425_000 && steps[30].ts == (steps[29].ts ?? 0) + 200_000)
        }
        let commits = entries.filter { $0.ph == "i" }.map(\.name)
        #expect(commits == ["commit of round 1, fragment 0", "commit of round 2, fragment 0"])
    }

    @Test func countersAreRatesAndSharesBetweenTwoReadings() throws {
        let run = SyntheticRun()
        let entries = try entries(run.events).filter { $0.ph == "C" }
        // Read every 5 steps; the rounds fall into the intervals that end with steps 30 and 60.
        let rates = entries.filter { $0.name == "shanghai -> jinan, Mbit/s" }
            .compactMap { $0.args?["on the link"]?.number }
        #expect(rates.count == 11)
        let expected = Double(SyntheticRun.relayBytesPerRound) * 8e-6 / 1.225
        for (index, rate) in rates.enumerated() {
            let busy = index == 4 || index == 10
            #expect(abs(rate - (busy ? expected : 0)) < 1e-6)
        }
        let shares = entries.filter { $0.name == "shanghai-1: share of time" }
        #expect(shares.count == 12)
        for (index, entry) in shares.enumerated() {
            let parts = entry.args?.values.compactMap(\.number) ?? []
            #expect(parts.count == 7 && abs(parts.reduce(0, +) - 1) < 1e-9)
            let compute = index == 5 || index == 11 ? 1 / 1.225 : 1
            #expect(abs((entry.args?["compute"]?.number ?? 0) - compute) < 1e-9)
        }
    }

    @Test func aWaitIsOneSpanHoweverOftenItIsTold() throws {
        let run = SyntheticRun()
        let told = { (at: Int64, observer: String, activity: String, since: Int64) in
            run.at(
                at,
                .waiting(
                    observer: observer, activity: activity, names: ["jinan-1"],
                    since: Instant(nanoseconds: since), until: nil, then: "go on"))
        }
        let second: Int64 = 1_000_000_000
        let waits = [
            told(4 * second, "shanghai-1", "means", 2 * second),
            told(6 * second, "shanghai-1", "means", 2 * second),
            // Besides, since before the other ended; and one of a clock that cannot be.
            told(7 * second, "shanghai-1", "a commit", 5 * second),
            told(7 * second, "coordinator", "a report", .max),
        ]
        let entries = try entries(run.events + waits)
        let rows = entries.filter { $0.ph == "M" && $0.tid >= 4 }.map(\.tid)
        #expect(rows == [4, 5])
        let spans = entries.filter { $0.ph == "X" && $0.tid >= 4 }
        #expect(spans.map(\.name) == ["means (jinan-1)", "a commit (jinan-1)"])
        #expect(spans.map(\.ts) == [2_000_000, 6_000_000])
        #expect(spans.map(\.dur) == [4_000_000, 1_000_000])
    }

    @Test func withoutARelayTheLanesOfARegionAddUp() throws {
        let run = SyntheticRun()
        let events = run.events.filter { if case .linkUse = $0.event { false } else { true } }
        let rates = try entries(events).filter { $0.name == "shanghai -> jinan, Mbit/s" }
            .compactMap { $0.args?["handed to the lanes"]?.number }
        // Two workers with half of a round's bytes each.
        let expected = Double(SyntheticRun.bytesPerRound) * 8e-6
        #expect(rates.count >= 10 && abs(rates.reduce(0, +) * 1.225 - 2 * expected) < expected)
        #expect(rates.filter { $0 > 0 }.count >= 2)
    }

    @Test func aRestartedCoordinatorsClockGoesOn() throws {
        let run = SyntheticRun()
        var events = run.events
        let opening = try #require(events.first)
        let end = try #require(events.last).time.nanoseconds
        events.append(run.at(0, opening.event))
        events.append(
            run.at(
                5_000_000, .workerEvicted(worker: WorkerID(0), name: "shanghai-1", reason: "silent")
            ))
        let evictions = try entries(events).filter { $0.name == "shanghai-1 evicted" }
        #expect(evictions.map(\.ts) == [Double(end + 5_000_000) / 1_000])
    }

    @Test func aRecordWithoutItsStartHasNoTrace() {
        #expect(throws: RunSummaryError.noStart(events: 1)) {
            try RunTrace.json([
                StampedEvent(
                    time: .zero, source: "coordinator", event: .note(source: "a", text: "b"))
            ])
        }
    }
}
