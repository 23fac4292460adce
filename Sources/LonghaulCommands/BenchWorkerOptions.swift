import ArgumentParser
import Foundation
import NodeRuntime
import ZeroMQ

/// What every worker process of a bench is told of its cluster.
struct BenchWorkerOptions: ParsableArguments {
    @Option var coordinator: String
    @Option var coordinatorKey: String
    @Option var name: String
    @Option var region: String
    @Option var key: String
    @Option var elements: Int
    @Option var listen = "tcp://127.0.0.1:*"
    @Option var via: [String] = []
    @Option var viaCoordinator: String?
    @Flag var plain = false

    /// - Returns: the runtime's options, and an interrupt that also follows the parent's end.
    func prepare() throws -> (options: WorkerOptions, interrupt: Interrupt) {
        ProcessMemory.keepFreed()
        let interrupt = try Interrupt()
        interrupt.install()
        interrupt.watchParent()
        var proxies: [String: String] = [:]
        for entry in via {
            let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { proxies[parts[0]] = parts[1] }
        }
        var options = WorkerOptions(
            name: name, region: region, coordinator: coordinator,
            coordinatorKey: try CurvePublicKey(z85: coordinatorKey),
            keys: try CurveKeyFile.readSecret(key), listen: listen,
            directory: URL(filePath: key).deletingLastPathComponent().path, proxies: proxies,
            controlProxy: viaCoordinator)
        options.isPlain = plain
        return (options, interrupt)
    }
}
