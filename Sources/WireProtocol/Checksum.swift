internal import CXXHash

/// XXH3-64 with seed 0.
package enum Checksum {
    /// What stands in the checksum field while it is computed.
    private static let zeros = [UInt8](repeating: 0, count: 8)

    /// Of a frame, as if its checksum field were zero: of the whole one, or of what comes before the payload
    /// of one that does not travel. The frame has at least a header.
    static func frame(_ bytes: Span<UInt8>, payload: Int, in medium: FrameMedium) -> UInt64 {
        switch medium {
        case .wire: frame(bytes)
        case .memory: frame(bytes.extracting(0..<bytes.count - payload))
        }
    }

    /// Of a whole frame.
    static func frame(_ bytes: Span<UInt8>) -> UInt64 {
        precondition(bytes.count >= ProtocolLimits.headerBytes)
        let field = HeaderOffset.checksum
        // SAFETY: each pointer is used only inside the closure that lends it, with a count its span
        // vouches for; the C function keeps none of them.
        return unsafe bytes.withUnsafeBufferPointer { whole in
            unsafe zeros.withUnsafeBufferPointer { zero in
                unsafe cxxhash_xxh3_64_of_three(
                    whole.baseAddress, field, zero.baseAddress, zero.count,
                    whole.baseAddress! + field + 8, whole.count - field - 8)
            }
        }
    }

    /// Of any bytes: digests of state, of configurations.
    package static func xxh3(_ bytes: Span<UInt8>) -> UInt64 {
        // SAFETY: the pointer is used only inside the closure, with the span's own count; XXH3
        // accepts a null pointer when the count is 0.
        unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe cxxhash_xxh3_64(buffer.baseAddress, buffer.count)
        }
    }
}
