internal import CLinux
internal import Glibc

/// How urgently the kernel runs a thread.
package enum ThreadUrgency: Int32, Sendable {
    /// Measures an emulator and must see what it does when it does it.
    case measuring = 1
    /// Emulates: a packet that waits for a processor is late.
    case emulating = 2

    /// Puts this thread and those it starts before all ordinary ones (SCHED_RR); false when the
    /// system does not allow it, which is the case without root.
    @discardableResult
    package static func raise(to urgency: ThreadUrgency) -> Bool {
        var parameters = sched_param()
        parameters.sched_priority = urgency.rawValue
        // SAFETY: the kernel reads a local.
        return unsafe sched_setscheduler(0, SCHED_RR, &parameters) == 0
    }
}
