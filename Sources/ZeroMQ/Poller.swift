internal import CZeroMQ
internal import Glibc

/// Waits for sockets and descriptors of one thread.
///
/// ZMQ_FD says only that commands wait for the socket, not that it is readable, and it is silent about what
/// a call on the socket has taken in by the way. `zmq_poll` therefore asks every socket, twice in each wait,
/// and each answer is a system call. This poller knows when a socket may hold something that its descriptor
/// does not tell of (`Socket.mayHaveMessages`), asks those, and leaves the others to one `poll`.
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

    /// Descriptors of the entries; of a socket its ZMQ_FD.
    private var items: [pollfd] = []
    private var interests: [Interest] = []
    private var tokens: [UInt64] = []
    /// By entry; nil: a descriptor.
    private var sockets: [Socket?] = []
    /// Keeps every wake-up alive for as long as its descriptor is in `items`.
    private var owners: [AnyObject?] = []
    /// What was found of each entry in this wait.
    private var found: [Interest] = []
    private var slots: [UInt64: Int] = [:]

    package init() {}

    /// Number of sockets and descriptors being waited for.
    package var count: Int { tokens.count }

    /// Waits for `socket` from now on. `token` must be unused. Remove it before closing the socket.
    package mutating func add(
        _ socket: Socket, token: UInt64, for interest: Interest
    ) throws(ZeroMQError) {
        insert(try socket.descriptor(), interest, token, socket, nil)
    }

    /// Waits for a wake-up from now on (and retains it). `token` must be unused.
    package mutating func add(_ wakeUp: WakeUp, token: UInt64) {
        insert(wakeUp.descriptor, .readable, token, nil, wakeUp)
    }

    /// Waits for a descriptor from now on, which must stay open until it is removed. `token` must be
    /// unused.
    package mutating func add(descriptor: Int32, token: UInt64, for interest: Interest) {
        insert(descriptor, interest, token, nil, nil)
    }

    /// Changes what is waited for; an empty interest keeps the entry but never reports it.
    package mutating func update(token: UInt64, for interest: Interest) {
        guard let slot = slots[token] else { preconditionFailure("unknown token \(token)") }
        interests[slot] = interest
        items[slot].events = Self.pollEvents(interest, isSocket: sockets[slot] != nil)
    }

    /// Stops waiting for the entry; false when there is none.
    @discardableResult
    package mutating func remove(token: UInt64) -> Bool {
        guard let slot = slots.removeValue(forKey: token) else { return false }
        let last = tokens.count - 1
        if slot != last {
            items[slot] = items[last]
            interests[slot] = interests[last]
            tokens[slot] = tokens[last]
            sockets[slot] = sockets[last]
            owners[slot] = owners[last]
            slots[tokens[slot]] = slot
        }
        items.removeLast()
        interests.removeLast()
        tokens.removeLast()
        sockets.removeLast()
        owners.removeLast()
        found.removeLast()
        return true
    }

    /// Waits until something is ready or `deadline` (a `MonotonicClock` instant; nil = for ever; in
    /// the past = only look) has passed, and puts what is ready into `ready`, in order of addition
    /// unless entries were removed. An interrupted wait goes on.
    package mutating func wait(
        until deadline: Int64?, into ready: inout [Ready]
    ) throws(ZeroMQError) {
        ready.removeAll(keepingCapacity: true)
        while true {
            let isFound = try lookAtSockets()
            let timeout =
                isFound ? 0 : deadline.map { MonotonicClock.milliseconds(until: $0) } ?? -1
            // SAFETY: the kernel writes into `items`, which has that many; their descriptors are open,
            // because `sockets` and `owners` retain what they belong to.
            let count = unsafe poll(&items, nfds_t(items.count), timeout)
            guard count >= 0 || errno == EINTR else {
                throw .system("wait for", "\(tokens.count) sockets")
            }
            if count > 0 { try lookAtDescriptors() }
            for slot in tokens.indices where !found[slot].isEmpty {
                ready.append(Ready(token: tokens[slot], events: found[slot]))
            }
            // A command that makes nothing readable ends a `poll`, but no wait that has time left. When it
            // has none, each socket with a command has been asked once, which is a look.
            let isLook = timeout == 0 && !isFound && count >= 0
            if !ready.isEmpty || isLook || (count == 0 && timeout >= 0) { return }
        }
    }

    /// Sockets whose descriptor may be silent about what they hold. True: one is ready.
    private mutating func lookAtSockets() throws(ZeroMQError) -> Bool {
        var isFound = false
        for slot in tokens.indices {
            found[slot] = []
            guard let socket = sockets[slot], !interests[slot].isEmpty,
                socket.mayHaveMessages || interests[slot].contains(.writable)
            else { continue }
            found[slot] = try socket.readiness().intersection(interests[slot])
            if !found[slot].isEmpty { isFound = true }
        }
        return isFound
    }

    private mutating func lookAtDescriptors() throws(ZeroMQError) {
        for slot in tokens.indices where items[slot].revents != 0 {
            guard let socket = sockets[slot] else {
                found[slot] = Self.interest(items[slot].revents)
                continue
            }
            found[slot] = try socket.readiness().intersection(interests[slot])
        }
    }

    private mutating func insert(
        _ descriptor: Int32, _ interest: Interest, _ token: UInt64, _ socket: Socket?,
        _ owner: AnyObject?
    ) {
        precondition(slots[token] == nil, "token \(token) is in use")
        precondition(tokens.count < Self.entryLimit, "more than \(Self.entryLimit) poll entries")
        slots[token] = tokens.count
        items.append(
            pollfd(
                fd: descriptor, events: Self.pollEvents(interest, isSocket: socket != nil),
                revents: 0))
        interests.append(interest)
        tokens.append(token)
        sockets.append(socket)
        owners.append(owner)
        found.append([])
    }

    /// Commands for a socket make its descriptor readable, whatever they change.
    private static func pollEvents(_ interest: Interest, isSocket: Bool) -> Int16 {
        guard !isSocket else { return interest.isEmpty ? 0 : Int16(POLLIN) }
        var events: Int16 = 0
        if interest.contains(.readable) { events |= Int16(POLLIN) }
        if interest.contains(.writable) { events |= Int16(POLLOUT) }
        return events
    }

    private static func interest(_ events: Int16) -> Interest {
        var interest: Interest = []
        if events & Int16(POLLIN) != 0 { interest.insert(.readable) }
        if events & Int16(POLLOUT) != 0 { interest.insert(.writable) }
        if events & ~Int16(POLLIN | POLLOUT) != 0 { interest.insert(.failed) }
        return interest
    }
}

@available(*, unavailable, message: "a poller belongs to the thread which owns its sockets")
extension Poller: Sendable {}
