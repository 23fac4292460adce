import ClusterModel
import Training
import ZeroMQ

/// A worker of `longhaul bench state`: the shipped worker with a trainer that never trains. Sources begin
/// with a state, the joiner with another one that counts for nothing.
package enum StateWorker {
    /// The whole run: whoever stands there has nothing left to train.
    package static let steps: UInt32 = 1

    /// Takes part until the run ends.
    package static func run(
        _ options: WorkerOptions, elements: Int, isSource: Bool, interrupt: Interrupt,
        log: @escaping (String) -> Void
    ) throws {
        var options = options
        options.makeTrainer = { _ in
            SyntheticTrainer(
                parameterCount: elements, seed: isSource ? 1 : 2, keepsOuterCopy: true)
        }
        options.standsAt = isSource ? (steps, 1) : nil
        options.atEnd = { _, _ in }
        let outcome = try WorkerNode(options, interrupt: interrupt, log: log).run()
        guard outcome.code == .ok else { throw NodeError(outcome.code, outcome.reason) }
    }
}
