import Glibc

/// Eight floats at a time. Every reduction of this module runs in eight lanes and folds them in one
/// fixed order, so results do not depend on the width of the machine's registers.
@usableFromInline
package typealias Lanes = SIMD8<Float>

/// The number of floats in one `Lanes`.
@_alwaysEmitIntoClient
package var laneCount: Int { 8 }

/// Two `Lanes`, where each element is computed apart and what takes the time is arithmetic: one register of
/// AVX-512.
@usableFromInline
package typealias WideLanes = SIMD16<Float>

/// The number of floats in one `WideLanes`.
@_alwaysEmitIntoClient
package var wideLaneCount: Int { 16 }

/// A view of consecutive floats inside a `FloatStorage`; every access is bounds-checked.
///
/// The view does not keep its storage alive: it lives inside the object that owns the storage and
/// never leaves this module. Outside, the same memory is seen through `Span` and `MutableSpan`.
@safe
@usableFromInline
package struct Floats {
    @usableFromInline let base: UnsafeMutablePointer<Float>
    @usableFromInline
    package let count: Int

    /// - SAFETY: the caller guarantees `count` initialised floats at `base` while the view is used.
    @unsafe
    @_alwaysEmitIntoClient
    @inline(__always)
    package init(base: UnsafeMutablePointer<Float>, count: Int) {
        unsafe self.base = unsafe base
        self.count = count
    }

    @usableFromInline
    package subscript(index: Int) -> Float {
        @_alwaysEmitIntoClient
        @inline(__always)
        get {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
            // SAFETY: the index was checked against the extent.
            return unsafe base[index]
        }
        @_alwaysEmitIntoClient
        @inline(__always)
        nonmutating set {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
            // SAFETY: the index was checked against the extent.
            unsafe base[index] = newValue
        }
    }

    /// Nobody reads these again before they are written: whole pages of them go back to the system. Some are
    /// zero afterwards, the rest are what they were.
    package func forget() {
        let page = 4_096
        let start = unsafe (Int(bitPattern: base) + page - 1) / page * page
        let end = unsafe (Int(bitPattern: base) + count * MemoryLayout<Float>.stride) / page * page
        guard start < end, let first = unsafe UnsafeMutableRawPointer(bitPattern: start) else {
            return
        }
        // SAFETY: whole pages of anonymous memory inside this view; they read as zero from now on.
        unsafe madvise(first, end - start, MADV_DONTNEED)
    }

    /// The eight floats from `index` on.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func lanes(at index: Int) -> Lanes {
        precondition(index >= 0 && index &+ laneCount <= count)
        // SAFETY: all eight elements lie inside the extent; the load needs no alignment.
        return unsafe UnsafeRawPointer(base + index).loadUnaligned(as: Lanes.self)
    }

    /// Stores eight floats from `index` on.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func store(_ lanes: Lanes, at index: Int) {
        precondition(index >= 0 && index &+ laneCount <= count)
        // SAFETY: all eight elements lie inside the extent; the store needs no alignment.
        unsafe UnsafeMutableRawPointer(base + index).storeBytes(of: lanes, as: Lanes.self)
    }

    /// The sixteen floats from `index` on.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func wideLanes(at index: Int) -> WideLanes {
        precondition(index >= 0 && index &+ wideLaneCount <= count)
        // SAFETY: all sixteen elements lie inside the extent; the load needs no alignment.
        return unsafe UnsafeRawPointer(base + index).loadUnaligned(as: WideLanes.self)
    }

    /// Stores sixteen floats from `index` on.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func store(_ lanes: WideLanes, at index: Int) {
        precondition(index >= 0 && index &+ wideLaneCount <= count)
        // SAFETY: all sixteen elements lie inside the extent; the store needs no alignment.
        unsafe UnsafeMutableRawPointer(base + index).storeBytes(of: lanes, as: WideLanes.self)
    }

    /// The floats `offset ..< offset + count` of this view.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func part(_ offset: Int, _ count: Int) -> Floats {
        precondition(offset >= 0 && count >= 0 && offset &+ count <= self.count)
        // SAFETY: the part lies inside the extent.
        return unsafe Floats(base: base + offset, count: count)
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    package func part(_ range: Range<Int>) -> Floats {
        part(range.lowerBound, range.count)
    }

    @_alwaysEmitIntoClient
    @inline(__always)
    package func fill(with value: Float) {
        // SAFETY: the whole extent, which is initialised.
        unsafe base.update(repeating: value, count: count)
    }

    /// Copies the contents of `source`, which has the same length and does not overlap partially.
    @_alwaysEmitIntoClient
    @inline(__always)
    package func copy(from source: Floats) {
        precondition(source.count == count)
        // SAFETY: both extents hold `count` floats.
        unsafe base.update(from: source.base, count: count)
    }

    package func copy(from source: Span<Float>) {
        precondition(source.count == count)
        unsafe source.withUnsafeBufferPointer { values in
            // SAFETY: both extents hold `count` floats.
            if let start = values.baseAddress {
                unsafe base.update(from: start, count: count)
            }
        }
    }

    /// The address, for a call into BLAS.
    @unsafe
    package var address: UnsafeMutablePointer<Float> {
        unsafe base
    }

    /// Runs `body` with a read-only view.
    package func withSpan<R: ~Copyable, E: Error>(
        _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        // SAFETY: the span does not outlive the call; the owner of the storage is the caller.
        let buffer = unsafe UnsafeBufferPointer(start: base, count: count)
        return try body(unsafe buffer.span)
    }

    /// Runs `body` with a writable view.
    package func withMutableSpan<R, E: Error>(
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        // SAFETY: the span does not outlive the call; the owner of the storage is the caller.
        let buffer = unsafe UnsafeMutableBufferPointer(start: base, count: count)
        var span = unsafe buffer.mutableSpan
        return try body(&span)
    }
}

