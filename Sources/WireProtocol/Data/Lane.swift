package import ClusterModel

/// Contributor to owner, first frame of a lane and after every reconnect.
package struct LaneHello: Hashable, Codable, Sendable {
    /// Of the owner, as the plan says: another life of it must refuse.
    package var peerIncarnation: Incarnation
    /// The contributor's seat.
    package var workerID: WorkerID
    /// How many lanes the contributor has or is about to dial to this owner; 0: not decided yet.
    package var lanes: UInt16
    /// Highest sequence received in order from the owner on this lane; it resends what follows.
    package var resumeFrom: UInt64
    /// Bytes of payload the owner may have sent on this lane since it began, in total.
    package var grantedTo: UInt64

    package init(
        peerIncarnation: Incarnation, workerID: WorkerID, lanes: UInt16 = 1,
        resumeFrom: UInt64 = 0, grantedTo: UInt64 = 0
    ) {
        self.peerIncarnation = peerIncarnation
        self.workerID = workerID
        self.lanes = lanes
        self.resumeFrom = resumeFrom
        self.grantedTo = grantedTo
    }
}

extension LaneHello: MetaFields {
    static let laneCounts: ClosedRange<UInt16> = 0...ProtocolLimits.lanes

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            peerIncarnation: Incarnation(
                rawValue: try reader.integer("LANE-HELLO.peerIncarnation")),
            workerID: WorkerID(rawValue: try reader.integer("LANE-HELLO.workerID")),
            lanes: try reader.integer("LANE-HELLO.lanes", in: LaneHello.laneCounts),
            resumeFrom: try reader.integer("LANE-HELLO.resumeFrom"),
            grantedTo: try reader.integer("LANE-HELLO.grantedTo"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(peerIncarnation.rawValue)
        writer.integer(workerID.rawValue)
        try writer.integer(lanes, "LANE-HELLO.lanes", in: LaneHello.laneCounts)
        writer.integer(resumeFrom)
        writer.integer(grantedTo)
    }
}

/// Owner to contributor: the lane stands.
package struct LaneWelcome: Hashable, Codable, Sendable {
    /// Highest sequence received in order from the contributor on this lane.
    package var resumeFrom: UInt64
    /// As ``LaneHello/grantedTo``, for the contributor.
    package var grantedTo: UInt64

    package init(resumeFrom: UInt64, grantedTo: UInt64) {
        self.resumeFrom = resumeFrom
        self.grantedTo = grantedTo
    }
}

extension LaneWelcome: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            resumeFrom: try reader.integer("LANE-WELCOME.resumeFrom"),
            grantedTo: try reader.integer("LANE-WELCOME.grantedTo"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(resumeFrom)
        writer.integer(grantedTo)
    }
}

/// Either way on a lane: what arrived, and how much more may come.
package struct Acknowledge: Hashable, Codable, Sendable {
    /// Highest sequence received in order.
    package var received: UInt64
    /// Bytes of payload the peer may have sent since the lane began, in total; never shrinks.
    package var grantedTo: UInt64

    package init(received: UInt64, grantedTo: UInt64) {
        self.received = received
        self.grantedTo = grantedTo
    }
}

extension Acknowledge: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            received: try reader.integer("ACK.received"),
            grantedTo: try reader.integer("ACK.grantedTo"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(received)
        writer.integer(grantedTo)
    }
}

/// Either way: this end sends nothing more on the lane.
package struct LaneBye: Hashable, Codable, Sendable {
    /// The last sequence this end has used.
    package var lastSequence: UInt64

    package init(lastSequence: UInt64) { self.lastSequence = lastSequence }
}

extension LaneBye: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(lastSequence: try reader.integer("LANE-BYE.lastSequence"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) { writer.integer(lastSequence) }
}
