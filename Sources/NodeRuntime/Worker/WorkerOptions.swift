package import ClusterModel
import Training
package import ZeroMQ

/// What a worker process needs to find its run; everything else comes with WELCOME.
package struct WorkerOptions: Sendable {
    package var name: String
    /// Empty: the coordinator's allow-list decides.
    package var region: String
    /// `tcp://host:port` of the coordinator.
    package var coordinator: String
    package var coordinatorKey: CurvePublicKey
    package var keys: CurveKeyPair
    /// Where peers connect; `*` takes a free port.
    package var listen: String
    /// Host peers dial, if it differs from the listening one (a worker behind a fixed translation).
    package var advertiseHost: String?
    /// Nobody can dial this worker: it offers no port and dials the others.
    package var dialsOut = false
    /// State and model files.
    package var directory: String
    package var resume: Bool
    /// SOCKS5 proxies (`host:port`) by region: connections to that region go through it. A link relay
    /// is one.
    package var proxies: [String: String]
    /// The proxy for the coordinator's connection.
    package var controlProxy: String?
    /// Replaces the configured text.
    package var dataPath: String?
    /// Peers need no keys and nothing is encrypted between them. For measurements on this machine;
    /// no command line of a worker offers it.
    package var isPlain = false
    /// What goes out on the lanes is counted here.
    var counters = LaneCounters()
    /// Where frames are made.
    var pool = FramePool()
    /// Replaces the configured model and its text.
    var makeTrainer: (@Sendable (TrainerSetup) -> any Trainer)?
    /// What the trainer holds is the state of this step and round, as if it had been saved.
    var standsAt: (step: UInt32, round: UInt32)?
    /// No lossless stage.
    var storesChunks = false
    /// How tokens travel, where that is not the cluster file's to say.
    var tokenTransform: TransformID?
    /// Tokens reach the trainer in an order of this seed: nothing may depend on it.
    var tokenOrder: UInt64?
    /// Called on the trainer's thread instead of writing the state at the end.
    var atEnd: (@Sendable (any Trainer, TrainerSetup) -> Void)?

    package init(
        name: String, region: String, coordinator: String, coordinatorKey: CurvePublicKey,
        keys: CurveKeyPair, listen: String = "tcp://127.0.0.1:*", advertiseHost: String? = nil,
        directory: String, resume: Bool = false, proxies: [String: String] = [:],
        controlProxy: String? = nil, dataPath: String? = nil
    ) {
        self.name = name
        self.region = region
        self.coordinator = coordinator
        self.coordinatorKey = coordinatorKey
        self.keys = keys
        self.listen = listen
        self.advertiseHost = advertiseHost
        self.directory = directory
        self.resume = resume
        self.proxies = proxies
        self.controlProxy = controlProxy
        self.dataPath = dataPath
    }
}

/// Why a node could not start or had to end; the exit code goes with it.
package struct NodeError: Error, CustomStringConvertible {
    package let code: ExitCode
    package let message: String
    package let hint: String
    package var description: String { hint.isEmpty ? message : "\(message)\n  \(hint)" }
    package init(_ code: ExitCode, _ message: String, hint: String = "") {
        self.code = code
        self.message = message
        self.hint = hint
    }
}
