import ClusterModel
import Synchronization
import ZeroMQ

/// When each exchange of a benchmark began and ended, and what it had cost by then.
package final class ExchangeClock: Sendable {
    private struct State {
        /// By fragment.
        var began: [Int64]
        var seconds: [Double] = []
        var first: Reading?
        var last: Reading?
        var progress: [ExchangeResult.Mark] = []
        var isMarking = true
    }

    /// Counts of this process at one moment.
    struct Reading: Sendable {
        var time: Int64
        var cpuSeconds: Double
        var traffic: LaneCounters.Reading
        var frames: FramePool.Counts
        var pageFaults: UInt64
    }

    private let warmup: Int
    private let repeats: Int
    private let counters: LaneCounters
    private let pool: FramePool
    private let state: Mutex<State>

    /// - Parameters:
    ///   - warmup: exchanges before the first that counts.
    ///   - repeats: exchanges that count; what comes after them does not.
    ///   - fragments: that are exchanged, several at once. Of one, what counts begins with the first
    ///     exchange that does; of several, with the end of the last that does not, when others are under way.
    package init(
        warmup: Int, repeats: Int, fragments: Int = 1, counters: LaneCounters, pool: FramePool
    ) {
        state = Mutex(State(began: Array(repeating: 0, count: fragments)))
        self.warmup = warmup
        self.repeats = repeats
        self.pool = pool
        self.counters = counters
    }

    func begin(_ number: Int = 0) {
        let reading = read()
        state.withLock { state in
            if state.began.count == 1, state.seconds.count == warmup { state.first = reading }
            state.began[number] = MonotonicClock.now()
        }
    }

    func end(_ number: Int = 0) {
        let now = MonotonicClock.now()
        guard state.withLock({ $0.seconds.count }) < warmup + repeats else { return }
        let reading = read()
        state.withLock { state in
            state.seconds.append(Double(now - state.began[number]) / 1e9)
            state.last = reading
            if state.began.count > 1, state.seconds.count == warmup { state.first = reading }
        }
    }

    /// Notes how much has left for other regions; false once that is no longer wanted.
    func mark() -> Bool {
        let mark = ExchangeResult.Mark(
            time: Double(MonotonicClock.now()) / 1e9, bytesAcross: counters.reading.bytesAcross)
        return state.withLock { state in
            if state.first != nil { state.progress.append(mark) }
            return state.isMarking
        }
    }

    func stopMarking() {
        state.withLock { $0.isMarking = false }
    }

    private func read() -> Reading {
        Reading(
            time: MonotonicClock.now(), cpuSeconds: ProcessTime.cpuSeconds(),
            traffic: counters.reading, frames: pool.counts,
            pageFaults: ProcessMemory.pageFaults())
    }

    /// Of the exchanges that count; nil when there were none.
    package func result(digest: UInt64, error: Float) -> ExchangeResult? {
        state.withLock { state in
            guard let first = state.first, let last = state.last, state.seconds.count > warmup
            else { return nil }
            let count = Double(state.seconds.count - warmup)
            let traffic = last.traffic - first.traffic
            return ExchangeResult(
                seconds: Array(state.seconds.dropFirst(warmup)),
                secondsBackToBack: Double(last.time - first.time) / 1e9 / count,
                progress: state.progress.filter { $0.time <= Double(last.time) / 1e9 },
                cpuSeconds: (last.cpuSeconds - first.cpuSeconds) / count,
                bytesSent: Double(traffic.bytes) / count,
                bytesAcross: Double(traffic.bytesAcross) / count,
                framesSent: Double(traffic.frames) / count,
                buffersAllocated: last.frames.allocated - first.frames.allocated,
                pageFaults: Double(last.pageFaults - first.pageFaults) / count,
                buffersPeak: last.frames.peakInUse, digest: String(digest, radix: 16),
                error: Double(error))
        }
    }
}

/// What one worker of a benchmark measured; figures are per exchange.
package struct ExchangeResult: Codable, Sendable {
    /// Bytes of frames given to lanes of other regions until `time`, seconds of this machine's monotonic
    /// clock.
    package struct Mark: Codable, Sendable {
        package var time: Double
        package var bytesAcross: UInt64
        package init(time: Double, bytesAcross: UInt64) {
            self.time = time
            self.bytesAcross = bytesAcross
        }
    }

    package var seconds: [Double]
    /// Wall time from one exchange to the next.
    package var secondsBackToBack: Double
    /// What had left for other regions, every 50 ms while the exchanges ran that count.
    package var progress: [Mark]
    package var cpuSeconds: Double
    package var bytesSent: Double
    /// Of them to other regions.
    package var bytesAcross: Double
    package var framesSent: Double
    /// Frame buffers that came from the system while the exchanges ran, and most in use at once.
    package var buffersAllocated: Int
    /// Pages that came from the system, for whatever: libzmq's messages, bookkeeping, buffers.
    package var pageFaults: Double
    package var buffersPeak: Int
    package var digest: String
    /// Largest deviation from the known mean, as a share of its largest value.
    package var error: Double
}

extension [ExchangeResult.Mark] {
    /// Bytes that left between two moments, between marks in proportion to time.
    package func bytesAcross(within window: ClosedRange<Double>) -> Double {
        bytesAcross(until: window.upperBound) - bytesAcross(until: window.lowerBound)
    }

    private func bytesAcross(until time: Double) -> Double {
        guard let after = firstIndex(where: { $0.time >= time }) else {
            return Double(last?.bytesAcross ?? 0)
        }
        let mark = self[after]
        guard after > 0 else { return Double(mark.bytesAcross) }
        let before = self[after - 1]
        let share = (time - before.time) / (mark.time - before.time)
        return Double(before.bytesAcross) + share * Double(mark.bytesAcross - before.bytesAcross)
    }
}

extension [[ExchangeResult.Mark]] {
    /// When all of them were under way, seconds; nil: at no time.
    package var together: ClosedRange<Double>? {
        let began = map { $0.first?.time ?? .infinity }.max() ?? .infinity
        let ended = map { $0.last?.time ?? 0 }.min() ?? 0
        return began < ended ? began...ended : nil
    }
}
