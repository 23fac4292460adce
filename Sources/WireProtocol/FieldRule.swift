/// Rules reader and writer share.
enum FieldRule {
    static func check<T: FixedWidthInteger & UnsignedInteger>(
        _ value: T, in allowed: ClosedRange<T>, _ field: String, at offset: Int
    ) throws(FrameError) {
        guard allowed.contains(value) else {
            throw .outOfRange(
                field: field, offset: offset,
                allowed: UInt64(allowed.lowerBound)...UInt64(allowed.upperBound),
                got: UInt64(value))
        }
    }

    static func checkNoNUL(_ text: String, _ field: String, at offset: Int) throws(FrameError) {
        guard !text.utf8.contains(0) else { throw .nulInText(field: field, offset: offset) }
    }

    /// Names become file names and metric labels: `[A-Za-z0-9._-]`, at least one.
    static func checkName(_ name: String, _ field: String, at offset: Int) throws(FrameError) {
        let plain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard plain && !name.isEmpty else {
            throw .invalidName(field: field, offset: offset, got: name)
        }
    }
}
