import ClusterModel
import Foundation
import RunRecord
import Testing

/// What a person sees while a run goes.
struct ProgressTests {
    private final class Output {
        var text = ""
        var lines: [String] { text.split(separator: "\n").map(String.init) }
    }

    private func print(
        _ events: [StampedEvent], style: OutputStyle,
        then: (inout ProgressPrinter) -> Void = { _ in }
    ) -> Output {
        let output = Output()
        var printer = ProgressPrinter(style: style) { output.text += $0 }
        for event in events { printer.consume(event) }
        then(&printer)
        return output
    }

    private static let pipe = OutputStyle(isTerminal: false, environment: [:])

    @Test func offATerminalALineIsPrintedPerInterval() {
        let output = print(SyntheticRun().events, style: Self.pipe)
        let status = output.lines.filter { $0.contains("step ") && $0.contains("/60") }
        // 12.45 s of training, a line every 2 s.
        #expect((6...8).contains(status.count))
        let last = status.last ?? ""
        for part in ["loss ", "tokens/s", "CU ", "round 2/2", "shanghai>jinan", "validation 4.500"]
        {
            #expect(last.contains(part), "\(part) is missing in: \(last)")
        }
        #expect(status[1].contains("ETA "))
        #expect(!output.text.contains("\u{1B}"))
        #expect(output.lines.last?.contains("run ended, code 0") == true)
    }

