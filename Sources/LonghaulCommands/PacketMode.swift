import ClusterModel
import NodeRuntime

/// Whether this machine can run packet mode.
enum PacketMode {
    /// - Throws: a failure that says exactly what was refused.
    static func check() throws {
        guard let refusal = PacketNetwork.refusal() else { return }
        throw Failure(
            .notAllowed, "packet mode is not possible here: \(refusal)",
            hint:
                "it needs root, network namespaces and /dev/net/tun; relay mode needs none of them")
    }
}
