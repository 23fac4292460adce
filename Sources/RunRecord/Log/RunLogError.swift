/// What can be wrong with the log of a run.
package enum RunLogError: Error, Equatable, Sendable, CustomStringConvertible {
    case missing(path: String)
    /// Some other SQLite database, or no database at all.
    case notALog(path: String, detail: String)
    case newerSchema(path: String, found: Int, supported: Int)
    /// One stored event cannot be read back; those before it can.
    case unreadableEvent(path: String, sequence: Int64, detail: String)
    /// SQLite refused; `doing` completes "while ...".
    case storage(path: String, doing: String, detail: String)

    package var description: String {
        switch self {
        case .missing(let path):
            "there is no run log at \(path): give the folder or the file that `longhaul up` printed"
        case .notALog(let path, let detail):
            "\(path) is not a Longhaul run log (\(detail)): give the run.sqlite of a run"
        case .newerSchema(let path, let found, let supported):
            "\(path) was written by a newer Longhaul (log schema \(found), this program reads up "
                + "to \(supported)): use that version or a later one to read it"
        case .unreadableEvent(let path, let sequence, let detail):
            "event \(sequence) of \(path) cannot be read (\(detail)): the log was written by "
                + "another version or is damaged; `sqlite3 \(path) 'PRAGMA integrity_check'` "
                + "tells which"
        case .storage(let path, let doing, let detail):
            "SQLite failed while \(doing) \(path): \(detail); check free space and permissions"
        }
    }
}
