import ClusterModel
import Foundation
import RunRecord
import Testing

/// The log on disk: what is written comes back, whatever happened to its writer.
struct RunLogTests {
    private let folder: TemporaryFolder
    private var path: String { folder.path("run.sqlite") }

    init() throws { folder = try TemporaryFolder() }

    private func stepped(_ step: UInt32, at milliseconds: Int64) -> StampedEvent {
        StampedEvent(
            time: Instant(nanoseconds: milliseconds * 1_000_000), source: "w1",
            event: .stepped(worker: WorkerID(0), step: step, loss: 2.5, tokens: 512))
    }

    @Test func eventsComeBackInOrderAndEqual() throws {
        let events = SyntheticRun().events
        let log = try RunLog(path: path)
        for event in events { try log.record(event) }
        try log.close()
        #expect(try RunLogReader(path: path).events() == events)
    }

    @Test func everyKindOfEventComesBackEqual() throws {
        var run = SyntheticRun(steps: 30)
        let worker = WorkerID(1)
        run.extra = [
            run.at(1, .workerEvicted(worker: worker, name: "w", reason: "silent \"15 s\"\n")),
            run.at(2, .violation(culprit: "w", what: "checksum")),
            run.at(
                3,
                .waiting(
                    observer: "w", activity: "a", names: ["x"], since: .zero, until: nil, then: "")
            ),
            run.at(4, .coordinatorLost(worker: worker, since: .zero, until: .zero)),
            run.at(5, .coordinatorReturned(worker: worker)),
            run.at(6, .checkpointWritten(worker: worker, path: "/p", step: 3, bytes: .max)),
            run.at(7, .checkpointFailed(worker: worker, path: "/p", reason: "full")),
        ]
        let log = try RunLog(path: path)
        for event in run.events { try log.record(event) }
        try log.close()
        #expect(try RunLogReader(path: path).events() == run.events)
    }

    @Test func lossesThatAreNotFiniteAreKept() throws {
        let log = try RunLog(path: path)
        for loss in [Double.nan, .infinity, -.infinity] {
            try log.record(
                StampedEvent(
                    time: .zero, source: "w",
                    event: .stepped(worker: WorkerID(0), step: 1, loss: loss, tokens: 1)))
        }
        try log.close()
        let losses = try RunLogReader(path: path).events().compactMap { event -> Double? in
            guard case .stepped(_, _, let loss, _, _) = event.event else { return nil }
            return loss
        }
        #expect(losses.count == 3)
        #expect(losses[0].isNaN)
        #expect(losses[1] == .infinity)
        #expect(losses[2] == -.infinity)
    }

    @Test func frequentEventsWaitForABatchAndRareOnesDoNot() throws {
        let log = try RunLog(path: path)
        try log.record(stepped(1, at: 0))
        #expect(try RunLogReader(path: path).events().isEmpty)
        try log.record(
            StampedEvent(
                time: .zero, source: "c",
                event: .workerEvicted(worker: WorkerID(0), name: "w", reason: "silent")))
        #expect(try RunLogReader(path: path).events().count == 2)
        try log.record(stepped(2, at: 0))
        try log.record(stepped(3, at: 500))
        #expect(try RunLogReader(path: path).events().count == 4)
        for step in 0..<UInt32(RunLog.batchLimit) { try log.record(stepped(step, at: 500)) }
        #expect(try RunLogReader(path: path).events().count == 4 + RunLog.batchLimit)
        try log.record(stepped(9, at: 500))
        try log.flush()
        #expect(try RunLogReader(path: path).events().count == 5 + RunLog.batchLimit)
    }

    @Test func aLogWhoseWriterWasKilledIsReadToItsLastTransaction() throws {
        let log = try RunLog(path: path)
        for step in 1...10 { try log.record(stepped(UInt32(step), at: 0)) }
        try log.flush()
        try log.record(stepped(11, at: 0))
        // The files as a killed process leaves them: the write-ahead log not folded in.
        let copy = try TemporaryFolder()
        for suffix in ["", "-wal", "-shm"] {
            try FileManager.default.copyItem(
                atPath: path + suffix, toPath: copy.path("run.sqlite" + suffix))
        }
        #expect(try RunLogReader(path: copy.path("run.sqlite")).events().count == 10)
        // And a restarted coordinator goes on in it.
        let next = try RunLog(path: copy.path("run.sqlite"))
        try next.record(stepped(12, at: 0))
        try next.close()
        let reader = try RunLogReader(path: copy.path("run.sqlite"))
        var steps: [UInt32] = []
        try reader.forEach(after: 9) { event in
            if case .stepped(_, let step, _, _, _) = event.event { steps.append(step) }
        }
        #expect(steps == [10, 12])
    }

    @Test func aReaderFollowsALogThatIsBeingWritten() throws {
        let log = try RunLog(path: path)
        let reader = try RunLogReader(path: path)
        var last: Int64 = 0
        for step in UInt32(1)...3 {
            try log.record(stepped(step, at: 0))
            try log.flush()
            var seen = 0
            last = try reader.forEach(after: last) { _ in seen += 1 }
            #expect(seen == 1)
            #expect(last == Int64(step))
        }
    }

    @Test func aNewerSchemaIsRefusedByWriterAndReader() throws {
        try RunLog(path: path).close()
        // SQLite's header: user_version is the big-endian word at byte 60.
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: 60)
        try file.write(contentsOf: Data([0, 0, 0, 9]))
        try file.close()
        let expected = RunLogError.newerSchema(path: path, found: 9, supported: 1)
        #expect(throws: expected) { try RunLogReader(path: path) }
        #expect(throws: expected) { try RunLog(path: path) }
        #expect("\(expected)".contains("newer Longhaul"))
    }

    @Test func whatIsNoLogIsRefused() throws {
        let text = folder.path("notes.txt")
        try String(repeating: "not a database. ", count: 100)
            .write(toFile: text, atomically: true, encoding: .utf8)
        for attempt in [{ _ = try RunLogReader(path: text) }, { _ = try RunLog(path: text) }] {
            let error = #expect(throws: RunLogError.self) { try attempt() }
            #expect(error.map { "\($0)".contains("is not a Longhaul run log") } == true)
        }
        #expect(throws: RunLogError.missing(path: "/nonexistent")) {
            try RunLogReader(path: "/nonexistent")
        }
    }
}
