internal import CLinux
internal import Glibc

/// Wakes a poller from another thread (an eventfd).
///
/// `signal` may be called from any thread and any number of times; the poller sees the descriptor
/// readable once, drains it and then looks at the queue the wake-up stands for. Draining *before*
/// looking at the queue is what makes losing a wake-up impossible.
package final class WakeUp: Sendable {
    /// The descriptor to poll for reading. Owned by this object.
    package let descriptor: Int32

    package init() throws(ZeroMQError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else {
            throw .system("create", "eventfd", hint: "raise the limit of open files (ulimit -n)")
        }
    }

    deinit { _ = close(descriptor) }

    /// Makes the descriptor readable. Thread-safe.
    package func signal() {
        // The counter saturates far beyond any use; a full one is readable already.
        _ = eventfd_write(descriptor, 1)
    }

    /// Makes the descriptor unreadable again; returns whether it had been signalled.
    @discardableResult
    package func drain() -> Bool {
        var count: eventfd_t = 0
        // SAFETY: here and below the kernel fills a local of the type it expects during the call.
        return unsafe eventfd_read(descriptor, &count) == 0
    }

    /// Waits for a signal without a poller, then drains it; false when the time ran out.
    package func wait(milliseconds: Int32) -> Bool {
        let deadline = MonotonicClock.now() + Int64(milliseconds) * 1_000_000
        while true {
            if drain() { return true }
            let left = MonotonicClock.milliseconds(until: deadline)
            guard left > 0 else { return false }
            var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&item, 1, left)
        }
    }
}

/// CLOCK_MONOTONIC in integer nanoseconds: the time of all waits in this module.
package enum MonotonicClock {
    package static func now() -> Int64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Milliseconds left, rounded *up* so that a wait never returns just before its deadline and
    /// spins; 0 when the deadline has passed.
    static func milliseconds(until deadline: Int64) -> Int32 {
        let (left, overflow) = deadline.subtractingReportingOverflow(now())
        if overflow { return deadline > 0 ? .max : 0 }
        return left <= 0 ? 0 : Int32(clamping: (left - 1) / 1_000_000 + 1)
    }
}
