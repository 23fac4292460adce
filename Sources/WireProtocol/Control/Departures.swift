package import ClusterModel

/// Worker to coordinator: a peer seems to have failed.
package struct Suspect: Hashable, Codable, Sendable {
    package var rank: Rank
    /// Of the suspect, so that its successor is not blamed.
    package var incarnation: Incarnation
    package var reason: SuspectReason

    package init(rank: Rank, incarnation: Incarnation, reason: SuspectReason) {
        self.rank = rank
        self.incarnation = incarnation
        self.reason = reason
    }
}

extension Suspect: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            rank: try reader.rank("SUSPECT.rank"),
            incarnation: Incarnation(rawValue: try reader.integer("SUSPECT.incarnation")),
            reason: try reader.value("SUSPECT.reason"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.rank(rank)
        writer.integer(incarnation.rawValue)
        writer.value(reason)
    }
}

/// Worker to coordinator: going, by its own will.
package struct Leave: Hashable, Codable, Sendable {
    /// The exit code the process will end with; 0 = as planned.
    package var code: UInt16
    package var reason: String

    package init(code: UInt16, reason: String) {
        self.code = code
        self.reason = reason
    }
}

extension Leave: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            code: try reader.integer("LEAVE.code"),
            reason: try reader.text("LEAVE.reason", limit: ProtocolLimits.textBytes))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(code)
        try writer.text(reason, "LEAVE.reason", limit: ProtocolLimits.textBytes)
    }
}

/// Either way: the connection may be closed, nothing more will come.
package struct Bye: Hashable, Codable, Sendable {
    package init() {}
}

extension Bye: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) { self.init() }
    func write(to writer: inout ByteWriter) throws(FrameError) {}
}

/// Coordinator to worker: end now.
package struct Stop: Hashable, Codable, Sendable {
    /// The exit code the worker shall end with; 0 = as planned.
    package var code: UInt16
    package var reason: String
    /// Whether to save state before leaving.
    package var save: Bool

    package init(code: UInt16, reason: String, save: Bool) {
        self.code = code
        self.reason = reason
        self.save = save
    }
}

extension Stop: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            code: try reader.integer("STOP.code"),
            reason: try reader.text("STOP.reason", limit: ProtocolLimits.textBytes),
            save: try reader.bool("STOP.save"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(code)
        try writer.text(reason, "STOP.reason", limit: ProtocolLimits.textBytes)
        writer.bool(save)
    }
}

/// Worker to coordinator: one run event as UTF-8 JSON, which is the frame's payload.
package struct EventMessage: Hashable, Codable, Sendable {
    package init() {}
}

extension EventMessage: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) { self.init() }
    func write(to writer: inout ByteWriter) throws(FrameError) {}
}
