internal import CXXHash

/// A streaming XXH3 of 64 bits with seed 0: digests of fragments, which span several buffers.
@safe
package struct Digest64: ~Copyable {
    private let state: OpaquePointer

    package init() {
        // SAFETY: freed in deinit; only this value knows the state.
        guard let state = unsafe XXH3_createState() else {
            fatalError("xxhash: no memory for a state")
        }
        unsafe self.state = state
        unsafe XXH3_64bits_reset(state)
    }

    deinit {
        // SAFETY: created in init.
        unsafe XXH3_freeState(state)
    }

    /// Appends bytes.
    package mutating func update(_ bytes: Span<UInt8>) {
        // SAFETY: read only inside the closure.
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// Appends floats as their little-endian bytes.
    package mutating func update(_ values: Span<Float>) {
        // SAFETY: read only inside the closure; all supported platforms are little-endian.
        unsafe values.withUnsafeBytes { unsafe update($0) }
    }

    /// Appends bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        // SAFETY: the state is live and the buffer readable.
        unsafe cxxhash_xxh3_64_update(state, bytes.baseAddress, bytes.count)
    }

    /// The digest of everything so far; more may follow.
    package var value: UInt64 {
        // SAFETY: the state is live.
        unsafe XXH3_64bits_digest(state)
    }

    /// The digest of one span.
    package static func of(_ bytes: Span<UInt8>) -> UInt64 {
        // SAFETY: read only inside the closure.
        unsafe bytes.withUnsafeBytes { unsafe cxxhash_xxh3_64($0.baseAddress, $0.count) }
    }
}
