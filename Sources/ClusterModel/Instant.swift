/// A point on the driver's monotonic clock, in integer nanoseconds. Real drivers start it anywhere;
/// the simulator starts it at zero.
package struct Instant: Hashable, Comparable, Codable, Sendable {
    package var nanoseconds: Int64
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package static let zero = Instant(nanoseconds: 0)
    package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    package static func + (a: Instant, b: Interval) -> Instant {
        Instant(nanoseconds: a.nanoseconds + b.nanoseconds)
    }
    package static func - (a: Instant, b: Interval) -> Instant {
        Instant(nanoseconds: a.nanoseconds - b.nanoseconds)
    }
    package static func - (a: Instant, b: Instant) -> Interval {
        Interval(nanoseconds: a.nanoseconds - b.nanoseconds)
    }
}

/// A length of time in integer nanoseconds.
package struct Interval: Hashable, Comparable, Codable, Sendable {
    package var nanoseconds: Int64
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package static let zero = Interval(nanoseconds: 0)
    package static func < (a: Interval, b: Interval) -> Bool { a.nanoseconds < b.nanoseconds }
    package static func + (a: Interval, b: Interval) -> Interval {
        Interval(nanoseconds: a.nanoseconds + b.nanoseconds)
    }
    package static func - (a: Interval, b: Interval) -> Interval {
        Interval(nanoseconds: a.nanoseconds - b.nanoseconds)
    }
    package static func * (a: Interval, b: Int64) -> Interval {
        Interval(nanoseconds: a.nanoseconds * b)
    }
    package static func seconds(_ value: Int64) -> Interval {
        Interval(nanoseconds: value * 1_000_000_000)
    }
    package static func milliseconds(_ value: Int64) -> Interval {
        Interval(nanoseconds: value * 1_000_000)
    }
    /// Nearest nanosecond of a number of seconds.
    package init(seconds: Double) { nanoseconds = Int64((seconds * 1e9).rounded()) }
    /// For printing and ratios only; machines compare integers.
    package var seconds: Double { Double(nanoseconds) / 1e9 }
}
