package import ClusterModel

/// Worker to coordinator: alive, this far, waiting for these.
package struct Heartbeat: Hashable, Codable, Sendable {
    /// Sender's clock.
    package var sentAt: Instant
    /// Inner steps done.
    package var step: UInt64
    package var phase: WorkerPhase
    package var waitingForRanks: [Rank]
    /// Samples drawn so far by this seat.
    package var samples: UInt64

    package init(
        sentAt: Instant, step: UInt64, phase: WorkerPhase, waitingForRanks: [Rank],
        samples: UInt64
    ) {
        self.sentAt = sentAt
        self.step = step
        self.phase = phase
        self.waitingForRanks = waitingForRanks
        self.samples = samples
    }
}

extension Heartbeat: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            sentAt: try reader.instant("HEARTBEAT.sentAt"),
            step: try reader.integer("HEARTBEAT.step"),
            phase: try reader.value("HEARTBEAT.phase"),
            waitingForRanks: try reader.list(
                "HEARTBEAT.waitingForRanks", limit: ProtocolLimits.ranks),
            samples: try reader.integer("HEARTBEAT.samples"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.instant(sentAt)
        writer.integer(step)
        writer.value(phase)
        try writer.list(
            waitingForRanks, "HEARTBEAT.waitingForRanks", limit: ProtocolLimits.ranks)
        writer.integer(samples)
    }
}

/// Coordinator to worker: from the two clocks a worker computes round trip and offset.
package struct HeartbeatAck: Hashable, Codable, Sendable {
    package var echoSentAt: Instant
    package var coordinatorTime: Instant

    package init(echoSentAt: Instant, coordinatorTime: Instant) {
        self.echoSentAt = echoSentAt
        self.coordinatorTime = coordinatorTime
    }
}

extension HeartbeatAck: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            echoSentAt: try reader.instant("HEARTBEAT-ACK.echoSentAt"),
            coordinatorTime: try reader.instant("HEARTBEAT-ACK.coordinatorTime"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.instant(echoSentAt)
        writer.instant(coordinatorTime)
    }
}
