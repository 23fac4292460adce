internal import ClusterModel
internal import Foundation
internal import GRDB

/// Tables and encoding of the log, shared by its writer and its reader.
///
/// ```
/// events  seq      INTEGER PRIMARY KEY   1, 2, 3, ... in the order of recording
///         time_ns  INTEGER               since the coordinator started
///         source   TEXT                  who told it
///         kind     TEXT                  name of the RunEvent case, for queries by hand
///         json     TEXT                  the RunEvent
/// PRAGMA user_version    schema version
/// PRAGMA application_id  "LHRL"
/// ```
enum LogSchema {
    static let version = 1
    /// "LHRL" in big-endian ASCII, as SQLite's header stores it.
    static let applicationID = 0x4C48_524C

    static func create(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE events (
                    seq INTEGER PRIMARY KEY,
                    time_ns INTEGER NOT NULL,
                    source TEXT NOT NULL,
                    kind TEXT NOT NULL,
                    json TEXT NOT NULL
                ) STRICT;
                PRAGMA application_id = \(applicationID);
                PRAGMA user_version = \(version);
                """)
    }

    /// - Throws: ``RunLogError`` when the database is no log, or one of a newer schema.
    static func check(_ database: Database, path: String) throws {
        let identity = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        guard identity == applicationID else {
            throw RunLogError.notALog(path: path, detail: "application id \(identity)")
        }
        let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard found <= version else {
            throw RunLogError.newerSchema(path: path, found: found, supported: version)
        }
    }

    /// Losses that are not finite travel as words: a diverged run must still be recorded.
    static func encoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return encoder
    }

    static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return decoder
    }

    /// GRDB's error in terms of what was being done.
    static func storage(_ error: any Error, path: String, doing: String) -> RunLogError {
        if let known = error as? RunLogError { return known }
        if let database = error as? DatabaseError, database.resultCode == .SQLITE_NOTADB {
            return .notALog(path: path, detail: "not an SQLite database")
        }
        return .storage(path: path, doing: doing, detail: "\(error)")
    }
}
