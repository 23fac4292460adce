/// Element types Longhaul stores.
package enum SafetensorsType: String, Sendable, CaseIterable {
    case float32 = "F32"
    case uint8 = "U8"
    case int64 = "I64"

    /// Bytes per element.
    package var width: Int {
        switch self {
        case .float32: 4
        case .uint8: 1
        case .int64: 8
        }
    }
}

/// Name, type and shape of one tensor of a file.
package struct SafetensorsEntry: Sendable, Equatable {
    package var name: String
    package var type: SafetensorsType
    package var shape: [Int]

    package init(name: String, type: SafetensorsType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// nil if it exceeds what an `Int` holds, or a dimension is negative.
    package var byteCount: Int? {
        var bytes = type.width
        for dimension in shape {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
            if overflow || dimension < 0 {
                return nil
            }
            bytes = product
        }
        return bytes
    }
}

/// The JSON header of a safetensors file, https://github.com/huggingface/safetensors: an object of
/// `name: {dtype, shape, data_offsets}` and, optionally, `__metadata__` of strings.
struct SafetensorsHeader: Equatable {
    /// The format's own limit; checked before anything is allocated.
    static let byteLimit = 100_000_000

    /// In the order of their data.
    var entries: [SafetensorsEntry]
    var metadata: [(key: String, value: String)]

    static func == (a: SafetensorsHeader, b: SafetensorsHeader) -> Bool {
        a.entries == b.entries && a.metadata.elementsEqual(b.metadata, by: ==)
    }

    var dataBytes: Int {
        entries.reduce(0) { $0 + ($1.byteCount ?? 0) }
    }

    /// The JSON text, padded with spaces so that the data begins at a multiple of eight.
    func encoded() -> [UInt8] {
        var text = "{"
        if !metadata.isEmpty {
            let pairs = metadata.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
            text += "\"__metadata__\":{\(pairs.joined(separator: ","))},"
        }
        var offset = 0
        var parts: [String] = []
        for entry in entries {
            let end = offset + (entry.byteCount ?? 0)
            let shape = entry.shape.map(String.init).joined(separator: ",")
            parts.append(
                "\(Self.quoted(entry.name)):{\"dtype\":\"\(entry.type.rawValue)\","
                    + "\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
            offset = end
        }
        text += parts.joined(separator: ",")
        if text.last == "," {
            text.removeLast()
        }
        text += "}"
        var bytes = Array(text.utf8)
        while bytes.count % 8 != 0 {
            bytes.append(UInt8(ascii: " "))
        }
        return bytes
    }

    /// Parses and checks a header; `dataBytes` is what the file holds behind it.
    init(json: [UInt8], dataBytes: Int) throws(HeaderProblem) {
        guard json.first == UInt8(ascii: "{") else {
            throw HeaderProblem("the header does not start with {")
        }
        var parser = HeaderParser(bytes: json)
        var placed: [(entry: SafetensorsEntry, begin: Int, end: Int)] = []
        var metadata: [(key: String, value: String)] = []
        try parser.parseObject { parser, name throws(HeaderProblem) in
            if name == "__metadata__" {
                try parser.parseObject { parser, key throws(HeaderProblem) in
                    metadata.append((key, try parser.parseString()))
                }
            } else {
                placed.append(try Self.parseEntry(name, &parser))
            }
        }
        try parser.expectEnd()
        placed.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
        var end = 0
        for item in placed {
            if item.begin != end {
                throw HeaderProblem(
                    "tensor \"\(item.entry.name)\" begins at \(item.begin), expected \(end)")
            }
            guard let bytes = item.entry.byteCount, item.end >= item.begin,
                bytes == item.end - item.begin
            else {
                throw HeaderProblem(
                    "tensor \"\(item.entry.name)\": its shape does not fit its offsets "
                        + "\(item.begin) to \(item.end)")
            }
            end = item.end
        }
        if end < dataBytes {
            throw HeaderProblem("\(dataBytes - end) bytes follow the last tensor")
        }
        entries = placed.map(\.entry)
        self.metadata = metadata
    }

    init(entries: [SafetensorsEntry], metadata: [(key: String, value: String)]) {
        self.entries = entries
        self.metadata = metadata
    }

    private static func parseEntry(
        _ name: String, _ parser: inout HeaderParser
    ) throws(HeaderProblem) -> (entry: SafetensorsEntry, begin: Int, end: Int) {
        var type: SafetensorsType?
        var shape: [Int]?
        var offsets: [Int]?
        try parser.parseObject { parser, key throws(HeaderProblem) in
            switch key {
            case "dtype":
                let text = try parser.parseString()
                type = SafetensorsType(rawValue: text)
                if type == nil {
                    throw HeaderProblem("tensor \"\(name)\" has unsupported type \"\(text)\"")
                }
            case "shape": shape = try parser.parseIntegers()
            case "data_offsets": offsets = try parser.parseIntegers()
            default: throw HeaderProblem("tensor \"\(name)\" has unknown key \"\(key)\"")
            }
        }
        guard let type, let shape, let offsets, offsets.count == 2 else {
            throw HeaderProblem("tensor \"\(name)\" lacks dtype, shape or data_offsets")
        }
        return (SafetensorsEntry(name: name, type: type, shape: shape), offsets[0], offsets[1])
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
