import CZlib
import Glibc

/// The bytes of a text, split into training and validation samples of `context + 1` bytes.
///
/// The last 2 % of the text, but 64 KiB to 1 MiB, are for validation. Samples do not overlap; sample
/// k of a part begins at byte k (context + 1).
package struct Corpus: Sendable {
    /// Webster's dictionary of 1913 in Debian's package dict-gcide: 40 MB of English.
    package static let defaultPath = "/usr/share/dictd/gcide.dict.dz"

    /// At most 4 GiB of text: it is held in memory.
    package static let byteLimit = 4 << 30

    package static let validationMinimum = 64 << 10
    package static let validationMaximum = 1 << 20

    package let context: Int
    private let bytes: [UInt8]
    private let trainingBytes: Int

    /// - Parameter path: named in the error if the text is too short.
    package init(bytes: [UInt8], context: Int, path: String = "(memory)") throws(CorpusError) {
        precondition(context >= 1)
        let sample = context + 1
        let validation = min(
            max(bytes.count / 50, Self.validationMinimum, sample),
            max(Self.validationMaximum, sample))
        let needed = max(Self.validationMinimum, sample) + sample
        if bytes.count < needed {
            throw .tooShort(path: path, bytes: bytes.count, needed: needed)
        }
        self.context = context
        self.bytes = bytes
        trainingBytes = bytes.count - validation
    }

    /// Loads a plain, gzip or dictzip file.
    package static func load(
        path: String = defaultPath, context: Int
    ) throws(CorpusError) -> Corpus {
        try Corpus(bytes: readText(path: path), context: context, path: path)
    }

    /// The number of different training samples.
    package var trainingSampleCount: Int { trainingBytes / (context + 1) }

    /// The number of validation samples.
    package var validationSampleCount: Int { (bytes.count - trainingBytes) / (context + 1) }

    /// The training samples with the given numbers, each below `trainingSampleCount`.
    package func trainingBatch(_ samples: some Sequence<Int>) -> Batch {
        batch(samples, in: 0..<trainingBytes)
    }

    /// The validation samples with the given numbers, each below `validationSampleCount`.
    package func validationBatch(_ samples: some Sequence<Int>) -> Batch {
        batch(samples, in: trainingBytes..<bytes.count)
    }

    private func batch(_ samples: some Sequence<Int>, in part: Range<Int>) -> Batch {
        var batch = Batch(inputs: [], targets: [])
        batch.inputs.reserveCapacity(samples.underestimatedCount * context)
        batch.targets.reserveCapacity(samples.underestimatedCount * context)
        for sample in samples {
            precondition((0..<part.count / (context + 1)).contains(sample), "no such sample")
            let start = part.lowerBound + sample * (context + 1)
            batch.inputs.append(contentsOf: bytes[start..<(start + context)])
            batch.targets.append(contentsOf: bytes[(start + 1)..<(start + context + 1)])
        }
        return batch
    }

    /// zlib reads files which are not compressed as they are.
    private static func readText(path: String) throws(CorpusError) -> [UInt8] {
        // SAFETY: the handle is closed once, below; zlib copies the path.
        guard let file = unsafe gzopen(path, "rbe") else {
            throw .missing(path: path, reason: errorText(errno))
        }
        defer { unsafe gzclose_r(file) }
        unsafe gzbuffer(file, 1 << 18)
        var text: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            // SAFETY: the buffer has as many bytes as it says.
            let got = unsafe block.withUnsafeMutableBytes { buffer in
                unsafe gzread(file, buffer.baseAddress, UInt32(buffer.count))
            }
            if got < 0 {
                var code: Int32 = 0
                // SAFETY: the message belongs to the open handle and is copied at once.
                let reason = unsafe String(cString: gzerror(file, &code))
                throw .unreadable(
                    path: path, reason: code == Z_ERRNO ? errorText(errno) : reason)
            }
            if got == 0 {
                break
            }
            if text.count + Int(got) > byteLimit {
                throw .tooLong(path: path, limit: byteLimit)
            }
            text.append(contentsOf: block[0..<Int(got)])
        }
        // A truncated stream shows only in the final state.
        var code: Int32 = 0
        let reason = unsafe String(cString: gzerror(file, &code))
        if code != Z_OK && code != Z_STREAM_END {
            throw .unreadable(path: path, reason: reason)
        }
        return text
    }
}

/// Samples side by side: `inputs` and, for each byte, the byte that follows it.
package struct Batch: Sendable, Equatable {
    package var inputs: [UInt8]
    package var targets: [UInt8]
}
