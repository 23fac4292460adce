import Coordination
import Foundation

/// What the kernel lets one TCP connection have under way.
enum TransportLimits {
    /// The smaller of the largest send buffer and half of the largest receive buffer (the other half is
    /// for the kernel's own bookkeeping). The peer's kernel is taken to be like this one's.
    static func conditions() -> LaneConditions {
        let congestion = text("tcp_congestion_control")
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard let send = largest("tcp_wmem"), let receive = largest("tcp_rmem") else {
            return LaneConditions(congestion: congestion)
        }
        return LaneConditions(windowLimit: min(send, receive / 2), congestion: congestion)
    }

    /// Third of "least default most", in bytes.
    private static func largest(_ name: String) -> UInt64? {
        text(name).split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" }).last
            .flatMap { UInt64($0) }
    }

    /// Of the network namespace this process is in.
    private static func text(_ name: String) -> String {
        (try? String(contentsOfFile: "/proc/sys/net/ipv4/\(name)", encoding: .utf8)) ?? ""
    }
}
