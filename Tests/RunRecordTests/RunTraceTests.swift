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

    @Test func everyStepIsASpanAndRoundsAreInstants() throws {
        let entries = try entries(SyntheticRun().events)
        let rows = entries.filter { $0.ph == "M" }.compactMap { $0.args?["name"] }
        #expect(rows.count == 5)
        for worker in 0..<4 {
            let steps = entries.filter { $0.ph == "X" && $0.tid == worker }
            #expect(steps.map(\.name) == (1...60).map { "step \($0)" })
            // Each from the end of the one before: steps of 0.2 s, and the first of the second round with it.
            #expect(steps[1].dur == 200_000)
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

    @Test func aRecordWithoutItsStartHasNoTrace() {
        #expect(throws: RunSummaryError.noStart(events: 1)) {
            try RunTrace.json([
                StampedEvent(
                    time: .zero, source: "coordinator", event: .note(source: "a", text: "b"))
            ])
        }
    }
}
