/// A measured rate over time, read from text and repeated for ever.
///
/// Two formats, told apart by the number of columns. Empty lines and what follows `#` are skipped.
///
///     0.0  48.2       seconds from the start and Mbit/s from then on; times ascend; 0 lets nothing
///     0.5  31         pass. The last line holds as long as the one before it (alone: 1 s).
///
///     0               mahimahi: each line is a millisecond at which 1,500 bytes may depart; lines
///     2               may repeat; the last line is the length of the trace.
///     2
package struct RateTrace: Equatable, Sendable {
    package struct Step: Equatable, Sendable {
        package let start: Int64
        /// 0 lets nothing pass.
        package let bitsPerSecond: UInt64
    }

    package private(set) var steps: [Step] = []
    package let period: Int64

    /// More is no link but a mistake; 10^6 steps of a millisecond are 17 minutes.
    package static let longest = 1_000_000

    package init(text: String) throws(RateTraceError) {
        var lines: [(line: Int, words: [Double])] = []
        let written = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, line) in written.enumerated() {
            let content = line.prefix { $0 != "#" }
            let words = content.split { $0 == " " || $0 == "\t" || $0 == "," || $0 == "\r" }
            guard !words.isEmpty else { continue }
            let numbers = words.compactMap { Double($0) }.filter { $0.isFinite && $0 >= 0 }
            guard numbers.count == words.count, numbers.count <= 2,
                numbers.count == lines.first?.words.count ?? numbers.count
            else {
                throw RateTraceError(
                    line: index + 1, problem: "found `\(content)`; expected SECONDS MBIT/S")
            }
            lines.append((index + 1, numbers))
            guard lines.count <= Self.longest else {
                throw RateTraceError(line: index + 1, problem: "more than \(Self.longest) lines")
            }
        }
        guard let first = lines.first else {
            throw RateTraceError(line: 1, problem: "the trace is empty")
        }
        if first.words.count == 2 {
            (steps, period) = try Self.columns(lines)
        } else {
            (steps, period) = try Self.opportunities(lines)
        }
        guard steps.contains(where: { $0.bitsPerSecond > 0 }) else {
            throw RateTraceError(line: first.line, problem: "nothing ever passes")
        }
    }

    private static func columns(
        _ lines: [(line: Int, words: [Double])]
    ) throws(RateTraceError) -> ([Step], Int64) {
        var steps: [Step] = []
        for (line, words) in lines {
            let rate = (words[1] * 1e6).rounded()
            guard rate == 0 || (1e3...1e13).contains(rate) else {
                throw RateTraceError(
                    line: line, problem: "\(words[1]) Mbit/s; expected 0 or 0.001 to 10,000,000")
            }
            // The first value holds from the start.
            guard words[0] <= 1e9 else {
                throw RateTraceError(line: line, problem: "\(words[0]) s is no time of a trace")
            }
            let start = steps.isEmpty ? 0 : Int64((words[0] * 1e9).rounded())
            if let last = steps.last, start <= last.start {
                throw RateTraceError(line: line, problem: "the time does not ascend")
            }
            steps.append(Step(start: start, bitsPerSecond: UInt64(rate)))
        }
        let last = steps[steps.count - 1].start
        let length = steps.count > 1 ? last - steps[steps.count - 2].start : 1_000_000_000
        return (steps, last + length)
    }

    private static func opportunities(
        _ lines: [(line: Int, words: [Double])]
    ) throws(RateTraceError) -> ([Step], Int64) {
        var steps: [Step] = []
        var counts: [(millisecond: Int64, packets: UInt64)] = []
        for (line, words) in lines {
            guard words[0] <= 1e9, let millisecond = Int64(exactly: words[0]) else {
                throw RateTraceError(line: line, problem: "expected a whole millisecond")
            }
            guard millisecond >= counts.last?.millisecond ?? 0 else {
                throw RateTraceError(line: line, problem: "the time does not ascend")
            }
            if millisecond == counts.last?.millisecond {
                counts[counts.count - 1].packets += 1
            } else {
                counts.append((millisecond, 1))
            }
        }
        // An opportunity at millisecond m is the rate of the millisecond that ends there.
        var next: Int64 = 0
        for (millisecond, packets) in counts {
            let start = max(0, millisecond - 1)
            if start > next { steps.append(Step(start: next * 1_000_000, bitsPerSecond: 0)) }
            let rate = packets * 12_000_000
            if millisecond == 0 { continue }
            if steps.last?.bitsPerSecond != rate || start > next || steps.isEmpty {
                steps.append(Step(start: start * 1_000_000, bitsPerSecond: rate))
            }
            next = millisecond
        }
        return (steps, max(1, next) * 1_000_000)
    }

    package var meanBitsPerSecond: Double {
        var bits = 0.0
        for (index, step) in steps.enumerated() {
            let end = index + 1 < steps.count ? steps[index + 1].start : period
            bits += Double(step.bitsPerSecond) * Double(end - step.start) / 1e9
        }
        return bits / (Double(period) / 1e9)
    }

    /// The trace as a schedule over a constant delay.
    package func schedule(oneWayNanoseconds: Int64) -> LinkSchedule? {
        LinkSchedule(
            phases: steps.map {
                LinkSchedule.Phase(
                    start: $0.start, bitsPerSecond: $0.bitsPerSecond,
                    oneWayNanoseconds: oneWayNanoseconds, isDown: $0.bitsPerSecond == 0)
            }, period: period)
    }
}

/// What is wrong with a trace, and where.
package struct RateTraceError: Error, Equatable, CustomStringConvertible {
    package let line: Int
    package let problem: String
    package var description: String { "line \(line): \(problem)" }
}
