/// One direction of a link between two regions.
package struct LinkParameters: Codable, Equatable, Sendable {
    /// Serialisation rate; 0 means unlimited.
    package var bitsPerSecond: UInt64
    /// Propagation delay.
    package var oneWayNanoseconds: Int64
    /// Further delay per delivery, uniform in [0, jitter].
    package var jitterNanoseconds: Int64
    /// Bytes which may wait for serialisation; a full queue pushes back on the senders.
    package var queueLimitBytes: Int
    /// Packets lost on the way, in packet mode only; nil: none.
    package var loss: LossParameters?

    package init(
        bitsPerSecond: UInt64, oneWayNanoseconds: Int64, jitterNanoseconds: Int64 = 0,
        queueLimitBytes: Int, loss: LossParameters? = nil
    ) {
        self.bitsPerSecond = bitsPerSecond
        self.oneWayNanoseconds = oneWayNanoseconds
        self.jitterNanoseconds = jitterNanoseconds
        self.queueLimitBytes = queueLimitBytes
        self.loss = loss
    }

    /// Whether a `LinkClock` can be made of them: times of at most an hour, a rate of 0 or
    /// 1 kbit/s...10 Tbit/s, a queue of at least one byte.
    package var isValid: Bool {
        (0...LinkClock.longestDelay).contains(oneWayNanoseconds)
            && (0...LinkClock.longestDelay).contains(jitterNanoseconds)
            && (1...LinkClock.largestTransfer).contains(queueLimitBytes)
            && (bitsPerSecond == 0 || LinkClock.rates.contains(bitsPerSecond))
            && loss?.isValid ?? true
    }
}