extension Span<Float> {
    /// The same floats as kernels see them; for reading only.
    package func withFloats(_ body: (Floats) -> Void) {
        unsafe withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            // SAFETY: the view does not outlive the call, and is read only.
            body(unsafe Floats(base: UnsafeMutablePointer(mutating: base), count: buffer.count))
        }
    }
}

extension MutableSpan<Float> {
    /// The same floats as kernels see them.
    package mutating func withFloats(_ body: (Floats) -> Void) {
        unsafe withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            // SAFETY: the view does not outlive the call.
            body(unsafe Floats(base: base, count: buffer.count))
        }
    }
}

/// Owns zeroed floats aligned to a cache line (64 bytes) and frees them at the end of its life.
@safe
package final class FloatStorage {
    private let memory: UnsafeMutableRawPointer
    /// Of the mapping that holds `memory`; nil: it is the allocator's.
    private let mapping: (start: UnsafeMutableRawPointer, bytes: Int)?
    @usableFromInline
    package let floats: Floats
    /// Large blocks ask the kernel for huge pages, which saves address translations. They come as pages that
    /// are zero and take no memory before they are written.
    private static let hugePage = 2 << 20

    @usableFromInline
    package init(count: Int) {
        precondition(count >= 0 && count <= Int.max / MemoryLayout<Float>.stride)
        let bytes = max(count, 1) * MemoryLayout<Float>.stride
        guard bytes >= Self.hugePage, let mapping = unsafe Self.map(bytes) else {
            // SAFETY: `floats` covers exactly the memory that is allocated and initialised here.
            unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            unsafe self.mapping = nil
            let base = unsafe memory.initializeMemory(
                as: Float.self, repeating: 0, count: max(count, 1))
            floats = unsafe Floats(base: base, count: count)
            return
        }
        unsafe self.mapping = mapping
        let past = unsafe UInt(bitPattern: mapping.start) & UInt(Self.hugePage - 1)
        unsafe memory = past == 0 ? mapping.start : mapping.start + (Self.hugePage - Int(past))
        // SAFETY: advice about memory just mapped; a refusal changes nothing but speed. All of it is zero,
        // which is a float, and `floats` covers a part of it.
        unsafe madvise(memory, bytes, MADV_HUGEPAGE)
        let base = unsafe memory.bindMemory(to: Float.self, capacity: count)
        floats = unsafe Floats(base: base, count: count)
    }

    /// Room for `bytes` at a multiple of a huge page.
    private static func map(_ bytes: Int) -> (start: UnsafeMutableRawPointer, bytes: Int)? {
        let all = bytes + hugePage
        // SAFETY: a new private mapping, whose result is checked.
        let mapped = unsafe mmap(
            nil, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else { return nil }
        return unsafe (mapped, all)
    }

    deinit {
        // SAFETY: allocated or mapped in `init`, given back once; floats need no deinitialisation.
        if let mapping = unsafe mapping {
            unsafe munmap(mapping.start, mapping.bytes)
        } else {
            unsafe memory.deallocate()
        }
    }
}
