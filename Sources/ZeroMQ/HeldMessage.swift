/// A received message with several owners, readable from any thread.
///
/// The reducer of a slice holds the bodies of one chunk position until the expected contributions
/// are there and then reads straight out of them; collections hold classes, not `~Copyable` values.
package final class HeldMessage: Sendable {
    private let message: Message

    package init(_ message: consuming Message) { self.message = message }

    /// Size in bytes.
    package var count: Int { message.count }

    /// The name the ZAP handler gave to the peer's key (rule 7: of a body frame).
    package var userID: String? { message.userID }

    /// Reads the bytes in place.
    package func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try message.withBytes(body)
    }
}
