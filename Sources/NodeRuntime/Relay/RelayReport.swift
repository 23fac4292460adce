package import ClusterModel

/// What crossed an emulated link so far.
package struct RelayReport: Codable, Equatable, Sendable {
    package struct Direction: Codable, Equatable, Sendable {
        package var from: String
        package var to: String
        package var link: LinkParameters
        /// Payload bytes read from the sending side.
        package var bytesAccepted: UInt64 = 0
        /// Payload bytes handed to the receiving side.
        package var bytesDelivered: UInt64 = 0
        package var segments: UInt64 = 0
        /// Flows dialled from this direction's sending side.
        package var flowsOpened: UInt64 = 0
        /// Set-ups which failed: refused, unreachable, not allowed, too slow, over the limit.
        package var flowsRefused: UInt64 = 0
        /// Flows which ended by a reset of the sending side.
        package var flowsReset: UInt64 = 0
        /// Bytes waiting for serialisation: the largest number seen, and the last.
        package var peakQueueBytes = 0
        package var queueBytes = 0
        /// How late the relay itself delivered at worst; above a millisecond the machine was too
        /// busy and the emulation errs by as much.
        package var worstLatenessNanoseconds: Int64 = 0
        /// Packet mode only: lost by the model, and dropped because the queue was full.
        package var packetsLost: UInt64?
        package var packetsDropped: UInt64?

        init(from: String, to: String, link: LinkParameters) {
            self.from = from
            self.to = to
            self.link = link
        }
    }

    package var seed: UInt64
    package var seconds: Double = 0
    package var openFlows = 0
    package var aToB: Direction
    package var bToA: Direction

    init(seed: UInt64, seconds: Double, aToB: Direction, bToA: Direction) {
        self.seed = seed
        self.seconds = seconds
        self.aToB = aToB
        self.bToA = bToA
    }

    init(_ configuration: RelayConfiguration) {
        seed = configuration.seed
        aToB = Direction(
            from: configuration.regionA, to: configuration.regionB, link: configuration.aToB)
        bToA = Direction(
            from: configuration.regionB, to: configuration.regionA, link: configuration.bToA)
    }

    subscript(side: RelaySide) -> Direction {
        get { side == .a ? aToB : bToA }
        set { if side == .a { aToB = newValue } else { bToA = newValue } }
    }
}

/// A side of the link; as the name of a direction, the side its bytes come from.
enum RelaySide: Int, CaseIterable {
    case a = 0
    case b = 1
    var other: RelaySide { self == .a ? .b : .a }
}
