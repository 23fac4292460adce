import CLinux
package import ClusterModel
import Foundation
import Glibc
import Synchronization
package import ZeroMQ

/// Peak resident memory of this process, as the kernel counts it.
package enum ProcessMemory {
    package static func peakBytes() -> UInt64 {
        var usage = rusage()
        // SAFETY: the kernel fills this function's own structure.
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        // Linux counts in KiB.
        return UInt64(usage.ru_maxrss) * 1024
    }
}

extension ProcessMemory {
    /// Pages this process has been given since it began without reading them from a disk.
    package static func pageFaults() -> UInt64 {
        var usage = rusage()
        // SAFETY: the kernel fills this function's own structure.
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return UInt64(usage.ru_minflt)
    }

    /// Keeps memory that libzmq's messages leave behind instead of giving it back to the system: a
    /// quarter of a MiB would otherwise be mapped, cleared and unmapped for every chunk received.
    /// Call it before other threads run.
    package static func keepFreed() {
        // Chunks come from the heap (32 MiB is the largest threshold), and the heap is never trimmed
        // below 1 GiB; one arena, because others are trimmed by rules of their own.
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_TOP_PAD, 16 << 20)
        mallopt(M_ARENA_MAX, 1)
    }
}

package enum ProcessTime {
    /// Processor time of all threads of this process, user and system.
    package static func cpuSeconds() -> Double {
        var time = timespec()
        // SAFETY: the kernel fills this function's own structure.
        unsafe _ = clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

package enum WallClock {
    /// Nanoseconds since 1970: larger for each later start of a process on this machine.
    package static func incarnation() -> Incarnation {
        Incarnation(rawValue: UInt64(Date().timeIntervalSince1970 * 1e9))
    }

    /// A number for a run: unlike those of other runs.
    package static func runID() -> RunID { RunID(rawValue: incarnation().rawValue) }
}

/// Keeps signal sources alive; filled once, at start-up, by one thread.
private final class SignalSources: @unchecked Sendable {
    private var sources: [any DispatchSourceSignal] = []
    func keep(_ source: any DispatchSourceSignal) { sources.append(source) }
}

/// Ctrl-C and SIGTERM as something a loop can poll. The first asks to leave in order, the second ends
/// the process.
package final class Interrupt: Sendable {
    package let wakeUp: WakeUp
    private let raised = Atomic<Bool>(false)
    private let handled = Atomic<Bool>(false)
    private let isTermination = Atomic<Bool>(false)
    private let isImmediate = Atomic<Bool>(false)
    private let sources = SignalSources()

    package init() throws(ZeroMQError) { wakeUp = try WakeUp() }

    /// Takes SIGINT and SIGTERM over: once in a process. libdispatch gives a signal its own disposition for
    /// the first source of that number alone; after another call the kernel would drop it.
    ///
    /// - Parameters:
    ///   - atFirst: called when the first signal has come, by a thread of its own.
    ///   - atSecond: called before the second signal ends the process.
    package func install(
        atFirst: @escaping @Sendable () -> Void = {}, atSecond: @escaping @Sendable () -> Void = {}
    ) {
        for number in [SIGINT, SIGTERM] {
            _ = signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number, queue: DispatchQueue(label: "signal \(number)"))
            source.setEventHandler { [self] in
                if number == SIGTERM { isTermination.store(true, ordering: .releasing) }
                // One order of both flags for all threads: see `endAtOnce`.
                if raised.exchange(true, ordering: .sequentiallyConsistent)
                    || isImmediate.load(ordering: .sequentiallyConsistent)
                {
                    atSecond()
                    // Without exit handlers: other threads are at work and may hold their locks.
                    _exit(code.rawValue)
                }
                atFirst()
                wakeUp.signal()
            }
            source.resume()
            sources.keep(source)
        }
    }

    /// Whether the first signal ends the process as the second does: while there is nothing to end in order.
    /// Who asks `isRaised` after a call with true misses no signal: it came before, or it ends the process.
    package func endAtOnce(_ isImmediate: Bool) {
        self.isImmediate.store(isImmediate, ordering: .sequentiallyConsistent)
    }

    /// As if a signal had come: used when the parent is gone.
    package func raise() {
        raised.store(true, ordering: .releasing)
        wakeUp.signal()
    }

    /// What a process ends with that leaves because of the signal.
    package var code: ExitCode {
        isTermination.load(ordering: .acquiring) ? .terminated : .interrupted
    }

    package var isRaised: Bool { raised.load(ordering: .sequentiallyConsistent) }
    package var isHandled: Bool { handled.load(ordering: .acquiring) }
    package func markHandled() {
        handled.store(true, ordering: .releasing)
        wakeUp.drain()
    }

    /// Raises when standard input reaches its end: a child whose parent died leaves too.
    package func watchParent() {
        let thread = Thread { [self] in
            while let data = try? FileHandle.standardInput.read(upToCount: 1), !data.isEmpty {}
            raise()
        }
        thread.name = "parent watch"
        thread.start()
    }
}
