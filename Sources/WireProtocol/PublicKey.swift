/// A CURVE public key: 32 raw bytes. In JSON 64 hexadecimal digits.
package struct PublicKey: Hashable, Sendable {
    package static let byteCount = 32
    package let bytes: [UInt8]

    /// `nil` unless there are exactly 32 bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == PublicKey.byteCount else { return nil }
        self.bytes = bytes
    }

    /// For bytes whose number the caller has fixed already.
    init(checked bytes: [UInt8]) {
        precondition(bytes.count == PublicKey.byteCount, "a CURVE key has 32 bytes")
        self.bytes = bytes
    }
}

extension PublicKey: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let digits = Array(try container.decode(String.self).utf8)
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count - digits.count % 2, by: 2) {
            let pair = String(decoding: digits[index...index + 1], as: UTF8.self)
            guard let byte = UInt8(pair, radix: 16) else { break }
            bytes.append(byte)
        }
        guard digits.count == 2 * PublicKey.byteCount, bytes.count == PublicKey.byteCount else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "a CURVE key is 64 hexadecimal digits")
        }
        self.bytes = bytes
    }

    package func encode(to encoder: any Encoder) throws {
        var text = ""
        for byte in bytes { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
