internal import CLinux
internal import Glibc

/// epoll and a timer with nanosecond deadlines, for one thread.
@safe final class EventQueue {
    /// What happened to a descriptor.
    struct Event {
        let id: UInt64
        let readable: Bool
        let writable: Bool
        /// Error or hang-up of both directions.
        let failed: Bool
    }

    private let poll: Int32
    private let timer: Int32
    private var armed: Int64 = .max
    /// Events per turn; the rest stay ready for the next.
    private var buffer = unsafe [epoll_event](repeating: epoll_event(), count: 256)
    /// The timer's id; descriptors use others.
    private static let timerID = UInt64.max

    init() throws(RelayError) {
        poll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard poll >= 0 else { throw .system("create", "epoll") }
        timer = timerfd_create(
            CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC))
        guard timer >= 0 else { throw .system("create", "timerfd") }
        try add(timer, id: Self.timerID, edgeTriggered: false, writes: false)
    }

    deinit {
        _ = close(timer)
        _ = close(poll)
    }

    /// Watches a descriptor until it is closed.
    func add(
        _ descriptor: Int32, id: UInt64, edgeTriggered: Bool, writes: Bool
    ) throws(RelayError) {
        var event = unsafe epoll_event()
        unsafe event.events = EPOLLIN.rawValue | EPOLLRDHUP.rawValue
        if writes { unsafe event.events |= EPOLLOUT.rawValue }
        if edgeTriggered { unsafe event.events |= EPOLLET.rawValue }
        unsafe event.data.u64 = id
        guard unsafe epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            throw .system("watch", "descriptor \(descriptor)")
        }
    }

    /// Waits until something happens or the absolute CLOCK_MONOTONIC `deadline` is reached; with a
    /// deadline not after `now` it only looks.
    func wait(until deadline: Int64, now: Int64, _ handle: (Event) -> Void) {
        if deadline > now { arm(deadline) }
        let count = unsafe epoll_wait(
            poll, &buffer, Int32(buffer.count), deadline > now ? -1 : 0)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = unsafe buffer[index]
            if unsafe event.data.u64 == Self.timerID {
                var expirations: UInt64 = 0
                // SAFETY: a timerfd gives eight bytes.
                unsafe _ = read(timer, &expirations, 8)
                armed = .max
                continue
            }
            let bits = unsafe event.events
            handle(
                Event(
                    id: unsafe event.data.u64,
                    readable: bits & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0,
                    writable: bits & EPOLLOUT.rawValue != 0,
                    failed: bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0))
        }
    }

    private func arm(_ deadline: Int64) {
        guard deadline != armed else { return }
        armed = deadline
        // 0 would disarm: an instant that early has passed anyway. `.max` waits for events only.
        let instant = deadline == .max ? 0 : max(deadline, 1)
        var value = itimerspec()
        value.it_value.tv_sec = Int(instant / 1_000_000_000)
        value.it_value.tv_nsec = Int(instant % 1_000_000_000)
        let code = unsafe timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &value, nil)
        precondition(code == 0, "a timerfd takes any absolute instant")
    }
}
