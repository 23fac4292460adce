import Glibc

/// Writes a safetensors file so that, whatever happens, the path holds the old file or the new one:
/// a temporary file beside it is filled, flushed to the disk, renamed, and the directory flushed.
package struct SafetensorsWriter: ~Copyable {
    private let path: String
    private let descriptor: Int32
    private let totalBytes: Int
    private var remaining: Int

    /// - Parameters:
    ///   - entries: the tensors, in the order in which `body` writes their data.
    ///   - metadata: free strings, kept in this order; keys are unique.
    ///   - body: writes exactly the bytes the entries promise.
    package static func write(
        path: String, entries: [SafetensorsEntry], metadata: [(key: String, value: String)] = [],
        body: (inout SafetensorsWriter) throws(SafetensorsError) -> Void
    ) throws(SafetensorsError) {
        let header = SafetensorsHeader(entries: entries, metadata: metadata)
        precondition(
            entries.allSatisfy { $0.byteCount != nil }, "a tensor exceeds the address space")
        precondition(Set(entries.map(\.name)).count == entries.count, "two tensors of one name")
        precondition(Set(metadata.map(\.key)).count == metadata.count, "two metadata of one key")
        let json = header.encoded()
        precondition(json.count <= SafetensorsHeader.byteLimit, "the header exceeds its limit")
        let total = 8 + json.count + header.dataBytes
        let temporary = "\(path).partial-\(getpid())"
        func failure(_ action: String) -> SafetensorsError {
            .writeFailed(path: path, action: action, bytesNeeded: total, code: errno)
        }
        // SAFETY: paths are passed as null-terminated copies for the calls.
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 {
            throw failure("creating \(temporary)")
        }
        do throws(SafetensorsError) {
            var writer = SafetensorsWriter(
                path: path, descriptor: descriptor, totalBytes: total, remaining: total)
            var length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
            length += json
            try writer.write(bytes: length.span)
            try body(&writer)
            precondition(writer.remaining == 0, "\(writer.remaining) bytes were not written")
            if fsync(descriptor) != 0 {
                throw failure("flushing to the disk")
            }
        } catch {
            close(descriptor)
            unsafe unlink(temporary)
            throw error
        }
        if close(descriptor) != 0 {
            let error = failure("closing")
            unsafe unlink(temporary)
            throw error
        }
        if unsafe rename(temporary, path) != 0 {
            let error = failure("renaming \(temporary)")
            unsafe unlink(temporary)
            throw error
        }
        try flushDirectory(of: path, failure)
    }

    /// Appends single-precision data.
    package mutating func write(floats: Span<Float>) throws(SafetensorsError) {
        let path = self.path
        let (descriptor, total) = (self.descriptor, totalBytes)
        take(floats.count * 4)
        // SAFETY: the bytes are read during the call only; little-endian as the format asks.
        let code = unsafe floats.withUnsafeBytes { unsafe writeAll(descriptor, $0) }
        try Self.check(code, path: path, total: total)
    }

    /// Appends bytes.
    package mutating func write(bytes: Span<UInt8>) throws(SafetensorsError) {
        let path = self.path
        let (descriptor, total) = (self.descriptor, totalBytes)
        take(bytes.count)
        // SAFETY: the bytes are read during the call only.
        let code = unsafe bytes.withUnsafeBytes { unsafe writeAll(descriptor, $0) }
        try Self.check(code, path: path, total: total)
    }

    /// Appends 64-bit integers.
    package mutating func write(integers: [Int64]) throws(SafetensorsError) {
        let bytes = integers.flatMap { value in
            (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * Int64($0))) }
        }
        try write(bytes: bytes.span)
    }

    private mutating func take(_ bytes: Int) {
        precondition(bytes <= remaining, "more data than the entries promise")
        remaining -= bytes
    }

    private static func check(_ code: Int32, path: String, total: Int) throws(SafetensorsError) {
        if code != 0 {
            throw .writeFailed(path: path, action: "writing", bytesNeeded: total, code: code)
        }
    }

    private static func flushDirectory(
        of path: String, _ failure: (String) -> SafetensorsError
    ) throws(SafetensorsError) {
        var directory = "."
        if let slash = path.lastIndex(of: "/") {
            directory = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0 {
            throw failure("opening the directory \(directory)")
        }
        defer { close(descriptor) }
        if fsync(descriptor) != 0 {
            throw failure("flushing the directory \(directory)")
        }
    }
}

/// Writes everything; returns 0 or the `errno`.
private func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
    #if !_endian(little)
        #error("safetensors data is little-endian; this machine would need to swap bytes")
    #endif
    var done = 0
    while done < bytes.count {
        // SAFETY: the range lies inside the buffer, which is not empty here.
        let written = unsafe Glibc.write(
            descriptor, bytes.baseAddress! + done, bytes.count - done)
        if written < 0 && errno == EINTR {
            continue
        }
        if written < 0 {
            return errno
        }
        done += written
    }
    return 0
}
