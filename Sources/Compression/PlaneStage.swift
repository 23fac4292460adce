internal import ClusterModel
internal import ReductionKernels

/// The planes stages: a body of n floats (4 or 2 bytes each) as streams, one per byte plane, the
/// plane of the exponents first.
///
/// Stream: u32 header (bit 31 = compressed, bits 0-30 = bytes which follow), then the bytes. The
/// exponent stream of `lz4Planes` holds 8 bit planes of Gray codes (n rounded up to a multiple of
/// 256 bytes, the missing ones zero); all others hold the n bytes of their plane. A compressed stream is
/// one LZ4 block or one zstd frame, as the stage says, and smaller than its plane.
final class PlaneStage {
    private let kernels: any KernelSet.Type
    private let planes = Scratch(byteCount: ChunkFormat.elementLimit * 4)
    private let bits = Scratch(byteCount: ChunkFormat.elementLimit)

    private static let compressed: UInt32 = 1 << 31

    init(kernels: any KernelSet.Type) { self.kernels = kernels }

    /// Bytes of one element of a body which has planes.
    static func width(_ transform: TransformID) -> Int? {
        switch transform {
        case .fp32: 4
        case .bf16, .fp16: 2
        case .int8, .int4, .e3m0, .topK: nil
        }
    }

    /// Writes the streams of `body` in at most `limit` bytes; nil if they do not fit.
    func encode(
        _ body: UnsafeRawBufferPointer, width: Int, _ stage: StageID,
        with compressor: StageCompressor, into output: UnsafeMutableRawPointer, limit: Int
    ) -> Int? {
        let count = body.count / width
        // SAFETY: the scratch holds all planes; writes stay below `limit`.
        let base = unsafe planes.bytes.baseAddress.unsafelyUnwrapped
        unsafe kernels.splitPlanes(
            body.baseAddress.unsafelyUnwrapped, width: width, count: count, into: base)
        var used = 0
        for plane in 0..<width {
            var stream = unsafe UnsafeRawBufferPointer(start: base + plane * count, count: count)
            if plane == 0 && stage == .lz4Planes { unsafe stream = bitPlanes(stream) }
            let room = limit - used - 4
            guard room > 0 else { return nil }
            let from = unsafe output + used + 4
            let most = min(room, stream.count - 1)
            let size =
                stage == .lz4Planes
                ? unsafe lz4(stream, plane, compressor, from, most)
                : unsafe zstd(stream, plane, compressor, from, most)
            if let size {
                unsafe output.storeBytes(
                    of: UInt32(size) | Self.compressed, toByteOffset: used, as: UInt32.self)
                used += 4 + size
            } else {
                guard stream.count <= room else { return nil }
                unsafe output.storeBytes(
                    of: UInt32(stream.count), toByteOffset: used, as: UInt32.self)
                unsafe from.copyMemory(
                    from: stream.baseAddress.unsafelyUnwrapped, byteCount: stream.count)
                used += 4 + stream.count
            }
        }
        return used
    }

    private func lz4(
        _ stream: UnsafeRawBufferPointer, _ plane: Int, _ compressor: StageCompressor,
        _ output: UnsafeMutableRawPointer, _ limit: Int
    ) -> Int? {
        // SAFETY: at most `limit` bytes are written.
        guard unsafe plane == 0 || hasRuns(stream) else { return nil }
        return unsafe compressor.lz4(stream, into: output, limit: limit, acceleration: 1)
    }

    private func zstd(
        _ stream: UnsafeRawBufferPointer, _ plane: Int, _ compressor: StageCompressor,
        _ output: UnsafeMutableRawPointer, _ limit: Int
    ) -> Int? {
        // SAFETY: as in `lz4`.
        if unsafe plane == 0 || hasFavourites(stream) {
            return unsafe compressor.zstdSymbols(stream, into: output, limit: limit)
        }
        guard unsafe hasRuns(stream) else { return nil }
        return unsafe compressor.zstd(stream, into: output, limit: limit, level: -7)
    }

    /// Mantissas are noise but for runs of zeros: without one zero word in 64 the search is saved.
    private func hasRuns(_ stream: UnsafeRawBufferPointer) -> Bool {
        // SAFETY: the stream is readable.
        unsafe kernels.zeroWords(stream.baseAddress.unsafelyUnwrapped, count: stream.count)
            > stream.count / 8 / 64
    }

