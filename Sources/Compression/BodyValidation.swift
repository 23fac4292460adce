internal import ClusterModel
internal import ReductionKernels

/// Refuses bodies which no encoder writes, so that equal values have equal bytes and no code
/// reaches a kernel with a meaning of its own.
enum BodyValidation {
    /// Checks a body whose length is already right.
    static func check(
        _ body: UnsafeRawBufferPointer, _ transform: TransformID, elements: Int
    ) throws(ChunkError) {
        switch transform {
        case .fp32, .bf16, .fp16: return
        case .int8: try unsafe checkScales(body, transform, elements)
        case .int4, .e3m0:
            try unsafe checkScales(body, transform, elements)
            try unsafe checkCodes(body, transform, elements)
        case .topK:
            if let fault = unsafe SparseFormat.validate(body, elements: elements) {
                throw .notCanonical(transform, fault.what, block: fault.group)
            }
        }
    }

    /// A scale is a finite number >= 0 or the one NaN which marks a poisoned block.
    private static func checkScales(
        _ body: UnsafeRawBufferPointer, _ transform: TransformID, _ elements: Int
    ) throws(ChunkError) {
        let blocks = (elements + ChunkFormat.blockElements - 1) / ChunkFormat.blockElements
        for block in 0..<blocks {
            // SAFETY: the scales come first in a body of checked length.
            let bits = unsafe body.loadUnaligned(fromByteOffset: block * 4, as: UInt32.self)
            if bits >= 0x7F80_0000 && bits != KernelLimits.poisonedScale {
                throw .notCanonical(transform, "a negative or infinite scale", block: block)
            }
        }
    }

    /// int4 has no code 0 and E3M0 no code 8 (negative zero); the unused half byte of an odd chunk
    /// is zero.
    private static func checkCodes(
        _ body: UnsafeRawBufferPointer, _ transform: TransformID, _ elements: Int
    ) throws(ChunkError) {
        let blocks = (elements + ChunkFormat.blockElements - 1) / ChunkFormat.blockElements
        let forbidden: UInt8 = transform == .int4 ? 0 : 8
        let start = blocks * 4
        let whole = elements / 2
        // SAFETY: whole + (elements & 1) bytes follow the scales in a body of checked length.
        let codes = unsafe UnsafeRawBufferPointer(rebasing: body[start...])
        if unsafe containsNibble(codes, count: whole, forbidden) {
            var index = 0
            while unsafe codes[index] & 15 != forbidden && codes[index] >> 4 != forbidden {
                index += 1
            }
            throw .notCanonical(
                transform, "the code \(forbidden)", block: index / (ChunkFormat.blockElements / 2))
        }
        if elements & 1 == 1 {
            let last = unsafe codes[whole]
            if last >> 4 != 0 || last & 15 == forbidden {
                throw .notCanonical(transform, "a bad last half byte", block: blocks - 1)
            }
        }
    }

    /// Whether one of the 2 x count half bytes equals `nibble`; without an early exit, so that the
    /// loop becomes vector code.
    private static func containsNibble(
        _ codes: UnsafeRawBufferPointer, count: Int, _ nibble: UInt8
    ) -> Bool {
        var found: UInt8 = 0
        for index in 0..<count {
            // SAFETY: index < count <= codes.count.
            let byte = unsafe codes[index] ^ (nibble | nibble << 4)
            found |= (byte & 15 == 0 ? 1 : 0) | (byte >> 4 == 0 ? 1 : 0)
        }
        return found != 0
    }
}
