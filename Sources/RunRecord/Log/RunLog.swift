package import ClusterModel
internal import Foundation
internal import GRDB

/// Writes the events of a run to an SQLite file.
///
/// One owner on one thread: the coordinator's event loop, or whoever simulates it. Events are
/// collected and written in one transaction when ``batchLimit`` of them are there, when the oldest
/// is ``batchAge`` older than the newest, when a rare event comes, and at ``flush()``. The journal
/// is a write-ahead log: a killed process loses at most the batch not yet written, and never
/// damages what was; after a power cut the last transactions may be missing (`synchronous =
/// NORMAL`), which the report says like any other incomplete log. A log is appended to when it
/// exists: a restarted coordinator goes on in it.
package final class RunLog: RunEventSink {
    /// Bounds the memory held and the time one transaction takes (about a millisecond).
    package static let batchLimit = 256
    /// What a killed process may lose of frequent events.
    package static let batchAge = Interval.milliseconds(500)

    package let path: String
    private let database: DatabaseQueue
    private let encoder = LogSchema.encoder()
    private var batch: [StampedEvent] = []
    private var nextSequence: Int64

    /// Opens or creates the log at `path`; its folder must exist.
    ///
    /// - Throws: ``RunLogError``.
    package init(path: String) throws(RunLogError) {
        self.path = path
        do {
            var configuration = Configuration()
            configuration.journalMode = .wal
            configuration.label = "run log"
            // A reader that checkpoints may hold the file for a moment.
            configuration.busyMode = .timeout(5)
            database = try DatabaseQueue(path: path, configuration: configuration)
            nextSequence = try database.write { database in
                if try database.tableExists("events") {
                    try LogSchema.check(database, path: path)
                } else if try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
                {
                    try LogSchema.create(database)
                } else {
                    throw RunLogError.notALog(path: path, detail: "no table of events")
                }
                let last = try Int64.fetchOne(database, sql: "SELECT max(seq) FROM events")
                return (last ?? 0) + 1
            }
        } catch {
            throw LogSchema.storage(error, path: path, doing: "opening")
        }
    }

    /// Adds one event. When writing fails the batch is kept, and the next call tries again, as long
    /// as it holds fewer than four batches; then the oldest are dropped, because a full disk must
    /// not end a training run.
    ///
    /// - Throws: ``RunLogError``.
    package func record(_ event: StampedEvent) throws {
        if batch.count >= 4 * Self.batchLimit { batch.removeFirst(Self.batchLimit) }
        batch.append(event)
        let age = event.time - batch[0].time
        if event.event.isWrittenAtOnce || batch.count >= Self.batchLimit || age >= Self.batchAge {
            try flush()
        }
    }

    /// Writes what is collected. Call it at least once per second while events are rare.
    ///
    /// - Throws: ``RunLogError``.
    package func flush() throws(RunLogError) {
        guard !batch.isEmpty else { return }
        do {
            let first = nextSequence
            try database.write { database in
                let statement = try database.cachedStatement(
                    sql: """
                        INSERT INTO events (seq, time_ns, source, kind, json)
                        VALUES (?, ?, ?, ?, ?)
                        """)
                for (offset, event) in batch.enumerated() {
                    let json = String(decoding: try encoder.encode(event.event), as: UTF8.self)
                    try statement.execute(arguments: [
                        first + Int64(offset), event.time.nanoseconds, event.source,
                        event.event.kind, json,
                    ])
                }
            }
            nextSequence += Int64(batch.count)
            batch.removeAll(keepingCapacity: true)
        } catch {
            throw LogSchema.storage(error, path: path, doing: "writing to")
        }
    }

    /// Writes what is collected, folds the write-ahead log into the file and closes it.
    ///
    /// - Throws: ``RunLogError``.
    package func close() throws(RunLogError) {
        try flush()
        do {
            try database.writeWithoutTransaction { database in
                _ = try database.checkpoint(.truncate)
            }
            try database.close()
        } catch {
            throw LogSchema.storage(error, path: path, doing: "closing")
        }
    }
}