    /// Whether some bytes are so much more frequent than others that coding them as symbols gains a
    /// few per cent. Differences of near parameters, as outer gradients are, end in zero bits, and
    /// their lowest mantissa byte takes few values.
    ///
    /// Of 1,024 bytes, evenly spread, the squares of the frequencies are added: 5,120 are expected
    /// of noise, with a deviation of 90.
    private func hasFavourites(_ stream: UnsafeRawBufferPointer) -> Bool {
        let samples = 1_024
        guard stream.count >= samples else { return true }
        let step = stream.count / samples
        return unsafe withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 256) { counts in
            unsafe counts.initialize(repeating: 0)
            // SAFETY: index * step < stream.count.
            for index in 0..<samples { unsafe counts[Int(stream[index * step])] += 1 }
            return unsafe counts.reduce(0) { $0 + Int($1) * Int($1) } > 5_900
        }
    }

    private func bitPlanes(_ exponents: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let padded = (exponents.count + 255) & ~255
        let output = unsafe bits.bytes.baseAddress.unsafelyUnwrapped
        // SAFETY: both scratches hold a multiple of 256 bytes, `elementLimit`, and padded is at most that. A
        // partial group is copied and padded first.
        guard padded > exponents.count else {
            unsafe kernels.splitBits(
                exponents.baseAddress.unsafelyUnwrapped, count: padded, into: output)
            return unsafe UnsafeRawBufferPointer(start: output, count: padded)
        }
        var copy = [UInt8](repeating: 0, count: padded)
        unsafe copy.withUnsafeMutableBytes { unsafe $0.copyMemory(from: exponents) }
        unsafe copy.withUnsafeBytes {
            unsafe kernels.splitBits(
                $0.baseAddress.unsafelyUnwrapped, count: padded, into: output)
        }
        return unsafe UnsafeRawBufferPointer(start: output, count: padded)
    }

    /// Reads the streams back into `body`; nil if they are malformed.
    func decode(
        _ input: UnsafeRawBufferPointer, width: Int, _ stage: StageID,
        with decompressor: StageDecompressor, into body: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let count = body.count / width
        let padded = (count + 255) & ~255
        // SAFETY: every read and write is checked against its buffer's size first.
        let base = unsafe planes.bytes.baseAddress.unsafelyUnwrapped
        var offset = 0
        for plane in 0..<width {
            let asBits = plane == 0 && stage == .lz4Planes
            let wanted = asBits ? padded : count
            let place =
                unsafe asBits
                ? bits.bytes
                : UnsafeMutableRawBufferPointer(
                    start: base + plane * count, count: count)
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: place[..<wanted])
            guard input.count - offset >= 4 else { return nil }
            let header = unsafe input.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            let size = Int(header & ~Self.compressed)
            offset += 4
            guard size <= input.count - offset else { return nil }
            let stream = unsafe UnsafeRawBufferPointer(rebasing: input[offset..<(offset + size)])
            offset += size
            if header & Self.compressed == 0 {
                guard size == wanted else { return nil }
                unsafe room.copyMemory(from: stream)
            } else {
                guard size > 0, size < wanted else { return nil }
                let got =
                    stage == .lz4Planes
                    ? unsafe decompressor.lz4(stream, into: room)
                    : unsafe decompressor.zstd(stream, into: room)
                guard got == wanted else { return nil }
            }
            if asBits { guard unsafe joinExponents(count, padded, base) else { return nil } }
        }
        guard offset == input.count else { return nil }
        unsafe kernels.joinPlanes(
            UnsafeRawPointer(base), width: width, count: count,
            into: body.baseAddress.unsafelyUnwrapped)
        return body.count
    }

    /// Bit planes back to exponents; false if the padding is not zero.
    private func joinExponents(
        _ count: Int, _ padded: Int, _ output: UnsafeMutableRawPointer
    ) -> Bool {
        // SAFETY: the scratch of planes holds at least `padded` bytes; what is written beyond
        // `count` is overwritten by the next plane.
        unsafe kernels.joinBits(
            UnsafeRawPointer(bits.bytes.baseAddress.unsafelyUnwrapped), count: padded,
            into: output)
        for index in count..<padded {
            if unsafe output.load(fromByteOffset: index, as: UInt8.self) != 0 { return false }
        }
        return true
    }
}
