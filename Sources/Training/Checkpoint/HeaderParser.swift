/// What is wrong with a header.
struct HeaderProblem: Error, Equatable {
    let reason: String

    init(_ reason: String) {
        self.reason = reason
    }
}

/// A strict parser of the JSON a safetensors header may hold: objects, strings and arrays of
/// non-negative integers. Unlike a general parser it refuses a key that occurs twice.
struct HeaderParser {
    private let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Calls `member` after each key; it parses the value.
    mutating func parseObject(
        member: (inout HeaderParser, String) throws(HeaderProblem) -> Void
    ) throws(HeaderProblem) {
        try expect(UInt8(ascii: "{"))
        if skip(UInt8(ascii: "}")) {
            return
        }
        var keys: Set<String> = []
        repeat {
            let key = try parseString()
            if !keys.insert(key).inserted {
                throw HeaderProblem("the key \"\(key)\" occurs twice")
            }
            try expect(UInt8(ascii: ":"))
            try member(&self, key)
        } while skip(UInt8(ascii: ","))
        try expect(UInt8(ascii: "}"))
    }

    mutating func parseIntegers() throws(HeaderProblem) -> [Int] {
        try expect(UInt8(ascii: "["))
        var values: [Int] = []
        if skip(UInt8(ascii: "]")) {
            return values
        }
        repeat {
            values.append(try parseInteger())
        } while skip(UInt8(ascii: ","))
        try expect(UInt8(ascii: "]"))
        return values
    }

    mutating func parseString() throws(HeaderProblem) -> String {
        try expect(UInt8(ascii: "\""))
        var text: [UInt8] = []
        while let byte = take() {
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw problem("a string is not UTF-8")
                }
                return string
            case UInt8(ascii: "\\"): try parseEscape(into: &text)
            case 0..<0x20: throw problem("a control character in a string")
            default: text.append(byte)
            }
        }
        throw problem("a string does not end")
    }

    /// Only spaces may follow.
    mutating func expectEnd() throws(HeaderProblem) {
        skipSpace()
        if position != bytes.count {
            throw problem("text after the header's end")
        }
    }

    private mutating func parseEscape(into text: inout [UInt8]) throws(HeaderProblem) {
        switch take() {
        case UInt8(ascii: "\""): text.append(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): text.append(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): text.append(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            var code = try parseHexUnit()
            if (0xD800..<0xDC00).contains(code) {
                guard take() == UInt8(ascii: "\\"), take() == UInt8(ascii: "u") else {
                    throw problem("half a surrogate pair")
                }
                let low = try parseHexUnit()
                guard (0xDC00..<0xE000).contains(low) else {
                    throw problem("half a surrogate pair")
                }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else {
                throw problem("half a surrogate pair")
            }
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: throw problem("an unknown escape in a string")
        }
    }

    private mutating func parseHexUnit() throws(HeaderProblem) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = take().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
                throw problem("four hexadecimal digits expected")
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    private mutating func parseInteger() throws(HeaderProblem) -> Int {
        skipSpace()
        let start = position
        while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")) ~= bytes[position] {
            position += 1
        }
        guard let value = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else {
            throw problem("a non-negative 64-bit integer expected")
        }
        return value
    }

    private mutating func take() -> UInt8? {
        guard position < bytes.count else {
            return nil
        }
        position += 1
        return bytes[position - 1]
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) {
            position += 1
        }
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == byte else {
            return false
        }
        position += 1
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(HeaderProblem) {
        if !skip(byte) {
            throw problem("\"\(Character(Unicode.Scalar(byte)))\" expected")
        }
    }

    private func problem(_ what: String) -> HeaderProblem {
        HeaderProblem("\(what) at byte \(position) of the header")
    }
}
