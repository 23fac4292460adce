package import ClusterModel

/// A message between two members that have no lane to each other, on its way over a third one
/// (section 8.9). It belongs to the lane `origin` and `destination` would have; the payload is the inner
/// message's.
package struct Relay: Hashable, Codable, Sendable {
    /// Both are seats: a frame may outlive the plan under which it was sent.
    package var origin: WorkerID
    package var destination: WorkerID
    /// Of the inner message: one that is sent again keeps it.
    package var epoch: Epoch
    /// Of the inner message on the lane between the two; 0 for one outside the sequence.
    package var sequence: UInt64
    package var inner: Message

    package init(
        origin: WorkerID, destination: WorkerID, epoch: Epoch, sequence: UInt64, inner: Message
    ) {
        self.origin = origin
        self.destination = destination
        self.epoch = epoch
        self.sequence = sequence
        self.inner = inner
    }

    /// Where the payload of a RELAY frame starts: 64 bytes of header, 21 of its own fields, and those of
    /// the inner message.
    package var payloadOffset: Int {
        ProtocolLimits.headerBytes + 21 + inner.type.shape.meta.lowerBound
    }
}

extension Relay: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        origin = WorkerID(rawValue: try reader.integer("RELAY.origin"))
        destination = WorkerID(rawValue: try reader.integer("RELAY.destination"))
        epoch = Epoch(rawValue: try reader.integer("RELAY.epoch"))
        sequence = try reader.integer("RELAY.sequence")
        let offset = reader.position
        let type: MessageType = try reader.value("RELAY.type")
        try Relay.check(type, at: offset)
        inner = try Message(type, reading: &reader)
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(origin.rawValue)
        writer.integer(destination.rawValue)
        writer.integer(epoch.rawValue)
        writer.integer(sequence)
        try Relay.check(inner.type, at: writer.position)
        writer.value(inner.type)
        try inner.fields.write(to: &writer)
    }

    private static func check(_ type: MessageType, at offset: Int) throws(FrameError) {
        guard type.isRelayed else {
            throw .invalidEnum(field: "RELAY.type", offset: offset, got: UInt64(type.rawValue))
        }
    }
}
