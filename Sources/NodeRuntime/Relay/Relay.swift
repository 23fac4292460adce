// An emulated link between two regions, as one process per pair of regions.
//
// It is a SOCKS 5 proxy with two ports on 127.0.0.1: diallers of region A use one, diallers of region
// B the other, so the direction is known from the port. Bytes from A's side, of all flows together,
// cross the A->B `LinkClock`; bytes from B's side the B->A clock.
//
// What a relay which ends TCP on both sides hides, compared with a real wide-area path:
//  - slow start: a flow has the link's whole rate from its first byte, so short transfers finish
//    several round trips earlier than over a long path;
//  - loss and the response to it: nothing is lost, there are no retransmissions, no congestion window
//    and no unfairness between congestion controls or round-trip times;
//  - the window limit of one connection (tcp_wmem / RTT): one flow fills any link, where a real one
//    needs several lanes;
//  - packet headers: the rate is a rate of payload, where TCP carries 1,448 of 1,500 bytes;
//  - the acknowledgement a sender's kernel sees comes from the relay, not from the far end: up to the
//    socket buffers of a leg a sender runs ahead of the emulated queue.
// It shows delay, jitter, serialisation, queueing, back-pressure, sharing and connection loss
// faithfully, within the lateness which its report states.

internal import FoundationEssentials
internal import Glibc
package import ZeroMQ

/// The two ports diallers use, printed as one line of JSON when the relay listens.
package struct RelayPorts: Codable, Equatable, Sendable {
    /// For diallers in region A, to reach B.
    package var aPort: UInt16
    /// For diallers in region B, to reach A.
    package var bPort: UInt16

    private enum CodingKeys: String, CodingKey {
        case aPort = "a_port"
        case bPort = "b_port"
    }
}

package enum Relay {
    /// Runs the relay on this thread until it is told to stop.
    ///
    /// - Parameters:
    ///   - stop: ends the relay when signalled; without it SIGTERM and SIGINT do.
    ///   - announce: called once with the ports, when connections can be made. By default prints
    ///     them on standard output: `{"a_port":40001,"b_port":40002}`.
    /// - Throws: `RelayError` when it cannot start, and what writing the last report throws.
    package static func run(
        _ configuration: RelayConfiguration, stop: WakeUp? = nil,
        announce: (RelayPorts) throws -> Void = printPorts
    ) throws {
        try configuration.check()
        let signals = stop == nil ? try TerminationSignals() : nil
        let loop = try RelayLoop(configuration)
        if let descriptor = stop?.descriptor ?? signals?.descriptor {
            try loop.stopWhenReadable(descriptor)
        }
        if configuration.exitWithParent { try loop.stopAtEndOfInput() }
        try announce(loop.ports)
        try withExtendedLifetime((stop, signals)) { try loop.run() }
    }

    /// Prints the ports as one line of JSON.
    package static func printPorts(_ ports: RelayPorts) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        print(String(decoding: try encoder.encode(ports), as: UTF8.self))
        // Standard output is a pipe to the parent, which waits for this line.
        fflush(nil)
    }
}

/// Writes the report atomically, so that a reader never sees half of one and a killed relay leaves
/// its last.
struct RelayReportFile {
    let url: URL

    init(_ path: String) { url = URL(filePath: path) }

    /// Says something on standard error.
    static func warn(_ text: String) {
        var standardError = StandardError()
        print(text, to: &standardError)
    }

    func write(_ report: RelayReport) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(report).write(to: url, options: .atomic)
    }
}
