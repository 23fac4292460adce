import TrainingKernels

/// Floats that the exchange reads and writes on a thread of its own.
///
/// Not locked: the driver orders the accesses. A contribution is read between `computeGradient` and the
/// step on the mean; a mean is written after all contributions to it have been read.
package final class SharedFloats: @unchecked Sendable {
    let floats: Floats
    /// Keeps the memory.
    private let storage: FloatStorage

    package convenience init(count: Int) { self.init(FloatStorage(count: count)) }

    init(_ storage: FloatStorage) {
        self.storage = storage
        floats = storage.floats
    }

    package var count: Int { floats.count }

    package func withSpan<R: ~Copyable, E: Error>(
        _ range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try floats.part(range).withSpan(body)
    }

    package func withMutableSpan<R, E: Error>(
        _ range: Range<Int>, _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try floats.part(range).withMutableSpan(body)
    }
}