    /// Three wait for the same: one of them speaks, and the last to stop says that it is over.
    @Test func whatSeveralWaitForIsSaidOnce() {
        var run = SyntheticRun()
        func told(_ observer: String, _ second: Int64, _ names: [String] = ["jinan-2"])
            -> StampedEvent
        {
            run.at(
                second * 1_000_000_000,
                .waiting(
                    observer: observer, activity: "outer round 2", names: names,
                    since: Instant(nanoseconds: 3_000_000_000), until: nil, then: ""))
        }
        func over(_ observer: String, _ second: Int64) -> StampedEvent {
            run.at(
                second * 1_000_000_000,
                .waited(
                    observer: observer, activity: "outer round 2", names: ["jinan-2"],
                    since: Instant(nanoseconds: 3_000_000_000),
                    until: Instant(nanoseconds: second * 1_000_000_000)))
        }
        run.extra = [
            told("jinan-1", 4, ["jinan-2", "shanghai-1"]), told("shanghai-1", 4),
            told("shanghai-2", 4), told("jinan-1", 5), told("shanghai-2", 6),
            told("shanghai-1", 7), over("shanghai-1", 8), told("shanghai-2", 9),
            over("jinan-1", 10), over("shanghai-2", 11),
        ]
        let lines = print(run.events, style: Self.pipe).lines.filter {
            $0.contains("outer round 2")
        }
        #expect(
            lines.map { String($0.drop { $0 != "s" && $0 != "j" }.prefix { $0 != "(" }) } == [
                "jinan-1 waits for jinan-2, shanghai-1 ", "shanghai-1 waits for jinan-2 ",
                "shanghai-1 waits for jinan-2 ", "shanghai-2 waits for jinan-2 ",
                "shanghai-2 waited 8 s for jinan-2 ",
            ])
    }

    /// Who speaks for others may die; then one of them does.
    @Test func theDeadSpeakForNobody() {
        var run = SyntheticRun()
        func told(_ observer: String, _ second: Int64) -> StampedEvent {
            run.at(
                second * 1_000_000_000,
                .waiting(
                    observer: observer, activity: "outer round 2", names: ["jinan-2"],
                    since: Instant(nanoseconds: 3_000_000_000), until: nil, then: ""))
        }
        run.extra = [
            told("shanghai-1", 4),
            run.at(
                5_000_000_000,
                .workerEvicted(worker: WorkerID(0), name: "shanghai-1", reason: "silent")),
            told("shanghai-2", 6),
        ]
        let lines = print(run.events, style: Self.pipe).lines.filter { $0.contains("waits for") }
        #expect(lines.count == 2 && lines.last?.contains("shanghai-2 waits") == true)
    }

    @Test func lossesOfASyntheticTrainerAreNotShown() {
        var run = SyntheticRun()
        run.model = .synthetic(parameters: 1_000_000)
        let output = print(run.events, style: Self.pipe)
        let status = output.lines.filter { $0.contains("step ") && $0.contains("/60") }
        #expect(status.count >= 6 && status.last?.contains("tokens/s") == true)
        #expect(!status.contains { $0.contains("loss ") || $0.contains("validation ") })
    }

    /// Two of four fragments are committed: the first round goes on.
    @Test func aRoundIsDoneWhenAllItsFragmentsAre() {
        let events = SyntheticRun().events.map { stamped -> StampedEvent in
            guard case .runStarted(var started) = stamped.event else { return stamped }
            started.configuration.schedule.fragments = 4
            return StampedEvent(
                time: stamped.time, source: stamped.source, event: .runStarted(started))
        }
        let output = print(events, style: Self.pipe)
        let last = output.lines.last { $0.contains("step ") && $0.contains("/60") } ?? ""
        #expect(last.contains("round 1/2"), "\(last)")
    }

    @Test func onATerminalOneLineIsRedrawnAndFits() {
        let style = OutputStyle(isTerminal: true, environment: [:], width: 60)
        let output = print(SyntheticRun().events, style: style)
        let redrawn = output.text.components(separatedBy: "\r\u{1B}[2K")
        #expect(redrawn.count > 20)
        for part in redrawn where !part.contains("\n") { #expect(part.count <= 59) }
    }

    @Test func colourIsOnlyForTerminalsThatWantIt() {
        #expect(OutputStyle(isTerminal: true, environment: [:]).hasColour)
        #expect(!OutputStyle(isTerminal: true, environment: ["NO_COLOR": "1"]).hasColour)
        #expect(OutputStyle(isTerminal: true, environment: ["NO_COLOR": ""]).hasColour)
        #expect(!OutputStyle(isTerminal: false, environment: [:]).hasColour)
        #expect(!OutputStyle(isTerminal: true, environment: ["TERM": "dumb"]).isTerminal)
        let style = OutputStyle(isTerminal: true, environment: ["NO_COLOR": "1"])
        let output = print(SyntheticRun().events, style: style)
        #expect(!output.text.contains("\u{1B}[3"))
    }

    @Test func beforeTheFirstStepItSaysWhoIsMissing() {
        let output = print(Array(SyntheticRun().events.prefix(3)), style: Self.pipe) { printer in
            printer.tick(now: Instant(nanoseconds: 4_000_000_000))
        }
        #expect(
            output.lines.last
                == "0:04.0  2 of 4 workers are here; waiting for jinan-1, jinan-2")
    }

    @Test func itIsNeverSilentForFiveSeconds() {
        let run = SyntheticRun()
        var times: [Int64] = []
        let output = Output()
        var now: Int64 = 0
        var printer = ProgressPrinter(style: Self.pipe) {
            times.append(now)
            output.text += $0
        }
        for event in run.events.prefix(100) {
            now = event.time.nanoseconds
            printer.consume(event)
        }
        let silence = now
        while now < silence + 30_000_000_000 {
            now += 500_000_000
            printer.tick(now: Instant(nanoseconds: now))
        }
        let gaps = zip(times, times.dropFirst()).map { $1 - $0 }
        #expect(gaps.allSatisfy { $0 <= 5_000_000_000 })
        #expect(output.lines.last?.contains("no news for") == true)
    }

    @Test func aWaitIsToldWithWhomSinceUntilAndThen() {
        var run = SyntheticRun()
        run.extra = [
            run.at(
                8_000_000_000,
                .waiting(
                    observer: "coordinator", activity: "outer round 1", names: ["jinan-2"],
                    since: Instant(nanoseconds: 3_000_000_000),
                    until: Instant(nanoseconds: 18_000_000_000), then: "jinan-2 is evicted"))
        ]
        let output = print(run.events, style: Self.pipe)
        #expect(
            output.lines.contains(
                "0:08.0  coordinator waits for jinan-2 (outer round 1) since 0:03.0, "
                    + "until 0:18.0; then: jinan-2 is evicted"))
    }

    @Test func workersAreNamedNotNumbered() {
        var run = SyntheticRun()
        run.extra = [
            run.at(
                8_000_000_000,
                .coordinatorLost(
                    worker: WorkerID(2), since: .zero,
                    until: Instant(nanoseconds: 68_000_000_000)))
        ]
        let output = print(run.events, style: Self.pipe)
        #expect(
            output.text.contains("jinan-1 cannot reach the coordinator; it trains on until 1:08.0"))
    }

    @Test func finishEndsTheStatusLine() {
        let style = OutputStyle(isTerminal: true, environment: ["NO_COLOR": "1"])
        let output = print(Array(SyntheticRun().events.prefix(60)), style: style) { printer in
            printer.finish()
            printer.tick(now: Instant(nanoseconds: 99_000_000_000))
        }
        #expect(output.text.hasSuffix("\n"))
    }
}
