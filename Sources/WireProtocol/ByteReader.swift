import ClusterModel

/// Reads a message's fields from the meta part of a frame, in order, every byte once. Offsets in
/// errors count from the start of the frame. Holds a copy of the meta part (40 bytes for a chunk), so
/// that it can be passed on like any value.
struct ByteReader {
    private let meta: [UInt8]
    private var next = 0
    private static let base = ProtocolLimits.headerBytes

    /// Reads the bytes of `frame` from the end of its header to `end`.
    init(metaOf frame: Span<UInt8>, to end: Int) {
        var meta: [UInt8] = []
        meta.reserveCapacity(end - ByteReader.base)
        for index in ByteReader.base..<end { meta.append(frame[index]) }
        self.meta = meta
    }

    /// Of the next field, in the frame.
    var position: Int { ByteReader.base + next }

    /// Moves past `count` bytes and returns where they start in `meta`.
    private mutating func take(_ count: Int, _ field: String) throws(FrameError) -> Int {
        guard count <= meta.count - next else {
            throw .metaTruncated(
                field: field, offset: position, needed: count, left: meta.count - next)
        }
        defer { next += count }
        return next
    }

    mutating func integer<T: FixedWidthInteger & UnsignedInteger>(
        _ field: String, as type: T.Type = T.self
    ) throws(FrameError) -> T {
        let start = try take(T.bitWidth / 8, field)
        return meta.span.littleEndian(at: start)
    }

    /// An integer that must lie in `allowed`.
    mutating func integer<T: FixedWidthInteger & UnsignedInteger>(
        _ field: String, in allowed: ClosedRange<T>
    ) throws(FrameError) -> T {
        let start = position
        let value: T = try integer(field)
        try FieldRule.check(value, in: allowed, field, at: start)
        return value
    }

    mutating func instant(_ field: String) throws(FrameError) -> Instant {
        Instant(nanoseconds: Int64(bitPattern: try integer(field, as: UInt64.self)))
    }

    mutating func rank(_ field: String) throws(FrameError) -> Rank {
        Rank(rawValue: try integer(field))
    }

    mutating func bool(_ field: String) throws(FrameError) -> Bool {
        let start = position
        switch try integer(field, as: UInt8.self) {
        case 0: return false
        case 1: return true
        case let other: throw .invalidBool(field: field, offset: start, got: other)
        }
    }

    mutating func value<T: RawRepresentable>(
        _ field: String, of type: T.Type = T.self
    ) throws(FrameError) -> T where T.RawValue: FixedWidthInteger & UnsignedInteger {
        let start = position
        let raw: T.RawValue = try integer(field)
        guard let value = T(rawValue: raw) else {
            throw .invalidEnum(field: field, offset: start, got: UInt64(raw))
        }
        return value
    }

    /// Bytes that must be zero in this version.
    mutating func reserved<T: FixedWidthInteger & UnsignedInteger>(
        _ field: String, as type: T.Type
    ) throws(FrameError) {
        let start = position
        let value: T = try integer(field)
        guard value == 0 else {
            throw .reservedNotZero(field: field, offset: start, got: UInt64(value))
        }
    }

    /// `str`: u16 byte count, then UTF-8 without NUL.
    mutating func text(_ field: String, limit: Int) throws(FrameError) -> String {
        let start = position
        return try text(
            field, count: Int(integer(field, as: UInt16.self)), limit: limit, from: start)
    }

    /// `blob` that holds text: u32 byte count, then UTF-8 without NUL.
    mutating func longText(_ field: String, limit: Int) throws(FrameError) -> String {
        let start = position
        return try text(
            field, count: Int(integer(field, as: UInt32.self)), limit: limit, from: start)
    }

    private mutating func text(
        _ field: String, count: Int, limit: Int, from start: Int
    ) throws(FrameError) -> String {
        guard count <= limit else {
            throw .textTooLong(field: field, offset: start, limit: limit, got: count)
        }
        let first = try take(count, field)
        let view: UTF8Span
        do {
            view = try UTF8Span(validating: meta.span.extracting(first..<first + count))
        } catch {
            throw .invalidUTF8(
                field: field, offset: ByteReader.base + first + error.byteOffsets.lowerBound)
        }
        let text = String(copying: view)
        try FieldRule.checkNoNUL(text, field, at: start)
        return text
    }

    /// A worker's name.
    mutating func name(_ field: String) throws(FrameError) -> String {
        let start = position
        let name = try text(field, limit: ProtocolLimits.nameBytes)
        try FieldRule.checkName(name, field, at: start)
        return name
    }

    mutating func key(_ field: String) throws(FrameError) -> PublicKey {
        let start = try take(PublicKey.byteCount, field)
        return PublicKey(checked: Array(meta[start..<start + PublicKey.byteCount]))
    }

    /// `list<T>`: u16 count, then the items. Nothing is allocated for items that cannot be there.
    mutating func list<T: ListItem>(
        _ field: String, of type: T.Type = T.self, limit: Int
    ) throws(FrameError) -> [T] {
        let start = position
        let count = Int(try integer(field, as: UInt16.self))
        guard count <= limit else {
            throw .listTooLong(field: field, offset: start, limit: limit, got: count)
        }
        guard count * T.minimumBytes <= meta.count - next else {
            throw .metaTruncated(
                field: field, offset: position, needed: count * T.minimumBytes,
                left: meta.count - next)
        }
        var items: [T] = []
        items.reserveCapacity(count)
        for _ in 0..<count {
            let offset = position
            let item = try T(reading: &self)
            if let last = items.last { try item.check(after: last, at: offset) }
            items.append(item)
        }
        return items
    }

    /// Call after the last field.
    func finish() throws(FrameError) {
        guard next == meta.count else {
            throw .metaLeftover(offset: position, count: meta.count - next)
        }
    }
}

extension Span<UInt8> {
    /// A little-endian integer at any alignment.
    func littleEndian<T: FixedWidthInteger & UnsignedInteger>(
        at offset: Int, as type: T.Type = T.self
    ) -> T {
        var value: T = 0
        for index in 0..<T.bitWidth / 8 {
            value |= T(truncatingIfNeeded: self[offset + index]) &<< T(8 * index)
        }
        return value
    }
}
