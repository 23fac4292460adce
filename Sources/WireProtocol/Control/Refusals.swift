import ClusterModel

/// Coordinator to worker, in place of WELCOME. Its layout is frozen for all versions.
package struct Refuse: Hashable, Codable, Sendable {
    package var code: RefusalCode
    /// What was wrong.
    package var reason: String
    /// What to do next.
    package var hint: String
    /// The versions the coordinator speaks.
    package var minVersion: UInt8
    package var maxVersion: UInt8

    package init(
        code: RefusalCode, reason: String, hint: String, minVersion: UInt8, maxVersion: UInt8
    ) {
        self.code = code
        self.reason = reason
        self.hint = hint
        self.minVersion = minVersion
        self.maxVersion = maxVersion
    }
}

extension Refuse: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            code: try reader.value("REFUSE.code"),
            reason: try reader.text("REFUSE.reason", limit: ProtocolLimits.textBytes),
            hint: try reader.text("REFUSE.hint", limit: ProtocolLimits.textBytes),
            minVersion: try reader.integer("REFUSE.minVersion"),
            maxVersion: try reader.integer("REFUSE.maxVersion"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(code)
        try writer.text(reason, "REFUSE.reason", limit: ProtocolLimits.textBytes)
        try writer.text(hint, "REFUSE.hint", limit: ProtocolLimits.textBytes)
        writer.integer(minVersion)
        writer.integer(maxVersion)
    }
}

/// Coordinator to worker: no longer a member.
package struct Evicted: Hashable, Codable, Sendable {
    package var code: RefusalCode
    package var reason: String

    package init(code: RefusalCode, reason: String) {
        self.code = code
        self.reason = reason
    }
}

extension Evicted: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            code: try reader.value("EVICTED.code"),
            reason: try reader.text("EVICTED.reason", limit: ProtocolLimits.textBytes))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(code)
        try writer.text(reason, "EVICTED.reason", limit: ProtocolLimits.textBytes)
    }
}

/// Either way, on either plane: a frame of the receiver's broke the protocol.
package struct ErrorMessage: Hashable, Codable, Sendable {
    package var code: RefusalCode
    package var text: String
    /// Type byte of the frame; 0 if it could not be read.
    package var offendingType: UInt8
    /// Sequence of the frame; 0 if it could not be read.
    package var offendingSequence: UInt64

    package init(
        code: RefusalCode, text: String, offendingType: UInt8, offendingSequence: UInt64
    ) {
        self.code = code
        self.text = text
        self.offendingType = offendingType
        self.offendingSequence = offendingSequence
    }
}

extension ErrorMessage: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            code: try reader.value("ERROR.code"),
            text: try reader.text("ERROR.text", limit: ProtocolLimits.textBytes),
            offendingType: try reader.integer("ERROR.offendingType"),
            offendingSequence: try reader.integer("ERROR.offendingSequence"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(code)
        try writer.text(text, "ERROR.text", limit: ProtocolLimits.textBytes)
        writer.integer(offendingType)
        writer.integer(offendingSequence)
    }
}