/// The link formula, for one direction of a pair of regions, shared by all its flows:
///
///     depart  = max(now, lastDepart) + bytes / rate
///     deliver = depart + oneWay + jitter
///
/// The relay drives it with the machine's clock and the simulator with virtual time. All arithmetic
/// is integer: the fraction of a nanosecond left by one transfer is carried into the next, so that a
/// busy link runs at exactly its rate for any mix of sizes. The queue is what has been offered and
/// has not departed; it needs no list, because its size follows from the time until the last
/// departure.
///
/// With a schedule the rate and the delay change with time: a transfer is serialised at the rate of
/// each phase it falls into, and has the delay of the instant at which it departs. What is queued
/// during an outage departs after it.
package struct LinkClock: Equatable, Sendable {
    /// When a transfer has left the sender's side and when it reaches the other.
    package struct Delivery: Equatable, Sendable {
        package let depart: Int64
        package let deliver: Int64
    }

    /// An hour: beyond any link, and sums of instants stay far from overflow.
    package static let longestDelay: Int64 = 3_600_000_000_000
    /// 2^40 bytes in one transfer; at the lowest rate its duration still fits Int64 nanoseconds.
    package static let largestTransfer = 1 << 40
    /// 1 kbit/s...10 Tbit/s, or 0.
    package static let rates: ClosedRange<UInt64> = 1_000...10_000_000_000_000

    private static let bitNanosecondsPerByte: UInt64 = 8_000_000_000

    package let parameters: LinkParameters
    private var lastDepart: Int64 = .min
    /// Numerator over the rate of the fraction of a nanosecond not yet counted.
    private var carry: UInt64 = 0
    private var generator: UInt64
    let schedule: LinkSchedule?
    let origin: Int64

    /// - Parameters:
    ///   - schedule: changes of rate and delay over those of `parameters`.
    ///   - origin: the instant at which the schedule starts.
    /// - Precondition: `parameters.isValid`.
    package init(
        _ parameters: LinkParameters, seed: UInt64, schedule: LinkSchedule? = nil,
        origin: Int64 = 0
    ) {
        precondition(parameters.isValid, "link parameters out of range: \(parameters)")
        self.parameters = parameters
        self.schedule = schedule
        self.origin = origin
        generator = seed
    }

    /// Takes a transfer if the queue has room for it; nil otherwise, and nothing changes.
    ///
    /// - Parameters:
    ///   - after: the last delivery of the same flow; deliveries of one flow are never reordered,
    ///     those of different flows may be, by jitter.
    package mutating func offer(
        bytes: Int, now: Int64, after: Int64 = .min
    ) -> Delivery? {
        canAccept(bytes: bytes, now: now) ? reserve(bytes: bytes, now: now, after: after) : nil
    }

    /// Takes a transfer whatever the queue holds: connection set-up and tear-down, which are small
    /// and have no sender that could wait.
    package mutating func reserve(
        bytes: Int, now: Int64, after: Int64 = .min
    ) -> Delivery {
        precondition((0...Self.largestTransfer).contains(bytes), "\(bytes) bytes in one transfer")
        if now > lastDepart {
            lastDepart = now
            carry = 0
        }
        let rate = parameters.bitsPerSecond
        var oneWay = parameters.oneWayNanoseconds
        if let schedule {
            (lastDepart, carry, oneWay) = schedule.serialise(
                bytes, from: lastDepart, carry: carry, origin: origin)
        } else if rate > 0 {
            var product = UInt64(bytes).multipliedFullWidth(by: Self.bitNanosecondsPerByte)
            let (low, overflow) = product.low.addingReportingOverflow(carry)
            product = (product.high + (overflow ? 1 : 0), low)
            let (duration, rest) = rate.dividingFullWidth(product)
            lastDepart += Int64(duration)
            carry = rest
        }
        let arrival = lastDepart + oneWay + nextJitter()
        return Delivery(depart: lastDepart, deliver: max(arrival, after))
    }

    /// Takes a transfer of a flow that has nothing waiting at its sender. What was reserved beyond the
    /// queue's limit still waits at the senders of other flows, and the link takes from each in turn: so
    /// this one has at most a full queue before it, and pays for its own bytes.
    package mutating func reserveBesideWaiting(
        bytes: Int, now: Int64, after: Int64 = .min
    ) -> Delivery {
        let queued = queuedBytes(at: now)
        guard queued > parameters.queueLimitBytes else {
            return reserve(bytes: bytes, now: now, after: after)
        }
        var queue = self
        queue.lastDepart = now
        queue.carry = 0
        // One transfer is no larger than `largestTransfer`, and a queue may be.
        let before = min(parameters.queueLimitBytes, Self.largestTransfer - bytes)
        let own = queue.reserve(bytes: before + bytes, now: now, after: after)
        _ = reserve(bytes: bytes, now: now)
        return own
    }

    /// Whether the queue has room for a transfer. An empty queue takes any, so that one which is
    /// larger than the limit is not stuck for ever.
    package func canAccept(bytes: Int, now: Int64) -> Bool {
        let queued = queuedBytes(at: now)
        return queued == 0 || queued <= parameters.queueLimitBytes - bytes
    }

    /// The earliest instant (possibly past) from which `canAccept(bytes:)` holds if nothing else is
    /// offered.
    package func acceptTime(bytes: Int) -> Int64 {
        let room = parameters.queueLimitBytes - bytes
        if let schedule, room > 0, lastDepart > .min {
            return schedule.instant(room, before: lastDepart, origin: origin)
        }
        guard parameters.bitsPerSecond > 0, room > 0, lastDepart > .min else { return lastDepart }
        let product = UInt64(room).multipliedFullWidth(by: Self.bitNanosecondsPerByte)
        return lastDepart - Int64(parameters.bitsPerSecond.dividingFullWidth(product).quotient)
    }

    /// Bytes which have been taken and have not departed, rounded up.
    package func queuedBytes(at now: Int64) -> Int {
        if let schedule, lastDepart > now {
            return schedule.bytes(from: now, to: lastDepart, origin: origin)
        }
        guard lastDepart > now, parameters.bitsPerSecond > 0 else { return 0 }
        let product = UInt64(lastDepart - now).multipliedFullWidth(by: parameters.bitsPerSecond)
        guard product.high < Self.bitNanosecondsPerByte else { return .max }
        let (bytes, rest) = Self.bitNanosecondsPerByte.dividingFullWidth(product)
        return Int(clamping: bytes) + (rest > 0 ? 1 : 0)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), scaled to [0, jitter] by the high half of a product.
    private mutating func nextJitter() -> Int64 {
        guard parameters.jitterNanoseconds > 0 else { return 0 }
        generator &+= 0x9e37_79b9_7f4a_7c15
        var value = generator
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        value ^= value >> 31
        let range = UInt64(parameters.jitterNanoseconds) + 1
        return Int64(value.multipliedFullWidth(by: range).high)
    }
}
