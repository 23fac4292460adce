package import ClusterModel

/// One emulated link between two regions.
package struct RelayConfiguration: Codable, Equatable, Sendable {
    package var regionA: String
    package var regionB: String
    /// What bytes from region A's side experience.
    package var aToB: LinkParameters
    package var bToA: LinkParameters
    /// Changes of rate and delay while the link runs; nil: none.
    package var aToBSchedule: LinkSchedule?
    package var bToASchedule: LinkSchedule?
    /// Resets of connections; other changes are not looked at here.
    package var resets: [LinkChange]?
    /// Ports of further relays that flows dialled from A (from B) cross after this one, in order: a
    /// path over a transit region. Set-up costs a round trip of each link so far for every hop.
    package var chainFromA: [UInt16]?
    package var chainFromB: [UInt16]?
    /// Seeds the jitter of both directions, and which connection a reset hits.
    package var seed: UInt64
    /// Ports on 127.0.0.1; 0 lets the kernel choose.
    package var aPort: UInt16 = 0
    package var bPort: UInt16 = 0
    /// Where the report is written every second and at the end; nil for none.
    package var reportPath: String?
    /// Answer a refused or unreachable destination with success and then close, as if the peer had
    /// gone: libzmq 4.3.4 aborts the process when a socket is closed after its SOCKS proxy refused
    /// (docs/footguns.md).
    package var concealsRefusals = false
    /// Stop after standard input (a pipe from the parent) has reached its end: with the last flow, or
    /// after ``RelayLimits/drainNanoseconds``.
    package var exitWithParent = false

    package init(
        regionA: String, regionB: String, aToB: LinkParameters, bToA: LinkParameters, seed: UInt64
    ) {
        self.regionA = regionA
        self.regionB = regionB
        self.aToB = aToB
        self.bToA = bToA
        self.seed = seed
    }

    func check() throws(RelayError) {
        for (name, link) in [(regionA, aToB), (regionB, bToA)] where !link.isValid {
            throw RelayError(
                "start", "link from \(name)", reason: "parameters out of range: \(link)",
                hint: "see LinkParameters.isValid")
        }
    }
}

/// Every limit of the relay, with its reason.
enum RelayLimits {
    /// Flows at once: lanes x peers of one pair of regions stay far below; two descriptors each.
    static let flows = 4096
    /// Bytes read per flow and turn: small enough that flows share a link evenly at 10 Mbit/s
    /// (13 ms), large enough for 10 Gbit/s.
    static let turnBytes = 16 * 1024
    /// Reads between two looks at the clock and at epoll, so that deliveries stay on time.
    static let turnsPerWait = 32
    /// SO_SNDBUF and SO_RCVBUF of the local legs (the kernel doubles it): what a sender can have in
    /// the kernel beyond the emulated queue. Below one loopback segment (64 KiB) TCP stalls.
    static let socketBufferBytes: Int32 = 128 * 1024
    /// What one flow may hold beyond rate x delay + queue: the far leg's share of socket buffers.
    static let flowSlackBytes = 256 * 1024
    /// In-flight bytes of one flow on a link without a rate, where no product bounds them.
    static let unlimitedFlowBytes = 64 * 1024 * 1024
    /// All flows of one direction together. Receivers which do not read fill it, nothing else.
    static let directionBytes = 1024 * 1024 * 1024
    /// Segments of one flow which wait: bounds the heap under floods of tiny writes.
    static let flowSegments = 65_536
    /// Bytes a SYN, FIN or RST costs on the link: a TCP/IP header with options.
    static let controlBytes = 64
    /// From accept to the end of the connection set-up, on top of the link's own delays.
    static let setUpNanoseconds: Int64 = 10_000_000_000
    static let reportInterval: Int64 = 1_000_000_000
    /// How long flows may go on after the parent's end: a worker saves its state and waits 3 s for
    /// BYE before it leaves.
    static let drainNanoseconds: Int64 = 20_000_000_000

    /// Bytes one flow may hold in one direction: what can be on the link at once, in the widest phase
    /// of its schedule.
    static func flowBytes(_ link: LinkParameters, _ schedule: LinkSchedule? = nil) -> Int {
        let phases = schedule?.phases.filter { !$0.isDown }
        let rates = phases?.map(\.bitsPerSecond) ?? [link.bitsPerSecond]
        let delays = phases?.map(\.oneWayNanoseconds) ?? [link.oneWayNanoseconds]
        guard !rates.contains(0), let rate = rates.max() else { return unlimitedFlowBytes }
        let delay = Double((delays.max() ?? 0) + link.jitterNanoseconds) / 1e9
        let product = Double(rate) / 8 * delay
        return min(Int(product) + link.queueLimitBytes + flowSlackBytes, directionBytes)
    }
}
