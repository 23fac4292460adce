/// The identity a ROUTER gives to one connection: opaque, valid until that connection ends.
///
/// Rule 6: nobody sets ZMQ_ROUTING_ID, so an identity is always the one libzmq generates, a zero
/// byte and a 32-bit number. `Socket` drops messages from peers which chose their own. The identity
/// says nothing about who the peer is; `Message.userID` does.
package struct RoutingID: Hashable, Sendable, CustomStringConvertible {
    static let byteCount = 5

    let number: UInt32

    init?(_ bytes: Span<UInt8>) {
        guard bytes.count == Self.byteCount, bytes[0] == 0 else { return nil }
        var value: UInt32 = 0
        for index in 1..<Self.byteCount { value = value << 8 | UInt32(bytes[index]) }
        number = value
    }

    /// The five bytes as they stand in the identity frame.
    package var bytes: [UInt8] {
        [
            0, UInt8(truncatingIfNeeded: number >> 24), UInt8(truncatingIfNeeded: number >> 16),
            UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number),
        ]
    }

    package var description: String { "connection \(String(number, radix: 16))" }
}
