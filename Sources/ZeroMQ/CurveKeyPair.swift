internal import CZeroMQ
internal import Glibc

/// A CURVE secret key. Its bytes are wiped when the last owner lets go; it never prints itself.
@safe package final class CurveSecretKey: Sendable, CustomStringConvertible {
    // SAFETY: written only in `init`, read-only afterwards, freed in `deinit`.
    private nonisolated(unsafe) let storage: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: UnsafeBufferPointer<UInt8>) {
        precondition(bytes.count == CurvePublicKey.byteCount)
        unsafe storage = .allocate(capacity: bytes.count)
        unsafe _ = storage.initialize(from: bytes)
    }

    deinit {
        // explicit_bzero is never optimised away.
        unsafe explicit_bzero(storage.baseAddress.unsafelyUnwrapped, storage.count)
        unsafe storage.deallocate()
    }

    package var description: String { "(secret key)" }

    func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        unsafe body(UnsafeBufferPointer(storage))
    }
}

/// A CURVE key pair: who a worker or coordinator is.
package struct CurveKeyPair: Sendable {
    package let publicKey: CurvePublicKey
    package let secretKey: CurveSecretKey

    /// A new random pair.
    package static func generate() throws(ZeroMQError) -> CurveKeyPair {
        var publicText = [CChar](repeating: 0, count: Z85.keyCharacters + 1)
        var secretText = publicText
        defer { unsafe explicit_bzero(&secretText, secretText.count) }
        // SAFETY: both buffers hold 40 characters and a NUL.
        guard unsafe zmq_curve_keypair(&publicText, &secretText) == 0 else {
            throw .last("generate", "CURVE key pair")
        }
        return try CurveKeyPair(secretZ85: text(secretText))
    }

    /// The pair which belongs to a secret key in Z85.
    package init(secretZ85: String) throws(ZeroMQError) {
        var publicText = [CChar](repeating: 0, count: Z85.keyCharacters + 1)
        var secret = try Z85.decodeKey(secretZ85, what: "secret key")
        defer { unsafe explicit_bzero(&secret, secret.count) }
        // SAFETY: the output holds 40 characters and a NUL; the input was checked above.
        guard unsafe zmq_curve_public(&publicText, secretZ85) == 0 else {
            throw .last("derive", "public key")
        }
        publicKey = try CurvePublicKey(z85: Self.text(publicText))
        secretKey = unsafe secret.withUnsafeBufferPointer { unsafe CurveSecretKey($0) }
    }

    /// The secret as Z85, for the key file only.
    package var secretZ85: String { unsafe secretKey.withBytes { unsafe Z85.encodeKey($0) } }

    private static func text(_ characters: [CChar]) -> String {
        String(
            decoding: characters.prefix(Z85.keyCharacters).map(UInt8.init(bitPattern:)),
            as: UTF8.self)
    }
}
