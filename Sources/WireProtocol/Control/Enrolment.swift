package import ClusterModel

/// Worker to coordinator, over the key of a join token: put this key on the allow-list.
package struct Enrol: Hashable, Codable, Sendable {
    /// 1 to 64 of `[A-Za-z0-9._-]`.
    package var worker: String
    package var region: String
    /// The worker's own CURVE key for the control connection.
    package var controlKey: PublicKey

    package init(worker: String, region: String, controlKey: PublicKey) {
        self.worker = worker
        self.region = region
        self.controlKey = controlKey
    }
}

extension Enrol: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            worker: try reader.name("ENROL.worker"),
            region: try reader.text("ENROL.region", limit: ProtocolLimits.nameBytes),
            controlKey: try reader.key("ENROL.controlKey"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try writer.name(worker, "ENROL.worker")
        try writer.text(region, "ENROL.region", limit: ProtocolLimits.nameBytes)
        writer.key(controlKey)
    }
}

/// Coordinator to worker: the token is spent, the key is known; connect again with it.
package struct Enrolled: Hashable, Codable, Sendable {
    /// The seat.
    package var workerID: WorkerID

    package init(workerID: WorkerID) { self.workerID = workerID }
}

extension Enrolled: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(workerID: WorkerID(rawValue: try reader.integer("ENROLLED.workerID")))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(workerID.rawValue)
    }
}
