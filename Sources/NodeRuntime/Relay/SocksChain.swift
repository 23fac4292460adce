/// The dialler's side of SOCKS 5 through one proxy after another, for a flow that crosses several links.
///
/// Greeting and request of a hop go out together; the next hop's follow when its answer is there. It
/// is told bytes and says how many it wants, so that none of the flow's own is ever taken.
struct SocksChain {
    enum Step: Equatable {
        case send([UInt8])
        case need(Int)
        case connected
        case failed(SocksHandshake.Reply)
    }

    /// Method and answer.
    private static let answerBytes = 2 + 10

    private let targets: [SocksDestination]
    private var next = 0
    private var received: [UInt8] = []

    /// - Parameter targets: where each hop's proxy is asked to connect to; the last is the flow's own
    ///   destination.
    init(_ targets: [SocksDestination]) { self.targets = targets }

    mutating func receive(_ bytes: [UInt8]) { received += bytes }

    mutating func step() -> Step {
        if next > 0 {
            guard received.count == Self.answerBytes else {
                return .need(Self.answerBytes - received.count)
            }
            guard received[3] == 0 else {
                return .failed(SocksHandshake.Reply(rawValue: received[3]) ?? .generalFailure)
            }
            received = []
        }
        guard next < targets.count else { return .connected }
        let target = targets[next]
        next += 1
        let port = [UInt8(target.port >> 8), UInt8(target.port & 0xff)]
        let address: [UInt8] =
            target.isIPv6
            ? [4] + [UInt8](repeating: 0, count: 15) + [1]
            : [1] + [24, 16, 8, 0].map { UInt8(target.ipv4 >> UInt32($0) & 0xff) }
        return .send([5, 1, 0, 5, 1, 0] + address + port)
    }
}
