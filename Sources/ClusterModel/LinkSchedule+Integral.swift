/// The rate of a schedule integrated over time, in bit-nanoseconds per second: `rate x nanoseconds`,
/// of which a byte takes 8 x 10^9. Exact, in 128 bits.
extension LinkSchedule {
    private static let perByte: UInt128 = 8_000_000_000
    /// Where a transfer departs that never does: a century after the start.
    private static let never: Int64 = 100 * 365 * 86_400 * 1_000_000_000

    /// When bytes offered at `start` have departed, what is left of a nanosecond, and the delay that
    /// holds then.
    func serialise(
        _ bytes: Int, from start: Int64, carry: UInt64, origin: Int64
    ) -> (depart: Int64, carry: UInt64, oneWay: Int64) {
        var need = UInt128(bytes) * Self.perByte + UInt128(carry)
        var now = max(0, start - origin)
        while true {
            let (phase, _, end) = phase(at: now)
            if phase.isDown {
                guard end < .max else {
                    return (origin + max(now, Self.never), 0, phase.oneWayNanoseconds)
                }
                now = end
                continue
            }
            let rate = UInt128(phase.bitsPerSecond)
            guard rate > 0 else { return (origin + now, 0, phase.oneWayNanoseconds) }
            let capacity = end == .max ? .max : rate * UInt128(end - now)
            guard need > capacity else {
                return (
                    origin + now + Int64(need / rate), UInt64(need % rate), phase.oneWayNanoseconds
                )
            }
            need -= capacity
            now = end
        }
    }

    /// Bytes that depart between two instants, rounded up; those of unlimited phases do not wait and do
    /// not count.
    func bytes(from first: Int64, to last: Int64, origin: Int64) -> Int {
        var sum: UInt128 = 0
        var now = max(0, first - origin)
        while now < last - origin {
            let (phase, _, end) = phase(at: now)
            let stop = min(end, last - origin)
            if !phase.isDown { sum += UInt128(phase.bitsPerSecond) * UInt128(stop - now) }
            now = stop
        }
        return Int(clamping: (sum + Self.perByte - 1) / Self.perByte)
    }

    /// The latest instant before `last` from which on at most `bytes` depart until `last`.
    func instant(_ bytes: Int, before last: Int64, origin: Int64) -> Int64 {
        var room = UInt128(bytes) * Self.perByte
        var now = last - origin
        while now > 0 {
            let (phase, start, _) = phase(at: now - 1)
            if !phase.isDown {
                let rate = UInt128(phase.bitsPerSecond)
                let capacity = rate * UInt128(now - start)
                guard rate > 0, room >= capacity else {
                    return origin + now - (rate > 0 ? Int64(room / rate) : 0)
                }
                room -= capacity
            }
            now = start
        }
        return origin
    }
}
