internal import CZeroMQ

/// A CURVE public key: 32 bytes, written as 40 characters of Z85 (RFC 32).
package struct CurvePublicKey: Hashable, Sendable, Codable, CustomStringConvertible {
    package static let byteCount = 32

    // Four words instead of an array: a key is compared and hashed for every ZAP request.
    private let words: [4 of UInt64]

    /// From 32 bytes; nil for any other length.
    package init?(_ bytes: Span<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        var words: [4 of UInt64] = [0, 0, 0, 0]
        for index in 0..<Self.byteCount {
            words[index / 8] = words[index / 8] << 8 | UInt64(bytes[index])
        }
        self.words = words
    }

    /// From 40 characters of Z85.
    package init(z85 text: String) throws(ZeroMQError) {
        let bytes = try Z85.decodeKey(text, what: "public key")
        guard let key = Self(bytes.span) else { preconditionFailure("a decoded key has 32 bytes") }
        self = key
    }

    package var bytes: [UInt8] {
        (0..<Self.byteCount).map { index in
            UInt8(truncatingIfNeeded: words[index / 8] >> UInt64(56 - 8 * (index % 8)))
        }
    }

    package var z85: String { unsafe bytes.withUnsafeBufferPointer { unsafe Z85.encodeKey($0) } }
    package var description: String { z85 }

    package static func == (left: Self, right: Self) -> Bool {
        (0..<4).allSatisfy { left.words[$0] == right.words[$0] }
    }

    package func hash(into hasher: inout Hasher) {
        for index in 0..<4 { hasher.combine(words[index]) }
    }

    package init(from decoder: any Decoder) throws {
        try self.init(z85: decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(z85)
    }
}

/// RFC 32 text of 32-byte keys.
enum Z85 {
    static let keyCharacters = 40

    private static let alphabet = Set(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8
    )

    static func decodeKey(_ text: String, what: String) throws(ZeroMQError) -> [UInt8] {
        var key = [UInt8](repeating: 0, count: CurvePublicKey.byteCount)
        // SAFETY: 40 characters of the alphabet decode to exactly 32 bytes.
        guard text.utf8.count == keyCharacters, text.utf8.allSatisfy(alphabet.contains),
            unsafe zmq_z85_decode(&key, text) != nil
        else {
            throw ZeroMQError(
                .badKey, operation: "read", subject: what,
                reason: "not 40 characters of Z85 (got \(text.utf8.count))",
                hint: "copy the whole key; it has no spaces")
        }
        return key
    }

    static func encodeKey(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        precondition(bytes.count == CurvePublicKey.byteCount)
        var text = [CChar](repeating: 0, count: keyCharacters + 1)
        // SAFETY: 32 bytes give 40 characters and a NUL.
        unsafe _ = zmq_z85_encode(&text, bytes.baseAddress, bytes.count)
        return String(
            decoding: text.prefix(keyCharacters).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
