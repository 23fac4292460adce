package import ClusterModel
package import WireProtocol

/// What a machine was made from; with what it was told, all that decides what it wants.
package enum MachineOrigin: Codable, Equatable, Sendable {
    case worker(
        WorkerID, region: RegionID, hello: Hello, configuration: RunConfiguration,
        topology: Topology, hasRest: Bool? = nil)
    case coordinator(
        configuration: RunConfiguration, topology: Topology, configurationText: String,
        configurationDigest: UInt64, parameterCount: UInt64)
}

/// One line of a recording: a machine begins, or is told something and wants something.
///
/// `process` tells apart the machines that share a file: a process has one.
package enum MachineRecord: Codable, Equatable, Sendable {
    case begins(process: UInt64, MachineOrigin)
    case worker(process: UInt64, at: Instant, Worker.Event, [Worker.Effect])
    case coordinator(process: UInt64, at: Instant, Coordinator.Event, [Coordinator.Effect])
}
