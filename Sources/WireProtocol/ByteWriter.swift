import ClusterModel

/// Writes the bytes of a frame in order, the mirror of ``ByteReader``, with the same limits. A
/// message's fields never need more than a few hundred KiB, because every text and list is limited;
/// whether the whole is short enough for its type is checked afterwards.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    /// Of the next field, in the frame.
    var position: Int { bytes.count }

    /// Makes room for `count` bytes in all.
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    private mutating func put(_ byte: UInt8) { bytes.append(byte) }

    /// Puts an integer in place of bytes written before.
    mutating func overwrite<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        var target = bytes.mutableSpan
        target.storeLittleEndian(value, at: offset)
    }

    mutating func append(_ payload: Span<UInt8>) {
        for index in payload.indices { bytes.append(payload[index]) }
    }

    mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        for index in 0..<T.bitWidth / 8 {
            put(UInt8(truncatingIfNeeded: value &>> T(8 * index)))
        }
    }

    mutating func integer<T: FixedWidthInteger & UnsignedInteger>(
        _ value: T, _ field: String, in allowed: ClosedRange<T>
    ) throws(FrameError) {
        try FieldRule.check(value, in: allowed, field, at: position)
        integer(value)
    }

    mutating func instant(_ value: Instant) { integer(UInt64(bitPattern: value.nanoseconds)) }

    mutating func rank(_ value: Rank) { integer(value.rawValue) }

    mutating func bool(_ value: Bool) { put(value ? 1 : 0) }

    mutating func value<T: RawRepresentable>(_ value: T)
    where T.RawValue: FixedWidthInteger & UnsignedInteger {
        integer(value.rawValue)
    }

    mutating func reserved<T: FixedWidthInteger & UnsignedInteger>(as type: T.Type) {
        integer(0 as T)
    }

    mutating func text(_ value: String, _ field: String, limit: Int) throws(FrameError) {
        try checkText(value, field, limit: min(limit, Int(UInt16.max)))
        integer(UInt16(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    mutating func longText(_ value: String, _ field: String, limit: Int) throws(FrameError) {
        try checkText(value, field, limit: limit)
        integer(UInt32(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    private func checkText(_ value: String, _ field: String, limit: Int) throws(FrameError) {
        guard value.utf8.count <= limit else {
            throw .textTooLong(
                field: field, offset: position, limit: limit, got: value.utf8.count)
        }
        try FieldRule.checkNoNUL(value, field, at: position)
    }

    mutating func name(_ value: String, _ field: String) throws(FrameError) {
        let start = position
        try text(value, field, limit: ProtocolLimits.nameBytes)
        try FieldRule.checkName(value, field, at: start)
    }

    mutating func key(_ value: PublicKey) {
        bytes.append(contentsOf: value.bytes)
    }

    mutating func list<T: ListItem>(
        _ items: [T], _ field: String, limit: Int
    ) throws(FrameError) {
        guard items.count <= limit else {
            throw .listTooLong(field: field, offset: position, limit: limit, got: items.count)
        }
        integer(UInt16(items.count))
        for (index, item) in items.enumerated() {
            if index > 0 { try item.check(after: items[index - 1], at: position) }
            try item.write(to: &self)
        }
    }
}

extension MutableSpan<UInt8> {
    /// A little-endian integer at any alignment.
    mutating func storeLittleEndian<T: FixedWidthInteger & UnsignedInteger>(
        _ value: T, at offset: Int
    ) {
        for index in 0..<T.bitWidth / 8 {
            self[offset + index] = UInt8(truncatingIfNeeded: value &>> T(8 * index))
        }
    }
}
