package import ClusterModel

/// Worker to coordinator: who I am, how peers reach me, what I hold. Its layout and the header's are
/// frozen for all versions, so that two programs without a common version can say so.
package struct Hello: Hashable, Codable, Sendable {
    package var minVersion: UInt8
    package var maxVersion: UInt8
    /// 1 to 64 of `[A-Za-z0-9._-]`.
    package var worker: String
    package var region: String
    /// Data ROUTER as others dial it.
    package var endpoint: String
    /// CURVE server key of that ROUTER.
    package var dataKey: PublicKey
    /// 0 = wants the configuration first.
    package var parameterCount: UInt64
    /// 0 = unknown.
    package var configurationDigest: UInt64
    /// Last outer round applied.
    package var round: UInt32
    /// Inner steps done.
    package var step: UInt64
    /// 0 = no state.
    package var stateDigest: UInt64
    /// Samples drawn so far by this seat.
    package var samples: UInt64
    /// Sender's clock.
    package var sentAt: Instant

    package init(
        minVersion: UInt8, maxVersion: UInt8, worker: String, region: String, endpoint: String,
        dataKey: PublicKey, parameterCount: UInt64, configurationDigest: UInt64, round: UInt32,
        step: UInt64, stateDigest: UInt64, samples: UInt64, sentAt: Instant
    ) {
        self.minVersion = minVersion
        self.maxVersion = maxVersion
        self.worker = worker
        self.region = region
        self.endpoint = endpoint
        self.dataKey = dataKey
        self.parameterCount = parameterCount
        self.configurationDigest = configurationDigest
        self.round = round
        self.step = step
        self.stateDigest = stateDigest
        self.samples = samples
        self.sentAt = sentAt
    }
}

extension Hello: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            minVersion: try reader.integer("HELLO.minVersion"),
            maxVersion: try reader.integer("HELLO.maxVersion"),
            worker: try reader.name("HELLO.worker"),
            region: try reader.text("HELLO.region", limit: ProtocolLimits.nameBytes),
            endpoint: try reader.text("HELLO.endpoint", limit: ProtocolLimits.endpointBytes),
            dataKey: try reader.key("HELLO.dataKey"),
            parameterCount: try reader.integer("HELLO.parameterCount"),
            configurationDigest: try reader.integer("HELLO.configurationDigest"),
            round: try reader.integer("HELLO.round"),
            step: try reader.integer("HELLO.step"),
            stateDigest: try reader.integer("HELLO.stateDigest"),
            samples: try reader.integer("HELLO.samples"),
            sentAt: try reader.instant("HELLO.sentAt"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(minVersion)
        writer.integer(maxVersion)
        try writer.name(worker, "HELLO.worker")
        try writer.text(region, "HELLO.region", limit: ProtocolLimits.nameBytes)
        try writer.text(endpoint, "HELLO.endpoint", limit: ProtocolLimits.endpointBytes)
        writer.key(dataKey)
        writer.integer(parameterCount)
        writer.integer(configurationDigest)
        writer.integer(round)
        writer.integer(step)
        writer.integer(stateDigest)
        writer.integer(samples)
        writer.instant(sentAt)
    }
}
