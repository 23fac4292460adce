internal import CLZ4
internal import CZstd
package import ClusterModel

/// Whether and how a sender compresses bodies.
package enum LosslessChoice: Equatable, Sendable {
    /// Never.
    case stored
    /// This stage wherever it is defined and shrinks the chunk.
    case always(StageID)
    /// The stage which has been cheapest on a link of this measured rate (`StageChooser`).
    case adaptive(linkBytesPerSecond: Double)
    /// As `adaptive`, with a compressor's speed given rather than measured: the same on every run.
    case modelled(linkBytesPerSecond: Double, compressorBytesPerSecond: Double)
}

/// The compressors' states: one per thread, allocated once.
@safe
final class StageCompressor {
    private let lz4State: UnsafeMutableRawPointer
    private let zstd: OpaquePointer
    private let zstdSymbols: OpaquePointer

    /// zstd's fastest positive level: higher ones gain under 1 % on quantised gradients.
    static let zstdLevel: Int32 = 1
    /// What level 1 becomes for bytes whose order says little (exponents): the chance matches of 5
    /// bytes which it would find cost more bits and, on decoding, more time than they save.
    private static let symbolParameters: [(ZSTD_cParameter, Int32)] = [
        (ZSTD_c_compressionLevel, 1), (ZSTD_c_minMatch, 7), (ZSTD_c_hashLog, 6),
        (ZSTD_c_strategy, Int32(ZSTD_fast.rawValue)),
    ]

    init() {
        // SAFETY: LZ4_sizeofState says how much its state needs; both states are freed in deinit.
        unsafe lz4State = UnsafeMutableRawPointer.allocate(
            byteCount: Int(LZ4_sizeofState()), alignment: 16)
        guard let context = unsafe ZSTD_createCCtx(), let symbols = unsafe ZSTD_createCCtx()
        else { fatalError("zstd: no memory for a compression context") }
        unsafe zstd = context
        unsafe zstdSymbols = symbols
        for (name, value) in Self.symbolParameters {
            let result = unsafe ZSTD_CCtx_setParameter(symbols, name, value)
            precondition(ZSTD_isError(result) == 0, "zstd refuses parameter \(name.rawValue)")
        }
    }

    deinit {
        // SAFETY: both were allocated in init.
        unsafe lz4State.deallocate()
        unsafe ZSTD_freeCCtx(zstd)
        unsafe ZSTD_freeCCtx(zstdSymbols)
    }

    /// One LZ4 block of `input` in at most `limit` bytes of `output`; nil if it does not fit.
    func lz4(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, limit: Int,
        acceleration: Int32 = 1
    ) -> Int? {
        // SAFETY: LZ4 reads input.count and writes at most `limit` bytes.
        let written = unsafe LZ4_compress_fast_extState(
            lz4State, input.baseAddress?.assumingMemoryBound(to: CChar.self),
            output.assumingMemoryBound(to: CChar.self), Int32(input.count), Int32(limit),
            acceleration)
        return written > 0 ? Int(written) : nil
    }

    /// One zstd frame of `input` in at most `limit` bytes of `output`; nil if it does not fit.
    func zstd(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, limit: Int,
        level: Int32 = zstdLevel
    ) -> Int? {
        // SAFETY: zstd reads input.count and writes at most `limit` bytes.
        let written = unsafe ZSTD_compressCCtx(
            zstd, output, limit, input.baseAddress, input.count, level)
        return ZSTD_isError(written) == 0 && written > 0 ? written : nil
    }

    /// The same for bytes whose frequencies matter more than their order.
    func zstdSymbols(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, limit: Int
    ) -> Int? {
        // SAFETY: as in `zstd`.
        let written = unsafe ZSTD_compress2(
            zstdSymbols, output, limit, input.baseAddress, input.count)
        return ZSTD_isError(written) == 0 && written > 0 ? written : nil
    }
}

/// The decompressors' states: one per thread.
@safe
final class StageDecompressor {
    private let zstd: OpaquePointer

    init() {
        // SAFETY: freed in deinit.
        guard let context = unsafe ZSTD_createDCtx() else {
            fatalError("zstd: no memory for a decompression context")
        }
        unsafe zstd = context
    }

    deinit {
        // SAFETY: allocated in init.
        unsafe ZSTD_freeDCtx(zstd)
    }

    /// Unpacks one LZ4 block into exactly `output.count` bytes; otherwise says how many it gave,
    /// or nil if it is malformed.
    func lz4(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Int? {
        // SAFETY: LZ4_decompress_safe neither reads nor writes beyond the given sizes.
        guard unsafe !hasZeroOffset(input) else { return nil }
        let got = unsafe LZ4_decompress_safe(
            input.baseAddress?.assumingMemoryBound(to: CChar.self),
            output.baseAddress?.assumingMemoryBound(to: CChar.self),
            Int32(input.count), Int32(output.count))
        return got >= 0 ? Int(got) : nil
    }

    /// Whether a match of an LZ4 block has offset 0, which the format forbids. LZ4 1.9 decodes it to
    /// zeros; other decoders refuse it or copy what was there before, and receivers must agree.
    private func hasZeroOffset(_ input: UnsafeRawBufferPointer) -> Bool {
        let end = input.count
        var at = 0
        while at < end {
            // SAFETY: at < end before every read.
            let token = unsafe input[at]
            at += 1
            var literals = Int(token >> 4)
            if literals == 15 {
                while at < end {
                    let more = unsafe input[at]
                    at += 1
                    literals += Int(more)
                    if more != 255 { break }
                }
            }
            at += literals
            // The last sequence has literals only; whether a block ends well LZ4 decides.
            guard at + 2 <= end else { return false }
            if unsafe input[at] | input[at + 1] == 0 { return true }
            at += 2
            if token & 15 == 15 {
                while at < end {
                    let more = unsafe input[at]
                    at += 1
                    if more != 255 { break }
                }
            }
        }
        return false
    }

    /// Unpacks one zstd frame whose header states exactly `output.count` bytes; otherwise says how
    /// many it states or gave, or nil if it is malformed or longer than its frame.
    func zstd(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Int? {
        // SAFETY: zstd neither reads nor writes beyond the given sizes.
        let frame = unsafe ZSTD_findFrameCompressedSize(input.baseAddress, input.count)
        guard ZSTD_isError(frame) == 0, frame == input.count else { return nil }
        let stated = unsafe ZSTD_getFrameContentSize(input.baseAddress, input.count)
        guard stated == UInt64(output.count) else { return Int(clamping: stated) }
        let got = unsafe ZSTD_decompressDCtx(
            zstd, output.baseAddress, output.count, input.baseAddress, input.count)
        return ZSTD_isError(got) == 0 ? got : nil
    }
}
