import ClusterModel
import Foundation
import Testing
import WireProtocol

/// The frames of `Protocols/vectors`, which the Python side has written.
enum VectorFile {
    private static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Protocols/vectors")

    static func accepted(_ name: String) throws -> [AcceptedVector] {
        let rows = try JSONSerialization.jsonObject(with: contents(name))
        guard let rows = rows as? [[String: Any]] else { throw VectorError(what: name) }
        return try rows.map(AcceptedVector.init)
    }

    static func rejected() throws -> [RejectedVector] {
        try JSONDecoder().decode([RejectedVector].self, from: contents("rejected.json"))
    }

    static func hashes() throws -> [HashVector] {
        try JSONDecoder().decode([HashVector].self, from: contents("hashes.json"))
    }

    static func memory() throws -> [MemoryVector] {
        try JSONDecoder().decode([MemoryVector].self, from: contents("memory.json"))
    }

    private static func contents(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appending(path: name))
    }
}

struct VectorError: Error {
    let what: String
}

/// A frame with all its fields spelled out.
struct AcceptedVector: CustomTestStringConvertible {
    let name: String
    let limits: FrameLimits
    let header: FrameHeader
    let message: Message
    let payload: [UInt8]
    let frame: [UInt8]
    var testDescription: String { name }

    init(_ row: [String: Any]) throws {
        guard let name = row["name"] as? String, let type = row["type"] as? String,
            let fields = row["fields"] as? [String: Any],
            let plane = (row["plane"] as? String).flatMap(Plane.init),
            let payload = (row["payload"] as? String).flatMap(bytes(hex:)),
            let frame = (row["frame"] as? String).flatMap(bytes(hex:)),
            let messageType = MessageType.allCases.first(where: { $0.name == type })
        else { throw VectorError(what: "a row lacks something: \(row)") }
        self.name = name
        self.payload = payload
        self.frame = frame
        limits = plane == .control ? .control : .data
        header = try decode(row["header"] ?? [:])
        // The vectors spell a message as its type and fields; Swift as a case with one value.
        message = try decode(["\(messageType)": ["_0": swiftFields(fields)]])
    }
}

struct RejectedVector: Decodable, CustomTestStringConvertible {
    let name: String
    let plane: Plane
    let error: String
    let offset: Int
    let frame: String
    let appendedZeros: Int?
    var testDescription: String { name }

    var limits: FrameLimits { plane == .control ? .control : .data }
    var bytes: [UInt8]? {
        WireProtocolTests.bytes(hex: frame).map {
            $0 + [UInt8](repeating: 0, count: appendedZeros ?? 0)
        }
    }
}

struct HashVector: Decodable, CustomTestStringConvertible {
    let length: Int
    let xxh3: String
    var testDescription: String { "\(length) bytes" }
}

/// A reference to a frame in shared memory, good or bad, or such a frame.
struct MemoryVector: Decodable, CustomTestStringConvertible {
    let name: String
    let reference: String?
    let fields: FrameReference?
    let error: String?
    let offset: Int?
    let frame: String?
    let payload: String?
    var testDescription: String { name }
}

private func decode<T: Decodable>(_ object: Any) throws -> T {
    try JSONDecoder().decode(T.self, from: JSONSerialization.data(withJSONObject: object))
}

/// Clock readings are plain nanoseconds in the vectors and a struct in Swift.
private func swiftFields(_ fields: [String: Any]) -> [String: Any] {
    var fields = fields
    for clock in ["sentAt", "echoSentAt", "coordinatorTime", "computeTime", "busyTime"] {
        if let value = fields[clock] { fields[clock] = ["nanoseconds": value] }
    }
    if let links = fields["links"] as? [[String: Any]] { fields["links"] = links.map(swiftFields) }
    if let inner = fields["inner"] as? [String: Any], let name = inner["type"] as? String,
        let type = MessageType.allCases.first(where: { $0.name == name })
    {
        fields["inner"] = ["\(type)": ["_0": inner["fields"] ?? [:]]]
    }
    return fields
}

func bytes(hex: String) -> [UInt8]? {
    let digits = Array(hex.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
        let pair = String(decoding: digits[index...index + 1], as: UTF8.self)
        guard let byte = UInt8(pair, radix: 16) else { return nil }
        bytes.append(byte)
    }
    return bytes
}
