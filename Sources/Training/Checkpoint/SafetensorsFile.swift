import Glibc

/// A safetensors file open for reading. The header is checked as a whole when the file is opened:
/// length, names, shapes, and offsets without hole or overlap up to the end of the file.
package struct SafetensorsFile: ~Copyable {
    package let path: String
    package let entries: [SafetensorsEntry]
    package let metadata: [(key: String, value: String)]
    private let descriptor: Int32
    private let offsets: [String: (index: Int, offset: Int)]

    package init(path: String) throws(SafetensorsError) {
        // SAFETY: the path is passed as a null-terminated copy for the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            throw .readFailed(path: path, action: "opening", code: errno)
        }
        let header: SafetensorsHeader
        let dataStart: Int
        do {
            (header, dataStart) = try Self.readHeader(descriptor, path: path)
        } catch {
            close(descriptor)
            throw error
        }
        var offsets: [String: (index: Int, offset: Int)] = [:]
        var offset = dataStart
        for (index, entry) in header.entries.enumerated() {
            offsets[entry.name] = (index, offset)
            offset += entry.byteCount ?? 0
        }
        self.path = path
        self.descriptor = descriptor
        self.offsets = offsets
        entries = header.entries
        metadata = header.metadata
    }

    deinit {
        close(descriptor)
    }

    /// The metadata string of a key.
    package func metadata(_ key: String) -> String? {
        metadata.first { $0.key == key }?.value
    }

    /// Reads a whole tensor of single-precision floats into `target`, whose length must be its own.
    package func read(
        _ name: String, into target: inout MutableSpan<Float>
    ) throws(SafetensorsError) {
        let offset = try place(of: name, type: .float32, elements: target.count)
        let (descriptor, path) = (self.descriptor, self.path)
        // SAFETY: any bits are a valid Float; the bytes are written during the call only.
        let result = unsafe target.withUnsafeMutableBytes { bytes in
            unsafe readAll(descriptor, bytes, offset: offset)
        }
        try Self.check(result, path: path, expected: target.count * 4, offset: offset)
    }

    /// Reads a whole tensor of bytes.
    package func readBytes(_ name: String) throws(SafetensorsError) -> [UInt8] {
        let count = try elementCount(name)
        return try bytes(at: place(of: name, type: .uint8, elements: count), count: count)
    }

    /// Reads a whole tensor of 64-bit integers.
    package func readIntegers(_ name: String) throws(SafetensorsError) -> [Int64] {
        let count = try elementCount(name)
        let offset = try place(of: name, type: .int64, elements: count)
        let bytes = try bytes(at: offset, count: count * 8)
        return (0..<count).map { index in
            (0..<8).reduce(0) { $0 | Int64(bytes[index * 8 + $1]) << (8 * Int64($1)) }
        }
    }

    private func elementCount(_ name: String) throws(SafetensorsError) -> Int {
        guard let place = offsets[name] else {
            throw .unexpectedTensor(path: path, name: name, reason: "missing")
        }
        // The product was checked with the header.
        return entries[place.index].shape.reduce(1, *)
    }

    private func place(
        of name: String, type: SafetensorsType, elements: Int
    ) throws(SafetensorsError) -> Int {
        guard let place = offsets[name] else {
            throw .unexpectedTensor(path: path, name: name, reason: "missing")
        }
        let entry = entries[place.index]
        if entry.type != type || entry.byteCount != elements * type.width {
            throw .unexpectedTensor(
                path: path, name: name,
                reason: "is \(entry.type.rawValue) \(entry.shape), expected \(type.rawValue) "
                    + "with \(elements) elements")
        }
        return place.offset
    }

    /// Only called for lengths known to lie inside the file.
    private func bytes(at offset: Int, count: Int) throws(SafetensorsError) -> [UInt8] {
        try Self.bytes(descriptor, path: path, at: offset, count: count)
    }

    private static func bytes(
        _ descriptor: Int32, path: String, at offset: Int, count: Int
    ) throws(SafetensorsError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: the buffer has `count` bytes.
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe readAll(descriptor, buffer, offset: offset)
        }
        try check(result, path: path, expected: count, offset: offset)
        return bytes
    }

    private static func check(
        _ result: ReadResult, path: String, expected: Int, offset: Int
    ) throws(SafetensorsError) {
        switch result {
        case .failed(let code): throw .readFailed(path: path, action: "reading", code: code)
        case .got(let count) where count < expected:
            throw .truncated(path: path, bytes: offset + count, expected: offset + expected)
        case .got: break
        }
    }

    private static func readHeader(
        _ descriptor: Int32, path: String
    ) throws(SafetensorsError) -> (header: SafetensorsHeader, dataStart: Int) {
        var status = stat()
        // SAFETY: the structure belongs to this function.
        if unsafe fstat(descriptor, &status) != 0 {
            throw .readFailed(path: path, action: "finding its size", code: errno)
        }
        let size = Int(status.st_size)
        if size < 8 {
            throw .truncated(path: path, bytes: size, expected: 8)
        }
        let prefix = try bytes(descriptor, path: path, at: 0, count: 8)
        let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(prefix[$1]) << UInt64(8 * $1) }
        if length > UInt64(SafetensorsHeader.byteLimit) {
            throw .malformed(
                path: path,
                reason: "a header of \(length) bytes exceeds \(SafetensorsHeader.byteLimit)")
        }
        let dataStart = 8 + Int(length)
        if dataStart > size {
            throw .truncated(path: path, bytes: size, expected: dataStart)
        }
        let json = try bytes(descriptor, path: path, at: 8, count: Int(length))
        let header: SafetensorsHeader
        do {
            header = try SafetensorsHeader(json: json, dataBytes: size - dataStart)
        } catch {
            throw .malformed(path: path, reason: error.reason)
        }
        if header.dataBytes > size - dataStart {
            throw .truncated(path: path, bytes: size, expected: dataStart + header.dataBytes)
        }
        return (header, dataStart)
    }
}

private enum ReadResult {
    /// Fewer bytes than asked for: the end of the file.
    case got(Int)
    case failed(Int32)
}

private func readAll(
    _ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer, offset: Int
) -> ReadResult {
    var done = 0
    while done < bytes.count {
        // SAFETY: the range lies inside the buffer, which is not empty here.
        let got = unsafe pread(
            descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
        if got < 0 && errno == EINTR {
            continue
        }
        if got < 0 {
            return .failed(errno)
        }
        if got == 0 {
            break
        }
        done += got
    }
    return .got(done)
}
