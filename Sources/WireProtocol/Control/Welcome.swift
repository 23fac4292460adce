package import ClusterModel

/// Coordinator to worker: the seat and everything the run fixes.
package struct Welcome: Hashable, Codable, Sendable {
    /// The seat.
    package var workerID: WorkerID
    /// The version all later frames of this connection have.
    package var version: UInt8
    package var configurationDigest: UInt64
    /// JSON of run configuration and topology, at most 48 KiB.
    package var configuration: String
    package var echoSentAt: Instant
    package var coordinatorTime: Instant

    package init(
        workerID: WorkerID, version: UInt8, configurationDigest: UInt64, configuration: String,
        echoSentAt: Instant, coordinatorTime: Instant
    ) {
        self.workerID = workerID
        self.version = version
        self.configurationDigest = configurationDigest
        self.configuration = configuration
        self.echoSentAt = echoSentAt
        self.coordinatorTime = coordinatorTime
    }
}

extension Welcome: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            workerID: WorkerID(rawValue: try reader.integer("WELCOME.workerID")),
            version: try reader.integer("WELCOME.version"),
            configurationDigest: try reader.integer("WELCOME.configurationDigest"),
            configuration: try reader.longText(
                "WELCOME.configuration", limit: ProtocolLimits.configurationBytes),
            echoSentAt: try reader.instant("WELCOME.echoSentAt"),
            coordinatorTime: try reader.instant("WELCOME.coordinatorTime"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(workerID.rawValue)
        writer.integer(version)
        writer.integer(configurationDigest)
        try writer.longText(
            configuration, "WELCOME.configuration", limit: ProtocolLimits.configurationBytes)
        writer.instant(echoSentAt)
        writer.instant(coordinatorTime)
    }
}
