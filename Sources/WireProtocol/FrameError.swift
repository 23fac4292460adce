/// Why bytes are not a frame of version 1, or why a message cannot be made into one. Each case says
/// what was wrong, where (byte offset in the frame), what was allowed and what was found.
package enum FrameError: Error, Equatable, Sendable {
    /// Fewer bytes than the header needs, or than its lengths announce.
    case truncated(expected: Int, got: Int)
    /// More bytes than the header's lengths announce.
    case excess(expected: Int, got: Int)
    case frameTooLarge(limit: Int, got: Int)
    case badMagic(got: UInt32)
    /// The answer is REFUSE with code 1 and the versions the receiver speaks.
    case unsupportedVersion(got: UInt8)
    case unknownType(got: UInt8)
    case wrongPlane(type: MessageType, plane: Plane)
    case undefinedFlags(offset: Int, allowed: UInt16, got: UInt16)
    case reservedNotZero(field: String, offset: Int, got: UInt64)
    case metaLength(type: MessageType, allowed: ClosedRange<Int>, got: Int)
    case payloadLength(type: MessageType, allowed: ClosedRange<Int>, got: Int)
    case checksum(expected: UInt64, got: UInt64)
    /// A field needs more bytes than the meta part has left.
    case metaTruncated(field: String, offset: Int, needed: Int, left: Int)
    /// All fields were read and bytes of the meta part remain.
    case metaLeftover(offset: Int, count: Int)
    case invalidBool(field: String, offset: Int, got: UInt8)
    case invalidEnum(field: String, offset: Int, got: UInt64)
    case invalidUTF8(field: String, offset: Int)
    case nulInText(field: String, offset: Int)
    /// A worker's name is empty or has a character outside `[A-Za-z0-9._-]`.
    case invalidName(field: String, offset: Int, got: String)
    case textTooLong(field: String, offset: Int, limit: Int, got: Int)
    case listTooLong(field: String, offset: Int, limit: Int, got: Int)
    case outOfRange(field: String, offset: Int, allowed: ClosedRange<UInt64>, got: UInt64)
}

extension FrameError {
    /// The name in the specification and in `Protocols/vectors`.
    package var name: String {
        switch self {
        case .truncated: "truncated"
        case .excess: "excess"
        case .frameTooLarge: "frameTooLarge"
        case .badMagic: "badMagic"
        case .unsupportedVersion: "unsupportedVersion"
        case .unknownType: "unknownType"
        case .wrongPlane: "wrongPlane"
        case .undefinedFlags: "undefinedFlags"
        case .reservedNotZero: "reservedNotZero"
        case .metaLength: "metaLength"
        case .payloadLength: "payloadLength"
        case .checksum: "checksum"
        case .metaTruncated: "metaTruncated"
        case .metaLeftover: "metaLeftover"
        case .invalidBool: "invalidBool"
        case .invalidEnum: "invalidEnum"
        case .invalidUTF8: "invalidUTF8"
        case .nulInText: "nulInText"
        case .invalidName: "invalidName"
        case .textTooLong: "textTooLong"
        case .listTooLong: "listTooLong"
        case .outOfRange: "outOfRange"
        }
    }

    /// Where in the frame the offending bytes start.
    package var offset: Int {
        switch self {
        case .truncated(_, let got): got
        case .excess(let expected, _): expected
        case .frameTooLarge(let limit, _): limit
        case .badMagic: HeaderOffset.magic
        case .unsupportedVersion: HeaderOffset.version
        case .unknownType, .wrongPlane: HeaderOffset.type
        case .undefinedFlags(let offset, _, _): offset
        case .reservedNotZero(_, let offset, _): offset
        case .metaLength: HeaderOffset.metaLength
        case .payloadLength: HeaderOffset.payloadLength
        case .checksum: HeaderOffset.checksum
        case .metaTruncated(_, let offset, _, _): offset
        case .metaLeftover(let offset, _): offset
        case .invalidBool(_, let offset, _): offset
        case .invalidEnum(_, let offset, _): offset
        case .invalidUTF8(_, let offset): offset
        case .nulInText(_, let offset): offset
        case .invalidName(_, let offset, _): offset
        case .textTooLong(_, let offset, _, _): offset
        case .listTooLong(_, let offset, _, _): offset
        case .outOfRange(_, let offset, _, _): offset
        }
    }
}

extension FrameError: CustomStringConvertible {
    package var description: String { "\(what) (\(name) at byte \(offset))" }

    private var what: String {
        switch self {
        case .truncated(let expected, let got):
            "the frame should have \(expected) bytes and has \(got)"
        case .excess(let expected, let got):
            "the frame should have \(expected) bytes and has \(got)"
        case .frameTooLarge(let limit, let got):
            "the frame has \(got) bytes, at most \(limit) are accepted here"
        case .badMagic(let got):
            "the frame starts with \(hex(UInt64(got))), expected \"LHL1\": is the peer Longhaul?"
        case .unsupportedVersion(let got):
            "the frame is of protocol version \(got), this program speaks "
                + "\(ProtocolLimits.version): update the older side"
        case .unknownType(let got):
            "message type \(got) does not exist in version \(ProtocolLimits.version)"
        case .wrongPlane(let type, let plane):
            "\(type.name) is not a message of the \(plane.rawValue) plane"
        case .undefinedFlags(_, let allowed, let got):
            "flags are \(hex(UInt64(got))), only the bits \(hex(UInt64(allowed))) are defined"
        case .reservedNotZero(let field, _, let got):
            "\(field) is reserved and must be 0, it is \(hex(got))"
        case .metaLength(let type, let allowed, let got):
            "the fields of \(type.name) take \(span(allowed)) bytes, the header says \(got)"
        case .payloadLength(let type, let allowed, let got):
            "the payload of \(type.name) takes \(span(allowed)) bytes, the header says \(got)"
        case .checksum(let expected, let got):
            "the frame's XXH3 is \(hex(expected)), its checksum field says \(hex(got))"
        case .metaTruncated(let field, _, let needed, let left):
            "\(field) needs \(needed) bytes, \(left) are left"
        case .metaLeftover(_, let count):
            "\(count) bytes remain after the last field"
        case .invalidBool(let field, _, let got):
            "\(field) must be 0 or 1, it is \(got)"
        case .invalidEnum(let field, _, let got):
            "\(field) has no value \(got)"
        case .invalidUTF8(let field, _):
            "\(field) is not valid UTF-8"
        case .nulInText(let field, _):
            "\(field) contains a NUL"
        case .invalidName(let field, _, let got):
            "\(field) is \"\(got)\"; a name is 1 to \(ProtocolLimits.nameBytes) of A-Z a-z 0-9 . _ -"
        case .textTooLong(let field, _, let limit, let got):
            "\(field) has \(got) bytes, at most \(limit) are allowed"
        case .listTooLong(let field, _, let limit, let got):
            "\(field) has \(got) entries, at most \(limit) are allowed"
        case .outOfRange(let field, _, let allowed, let got):
            "\(field) is \(got), allowed are \(allowed.lowerBound) to \(allowed.upperBound)"
        }
    }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    private func span(_ range: ClosedRange<Int>) -> String {
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
    }
}
