import ClusterModel
import Foundation
import RunRecord
import Testing

@Test func preview() throws {
    var run = SyntheticRun()
    run.steps = 300
    final class G { var g = SeededGenerator(seed: 3) }
    let g = G()
    run.loss = { w, s in
        2.1 + 3.4 * exp(-Double(s) / 45) + 0.08 * Double(g.g.normal()) + (w < 2 ? 0 : 0.05)
    }
    run.extra = [
        run.at(
            14_000_000_000,
            .waiting(
                observer: "shanghai-1", activity: "outer round 3", names: ["jinan-2"],
                since: Instant(nanoseconds: 12_000_000_000),
                until: Instant(nanoseconds: 27_000_000_000),
                then: "jinan-2 is evicted and the round goes on without it")),
        run.at(
            20_000_000_000,
            .workerEvicted(worker: WorkerID(3), name: "jinan-2", reason: "silent for 15 s")),
        run.at(
            21_000_000_000,
            .epochStarted(
                epoch: Epoch(rawValue: 2), members: [WorkerID(0), WorkerID(1), WorkerID(2)],
                reason: "jinan-2 evicted")),
        run.at(
            30_000_000_000,
            .workerJoined(
                worker: WorkerID(3), name: "jinan-2", region: RegionID(1),
                incarnation: Incarnation(rawValue: 2))),
        run.at(
            40_000_000_000,
            .coordinatorLost(
                worker: WorkerID(1), since: Instant(nanoseconds: 38_000_000_000),
                until: Instant(nanoseconds: 98_000_000_000))),
        run.at(46_000_000_000, .coordinatorReturned(worker: WorkerID(1))),
        run.at(
            33_000_000_000,
            .checkpointWritten(
                worker: WorkerID(0), path: "/tmp/run/checkpoint-5.safetensors", step: 150,
                bytes: 5_000_000)),
    ]
    let s = try RunSummary(events: run.events)
    try HTMLReport.render(s).write(
        toFile: "/tmp/record/report.html", atomically: true, encoding: .utf8)
    try RunJSON.write(s, to: "/tmp/record/run.json")
    print(
        SummaryText.render(s, files: [("report", "run/report.html"), ("figures", "run/run.json")]))
    var p = ProgressPrinter(style: OutputStyle(isTerminal: false, environment: [:])) {
        print($0, terminator: "")
    }
    for e in run.events { p.consume(e) }
    p.finish()
}
