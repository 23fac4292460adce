/// What ZeroMQ's transport adds to frames and connections, in bytes (RFC 37/ZMTP 3.1, RFC 26/CURVEZMQ).
enum WireSize {
    /// Command name, nonce, authenticator and flags of an encrypted message.
    private static let curve = 8 + 8 + 16 + 1
    /// A long frame's flags and length.
    static let longFraming = 9

    /// A message of one part on the wire.
    static func message(_ bytes: Int, encrypts: Bool) -> Int {
        guard encrypts else { return bytes + longFraming }
        let body = bytes + curve
        return body + (body > 255 ? longFraming : 2)
    }

    /// Greeting, HELLO and INITIATE of the dialling side; greeting, WELCOME and READY of the other.
    /// Metadata: socket type and an empty identity.
    static func handshake(encrypts: Bool) -> (dialler: Int, acceptor: Int) {
        let greeting = 64
        guard encrypts else { return (greeting + 42, greeting + 42) }
        let (hello, initiate) = (202, 301)
        let (welcome, ready) = (170, 67)
        return (greeting + hello + initiate, greeting + welcome + ready)
    }
}
