/// A request of RFC 27 section "The ZAP protocol", as libzmq sends it to a REP socket.
///
/// Frames: version, request id, domain, address, routing id, mechanism, credentials...
struct ZapRequest {
    static let partLimit = 8

    private let domain: [UInt8]
    private let mechanism: [UInt8]
    private let credentials: [[UInt8]]

    /// nil when the frames are not a request of version 1.0.
    init?(_ parts: [[UInt8]]) {
        guard (6..<Self.partLimit).contains(parts.count), parts[0] == Array("1.0".utf8) else {
            return nil
        }
        domain = parts[2]
        mechanism = parts[5]
        credentials = Array(parts[6...])
    }

    /// The CURVE key asking for admission to `expected`; nil for any other domain or mechanism.
    func key(in expected: String) -> CurvePublicKey? {
        guard domain == Array(expected.utf8), mechanism == Array("CURVE".utf8),
            credentials.count == 1
        else { return nil }
        let credential = credentials[0]
        return CurvePublicKey(credential.span)
    }

    /// Version, request id, status code, status text, user id, metadata.
    static func reply(to identifier: [UInt8], admitting name: String?) -> [[UInt8]] {
        let (status, text) = name == nil ? ("400", "key not on the allow-list") : ("200", "OK")
        return [
            Array("1.0".utf8), identifier, Array(status.utf8), Array(text.utf8),
            Array((name ?? "").utf8), [],
        ]
    }
}
