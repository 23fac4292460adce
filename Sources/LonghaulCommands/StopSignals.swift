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
        interrupt.install(atSecond: { [children] in children.end() })
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

/// Every process that runs, for a second Ctrl-C.
final class ChildList: Sendable {
    private let entries = Mutex<[(pid: Int32, signal: Int32)]>([])

    /// - Parameter signal: what ends it at once: SIGTERM for one that has children of its own and was asked
    ///   to stop already.
    func add(_ child: ChildProcess, signal: Int32 = SIGKILL) {
        entries.withLock { $0.append((child.pid, signal)) }
    }

    /// It has ended: its number may soon be another's.
    func remove(_ child: ChildProcess) { entries.withLock { $0.removeAll { $0.pid == child.pid } } }

    /// An ended child's number stays its own until this process collects it, except for the moment
    /// in which it already has; the second signal ends this process too.
    func end() {
        for (pid, signal) in entries.withLock({ $0 }) { kill(pid, signal) }
    }
}
