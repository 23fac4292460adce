/// Where a dialler wants to go: a port of this machine's loopback interface.
struct SocksDestination: Equatable, CustomStringConvertible {
    let isIPv6: Bool
    /// 127.0.0.0/8 in host order; unused for IPv6, where only ::1 is loopback.
    let ipv4: UInt32
    let port: UInt16

    var description: String { "\(host):\(port)" }

    var host: String {
        if isIPv6 { return "[::1]" }
        return [24, 16, 8, 0].map { String(ipv4 >> UInt32($0) & 0xff) }.joined(separator: ".")
    }
}

/// The server's side of SOCKS 5 (RFC 1928): no authentication, CONNECT, loopback only.
///
/// It is told bytes and says how many it wants next, so that no byte after the request, which may be
/// the dialler's first data, is ever taken from the socket here.
struct SocksHandshake {
    /// Reply codes of RFC 1928 section 6.
    enum Reply: UInt8, Equatable {
        case succeeded = 0
        case generalFailure = 1
        case notAllowed = 2
        case hostUnreachable = 4
        case connectionRefused = 5
        case commandNotSupported = 7
        case addressTypeNotSupported = 8

        /// The whole reply, with the bound address left 0.0.0.0:0 as it means nothing here.
        var bytes: [UInt8] { [5, rawValue, 0, 1, 0, 0, 0, 0, 0, 0] }
    }

    enum Step: Equatable {
        /// Read up to so many bytes.
        case need(Int)
        /// Answer with these bytes at once and go on.
        case answer([UInt8])
        /// The request is complete.
        case connect(SocksDestination)
        /// Answer with these bytes and close.
        case refuse([UInt8])
    }

    private enum Phase { case greeting, request }
    private var phase = Phase.greeting
    private var received: [UInt8] = []

    init() {}

    mutating func receive(_ bytes: [UInt8]) { received += bytes }

    /// What to do now. A request has at most 262 bytes, so nothing here grows.
    mutating func step() -> Step {
        switch phase {
        case .greeting: greeting()
        case .request: request()
        }
    }

    private mutating func greeting() -> Step {
        guard received.count >= 2 else { return .need(2 - received.count) }
        guard received[0] == 5 else { return .refuse([]) }
        let total = 2 + Int(received[1])
        guard received.count >= total else { return .need(total - received.count) }
        guard received[2...].contains(0) else { return .refuse([5, 0xff]) }
        received = []
        phase = .request
        return .answer([5, 0])
    }

    private func request() -> Step {
        // Version, command, reserved, type and the first byte of the address.
        guard received.count >= 5 else { return .need(5 - received.count) }
        guard received[0] == 5 else { return .refuse(Reply.generalFailure.bytes) }
        let length: Int
        switch received[3] {
        case 1: length = 4
        case 3: length = 1 + Int(received[4])
        case 4: length = 16
        default: return .refuse(Reply.addressTypeNotSupported.bytes)
        }
        let total = 4 + length + 2
        guard received.count >= total else { return .need(total - received.count) }
        guard received[1] == 1 else { return .refuse(Reply.commandNotSupported.bytes) }
        let port = UInt16(received[total - 2]) << 8 | UInt16(received[total - 1])
        guard let destination = destination(Array(received[4..<(4 + length)]), port) else {
            return .refuse(Reply.notAllowed.bytes)
        }
        return .connect(destination)
    }

    private func destination(_ address: [UInt8], _ port: UInt16) -> SocksDestination? {
        guard port != 0 else { return nil }
        switch address.count {
        case 4 where received[3] == 1:
            let host = address.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard host >> 24 == 127 else { return nil }
            return SocksDestination(isIPv6: false, ipv4: host, port: port)
        case 16 where received[3] == 4:
            guard address == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] else { return nil }
            return SocksDestination(isIPv6: true, ipv4: 0, port: port)
        default:
            guard Array(address.dropFirst()) == Array("localhost".utf8) else { return nil }
            return SocksDestination(isIPv6: false, ipv4: 0x7f00_0001, port: port)
        }
    }
}
