import ClusterModel
import Foundation
import NodeRuntime
import Synchronization

/// Ctrl-C and SIGTERM for a command that has started processes: the first is for a loop that ends them in
/// order, the second ends them and this process at once.
struct StopSignals {
    let interrupt: Interrupt
    let children = ChildList()

    init() throws {
        interrupt = try Interrupt()
        // Runs hear of the first signal before a second can come: `up` would take that for its first.
        interrupt.install(
            atFirst: { [children] in children.hangUp() },
            atSecond: { [children] in children.end() })
    }

    /// For a command of which only parts have processes to end in order: around `body` the first signal ends
    /// this process at once. Call `check` afterwards: a signal may have come since `body` last looked.
    func inOrder<Result>(_ body: () throws -> Result) rethrows -> Result {
        interrupt.endAtOnce(false)
        defer { interrupt.endAtOnce(true) }
        return try body()
    }

    /// - Parameters:
    ///   - kept: what stays on disk, and where.
    ///   - hint: how to go on from it.
    /// - Throws: `Failure` with the signal's code if one has come.
    func check(_ kept: @autoclosure () -> String, hint: @autoclosure () -> String) throws {
        guard interrupt.isRaised else { return }
        let signal = interrupt.code == .terminated ? "SIGTERM" : "Ctrl-C"
        throw Failure(interrupt.code, "stopped by \(signal); \(kept())", hint: hint())
    }
}

/// Every process that runs, for Ctrl-C.
final class ChildList: Sendable {
    private struct Entry {
        var pid: Int32
        /// What ends it at once.
        var signal: Int32
        /// Of a run that has not been asked to stop.
        var input: FileHandle?
    }

    private let entries = Mutex<[Entry]>([])

    func add(_ child: ChildProcess) {
        let entry = Entry(pid: child.pid, signal: SIGKILL)
        entries.withLock { $0.append(entry) }
    }

    /// One that has children of its own: it is asked to stop with `hangUp`, and SIGTERM is its second signal.
    func add(run child: ChildProcess) {
        let entry = Entry(pid: child.pid, signal: SIGTERM, input: child.standardInput)
        entries.withLock { $0.append(entry) }
    }

    /// It has ended: its number may soon be another's.
    func remove(_ child: ChildProcess) {
        let pid = child.pid
        entries.withLock { $0.removeAll { $0.pid == pid } }
    }

    /// Asks the runs to stop in order; a second call reaches those that began after the first.
    func hangUp() {
        entries.withLock { entries in
            for index in entries.indices {
                try? entries[index].input?.close()
                entries[index].input = nil
            }
        }
    }

    /// An ended child's number stays its own until this process collects it, except for the moment
    /// in which it already has; the second signal ends this process too.
    func end() {
        entries.withLock { for entry in $0 { kill(entry.pid, entry.signal) } }
    }
}
