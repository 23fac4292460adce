import ClusterModel
import RunRecord
import Testing

/// Waits, evictions and outages on the time line.
struct IncidentTests {
    private func wait(_ run: SyntheticRun, since: Int64, told: Int64) -> StampedEvent {
        run.at(
            told * 1_000_000_000,
            .waiting(
                observer: "shanghai-1", activity: "outer round 2", names: ["jinan-2"],
                since: Instant(nanoseconds: since * 1_000_000_000),
                until: Instant(nanoseconds: 20_000_000_000), then: "it is evicted"))
    }

    @Test func aWaitToldTwiceIsOneWait() throws {
        var run = SyntheticRun()
        run.extra = [
            wait(run, since: 3, told: 8), wait(run, since: 3, told: 13),
            wait(run, since: 14, told: 15),
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.counts.waits == 2)
        #expect(abs(summary.counts.waitSeconds - 11) < 1e-9)
        let waits = summary.incidents.filter { $0.kind == .waiting }
        #expect(waits.map(\.seconds) == [3, 14])
        #expect(waits.map(\.endSeconds) == [13, 15])
        #expect(
            waits[0].text
                == "shanghai-1 waits for jinan-2 (outer round 2) since 0:03.0, until 0:20.0; "
                + "then: it is evicted")
    }

    /// Told twice, then over: its end is exact, and it counts once.
    @Test func theEndOfAWaitIsItsLength() throws {
        var run = SyntheticRun()
        run.extra = [
            wait(run, since: 3, told: 8), wait(run, since: 3, told: 9),
            run.at(
                15_000_000_000,
                .waited(
                    observer: "shanghai-1", activity: "outer round 2", names: ["jinan-2"],
                    since: Instant(nanoseconds: 3_000_000_000),
                    until: Instant(nanoseconds: 14_500_000_000))),
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.counts.waits == 1)
        #expect(abs(summary.counts.waitSeconds - 11.5) < 1e-9)
        let waits = summary.incidents.filter { $0.kind == .waiting }
        #expect(waits.map(\.seconds) == [3] && waits.map(\.endSeconds) == [14.5])
        #expect(
            waits.map(\.text) == [
                "shanghai-1 waited 11.5 s for jinan-2 (outer round 2), since 0:03.0"
            ])
    }

    @Test func overlappingOutagesOfSeveralWorkersAreOne() throws {
        var run = SyntheticRun()
        func lost(_ worker: Int, _ since: Int64) -> StampedEvent {
            run.at(
                (since + 1) * 1_000_000_000,
                .coordinatorLost(
                    worker: WorkerID(worker), since: Instant(nanoseconds: since * 1_000_000_000),
                    until: Instant(nanoseconds: 90_000_000_000)))
        }
        run.extra = [
            lost(0, 4), lost(1, 5),
            run.at(8_000_000_000, .coordinatorReturned(worker: WorkerID(0))),
            run.at(
                9_000_000_000,
                .workerEvicted(worker: WorkerID(1), name: "shanghai-2", reason: "silent")),
            lost(2, 10),
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.counts.coordinatorOutages == 2)
        let outages = summary.incidents.filter { $0.kind == .coordinatorLost }
        #expect(outages.map(\.seconds) == [4, 10])
        #expect(outages[0].endSeconds == 9)
        #expect(summary.counts.evictions == 1)
    }

    @Test func aWorkerThatLeavesEarlyIsALeaver() throws {
        var run = SyntheticRun()
        run.isComplete = false
        run.extra = [
            run.at(
                9_000_000_000,
                .workerLeft(worker: WorkerID(3), name: "jinan-2", code: 130, reason: "Ctrl-C"))
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.counts.leavers == 1)
        #expect(summary.workers[3].state == "left: Ctrl-C")
        #expect(summary.workers[0].state == "in the run")
    }

    @Test func theTimeLineIsBoundedAndCountsGoOn() throws {
        var run = SyntheticRun()
        run.extra = (0..<1_500).map { index in
            run.at(
                10_000_000_000 + Int64(index),
                .violation(culprit: "jinan-2", what: "checksum of frame \(index)"))
        }
        let summary = try RunSummary(events: run.events)
        #expect(summary.counts.violations == 1_500)
        #expect(summary.incidents.count == RunSummary.incidentLimit)
    }
}
