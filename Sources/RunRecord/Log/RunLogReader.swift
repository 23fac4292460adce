package import ClusterModel
internal import Foundation
internal import GRDB

/// Reads the log of a run, also while it is being written and after its writer was killed.
package final class RunLogReader {
    package let path: String
    private let database: DatabaseQueue

    /// - Throws: ``RunLogError``.
    package init(path: String) throws(RunLogError) {
        guard FileManager.default.fileExists(atPath: path) else {
            throw .missing(path: path)
        }
        self.path = path
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(5)
            database = try DatabaseQueue(path: path, configuration: configuration)
            try database.read { try LogSchema.check($0, path: path) }
        } catch {
            throw LogSchema.storage(error, path: path, doing: "opening")
        }
    }

    /// Calls `body` with every event after `sequence`, in order, one in memory at a time.
    ///
    /// - Returns: the sequence number of the last event read, to go on from.
    /// - Throws: ``RunLogError``, and what `body` throws.
    @discardableResult
    package func forEach(
        after sequence: Int64 = 0, _ body: (StampedEvent) throws -> Void
    ) throws -> Int64 {
        let decoder = LogSchema.decoder()
        var last = sequence
        do {
            try database.read { database in
                let rows = try Row.fetchCursor(
                    database,
                    sql: "SELECT seq, time_ns, source, json FROM events WHERE seq > ? ORDER BY seq",
                    arguments: [sequence])
                while let row = try rows.next() {
                    let number: Int64 = row["seq"]
                    let json: String = row["json"]
                    let event: RunEvent
                    do {
                        event = try decoder.decode(RunEvent.self, from: Data(json.utf8))
                    } catch {
                        throw RunLogError.unreadableEvent(
                            path: path, sequence: number, detail: "\(error)")
                    }
                    let time = Instant(nanoseconds: row["time_ns"])
                    try body(StampedEvent(time: time, source: row["source"], event: event))
                    last = number
                }
            }
        } catch let error as DatabaseError {
            throw LogSchema.storage(error, path: path, doing: "reading")
        }
        return last
    }

    /// All events. For logs that fit in memory: about 300 bytes each.
    ///
    /// - Throws: ``RunLogError``.
    package func events() throws -> [StampedEvent] {
        var events: [StampedEvent] = []
        try forEach { events.append($0) }
        return events
    }
}
