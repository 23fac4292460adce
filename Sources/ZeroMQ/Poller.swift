internal import CZeroMQ
internal import Glibc

/// Waits for sockets and descriptors of one thread (`zmq_poll`).
///
/// ZMQ_FD is edge-triggered and loses wake-ups; `zmq_poll` is level-triggered and does not.
@safe package struct Poller {
    /// What to wait for, or what is the case.
    package struct Interest: OptionSet, Sendable, Hashable {
        package let rawValue: Int16
        package init(rawValue: Int16) { self.rawValue = rawValue }
        package static let readable = Interest(rawValue: Int16(ZMQ_POLLIN))
        package static let writable = Interest(rawValue: Int16(ZMQ_POLLOUT))
        /// Reported for descriptors only: error or hang-up.
        package static let failed = Interest(rawValue: Int16(ZMQ_POLLERR))
    }

    /// One thing that is ready.
    package struct Ready: Sendable, Equatable {
        /// The token it was added with.
        package let token: UInt64
        package let events: Interest
    }

    /// More entries than a driver ever has: one ROUTER, lanes to every peer, monitors, wake-ups.
    package static let entryLimit = 16_384

    private var items: [zmq_pollitem_t] = unsafe []
    private var tokens: [UInt64] = []
    /// Keeps every polled socket and wake-up alive for as long as its handle is in `items`.
    private var owners: [AnyObject?] = []
    private var slots: [UInt64: Int] = [:]

    package init() {}

    /// Number of sockets and descriptors being waited for.
    package var count: Int { tokens.count }

    /// Waits for `socket` from now on. `token` must be unused. Remove it before closing the socket.
    package mutating func add(
        _ socket: Socket, token: UInt64, for interest: Interest
    ) throws(ZeroMQError) {
        let raw = try unsafe socket.raw()
        unsafe insert(
            zmq_pollitem_t(socket: raw, fd: -1, events: interest.rawValue, revents: 0),
            token, socket)
    }

    /// Waits for a wake-up from now on (and retains it). `token` must be unused.
    package mutating func add(_ wakeUp: WakeUp, token: UInt64) {
        unsafe insert(
            zmq_pollitem_t(
                socket: nil, fd: wakeUp.descriptor, events: Interest.readable.rawValue, revents: 0),
            token, wakeUp)
    }

    /// Waits for a descriptor from now on, which must stay open until it is removed. `token` must be
    /// unused.
    package mutating func add(descriptor: Int32, token: UInt64, for interest: Interest) {
        unsafe insert(
            zmq_pollitem_t(socket: nil, fd: descriptor, events: interest.rawValue, revents: 0),
            token, nil)
    }

    /// Changes what is waited for; an empty interest keeps the entry but never reports it.
    package mutating func update(token: UInt64, for interest: Interest) {
        guard let slot = slots[token] else { preconditionFailure("unknown token \(token)") }
        unsafe items[slot].events = interest.rawValue
    }

    /// Stops waiting for the entry; false when there is none.
    @discardableResult
    package mutating func remove(token: UInt64) -> Bool {
        guard let slot = slots.removeValue(forKey: token) else { return false }
        let last = tokens.count - 1
        if slot != last {
            unsafe items[slot] = items[last]
            tokens[slot] = tokens[last]
            owners[slot] = owners[last]
            slots[tokens[slot]] = slot
        }
        unsafe items.removeLast()
        tokens.removeLast()
        owners.removeLast()
        return true
    }

    /// Waits until something is ready or `deadline` (a `MonotonicClock` instant; nil = for ever; in
    /// the past = only look) has passed, and puts what is ready into `ready`, in order of addition
    /// unless entries were removed. An interrupted wait goes on.
    package mutating func wait(
        until deadline: Int64?, into ready: inout [Ready]
    ) throws(ZeroMQError) {
        ready.removeAll(keepingCapacity: true)
        var found: Int32
        repeat {
            let timeout = deadline.map { Int(MonotonicClock.milliseconds(until: $0)) } ?? -1
            // SAFETY: every socket in `items` is retained by `owners` and open.
            found = unsafe zmq_poll(&items, Int32(tokens.count), timeout)
            guard found >= 0 || zmq_errno() == EINTR else {
                throw .last("wait for", "\(tokens.count) sockets")
            }
        } while found < 0
        guard found > 0 else { return }
        for slot in tokens.indices where unsafe items[slot].revents != 0 {
            unsafe ready.append(
                Ready(token: tokens[slot], events: Interest(rawValue: items[slot].revents)))
        }
    }

    private mutating func insert(_ item: zmq_pollitem_t, _ token: UInt64, _ owner: AnyObject?) {
        precondition(slots[token] == nil, "token \(token) is in use")
        precondition(tokens.count < Self.entryLimit, "more than \(Self.entryLimit) poll entries")
        slots[token] = tokens.count
        unsafe items.append(item)
        tokens.append(token)
        owners.append(owner)
    }
}

@available(*, unavailable, message: "a poller belongs to the thread which owns its sockets")
extension Poller: Sendable {}
