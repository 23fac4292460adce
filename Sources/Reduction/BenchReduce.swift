package import ReductionKernels

/// The outcome of one `longhaul bench reduce` run; field names are those of its JSON output.
package struct ReduceBenchmark: Codable, Sendable {
    package var op: String
    package var dtype: String
    package var sources: Int
    package var elements: Int
    package var threads: Int
    package var isa: String
    /// Median time of one pass over all elements.
    package var secondsMedian: Double
    package var secondsMinimum: Double
    /// bytesMoved / secondsMedian / 1e9.
    package var gigabytesPerSecond: Double
    /// Bytes which one pass reads and writes, by the formula in `traffic`.
    package var bytesMoved: Int
    /// How `bytesMoved` is counted.
    package var traffic: String
    package var samples: Int

    private enum CodingKeys: String, CodingKey {
        case op, dtype, sources, elements, threads, isa, traffic, samples
        case secondsMedian = "secondsMedian"
        case secondsMinimum = "secondsMinimum"
        case gigabytesPerSecond = "gigabytesPerSecond"
        case bytesMoved = "bytesMoved"
    }
}

/// What `longhaul bench reduce` measures.
package enum ReduceOperation: String, CaseIterable, Sendable {
    /// N sources into fp32. Two fp32 sources accumulate into the first, as the peers do; otherwise
    /// into a separate buffer which has been touched before.
    case sum
    /// N sources into an encoded mean of the same type, with finite check and sum of squares.
    case fused
    /// The receiver's pass: decoded mean, outer Nesterov step, blend into the live parameters.
    case apply
    /// fp32 to the type.
    case quantise
    /// The type to fp32.
    case dequantise
}

/// Runs one benchmark of the kernels and returns its figures. All memory is touched before timing.
///
/// - Parameters:
///   - elements: values per source, up to 2^28.
///   - samples: timed samples; each repeats the pass for at least 12 ms.
package func benchReduce(
    _ operation: ReduceOperation, dtype: ElementKind, sources: Int, elements: Int,
    threads: Int = 1, samples: Int = 9, kernels: any KernelSet.Type = Kernels.current
) -> ReduceBenchmark {
    precondition(elements > 0 && elements <= 1 << 28, "elements: expected 1 to 2^28")
    precondition(sources > 0 && sources <= 64, "sources: expected 1 to 64")
    precondition(threads > 0 && threads <= 64, "threads: expected 1 to 64")
    let arena = BenchmarkArena(
        operation: operation, dtype: dtype, sources: sources, elements: elements)
    let pool = threads > 1 ? KernelPool(threads: threads) : nil
    let times = measure(samples: samples) { arena.run(kernels, pool, times: $0) }
    let (bytes, formula) = arena.traffic
    let median = times[times.count / 2]
    return ReduceBenchmark(
        op: operation.rawValue, dtype: "\(dtype)", sources: sources, elements: elements,
        threads: threads, isa: kernels.name, secondsMedian: median, secondsMinimum: times[0],
        gigabytesPerSecond: Double(bytes) / median / 1e9, bytesMoved: bytes,
        traffic: formula, samples: times.count)
}

/// Sorted times per call: `samples` samples, each repeated for at least 12 ms after two warm-ups.
package func measure(samples: Int, _ body: () -> Void) -> [Double] {
    measure(samples: samples) { repeats in for _ in 0..<repeats { body() } }
}

/// The same for a body which repeats itself as often as it is told: at small sizes the call matters.
func measure(samples: Int, _ body: (Int) -> Void) -> [Double] {
    let clock = ContinuousClock()
    body(2)
    let once = clock.measure { body(1) }.seconds
    let repeats = Int(0.012 / max(once, 1e-9)) + 1
    return (0..<max(samples, 1)).map { _ in
        clock.measure { body(repeats) }.seconds / Double(repeats)
    }.sorted()
}

extension Duration {
    /// The duration in seconds.
    package var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
