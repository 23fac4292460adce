import ClusterModel
import Coordination
import Foundation
import Synchronization
import Training
import ZeroMQ

/// The thread that owns the trainer. Tasks go in, outputs come out in order; the loop thread is woken
/// by an eventfd.
final class TrainerThread: Sendable {
    /// Orders a machine can have outstanding: one step's few. More means it does not wait for answers.
    private static let taskLimit = 65_536

    /// What the trainer said when it was built.
    struct Ready: Sendable {
        var parameterCount: UInt64
        var tensors: [TensorSpec]
        var restored: RestoredState?
    }

    let wakeUp: WakeUp
    let account = TimeAccount()
    let mailbox = TokenMailbox()
    private let tasks = Mutex<[TrainerTask]>([])
    private let outputs = Mutex<[TrainerOutput]>([])
    private let pending = DispatchSemaphore(value: 0)
    private let started = Atomic<Bool>(false)
    private let stopping = Atomic<Bool>(false)
    private let finished = DispatchSemaphore(value: 0)

    init() throws(ZeroMQError) { wakeUp = try WakeUp() }

    /// Builds the trainer on its own thread (reading the text takes a moment) and waits for it.
    /// `whileWaiting` is called every half second, so that nobody waits in silence.
    func start(
        _ setup: TrainerSetup, _ options: WorkerOptions, whileWaiting: () -> Void
    ) throws -> Ready {
        let outcome = Mutex<Result<Ready, any Error>?>(nil)
        let built = DispatchSemaphore(value: 0)
        let thread = Thread { [self] in
            do {
                let trainer =
                    try options.makeTrainer?(setup) ?? setup.makeTrainer(setup.loadCorpus())
                var restored: RestoredState?
                if options.resume, FileManager.default.fileExists(atPath: setup.statePath) {
                    restored = try setup.restoreState(trainer) { trainer in
                        Self.digest(trainer, setup, self.account)
                    }
                }
                if let place = options.standsAt {
                    restored = RestoredState(
                        step: place.step, round: place.round, samples: 0,
                        digest: Self.digest(trainer, setup, self.account))
                }
                let executor = TrainerExecutor(
                    trainer: trainer, setup: setup, restored: restored, account: account,
                    pool: options.pool, mailbox: mailbox
                ) { [self] output in self.put(output) }
                executor.atEnd = options.atEnd
                let ready = Ready(
                    parameterCount: UInt64(trainer.parameterCount), tensors: trainer.tensors,
                    restored: restored)
                outcome.withLock { $0 = .success(ready) }
                built.signal()
                serve(executor)
            } catch {
                outcome.withLock { $0 = .failure(error) }
                built.signal()
            }
            finished.signal()
        }
        thread.name = "trainer"
        started.store(true, ordering: .releasing)
        thread.stackSize = 8 << 20
        thread.start()
        while built.wait(timeout: .now() + .milliseconds(500)) == .timedOut { whileWaiting() }
        guard let result = outcome.withLock({ $0 }) else {
            preconditionFailure("the trainer thread signalled without an outcome")
        }
        return try result.get()
    }

    private static func digest(
        _ trainer: any Trainer, _ setup: TrainerSetup, _ account: TimeAccount
    ) -> UInt64 {
        TrainerExecutor(
            trainer: trainer, setup: setup, restored: nil, account: account, emit: { _ in }
        ).stateDigest()
    }

    func submit(_ task: TrainerTask) {
        tasks.withLock {
            precondition($0.count < Self.taskLimit, "the trainer has too many orders")
            $0.append(task)
        }
        pending.signal()
    }

    /// Everything put out since the last call.
    ///
    /// - Parameter isAwake: the wake-up was found signalled. Where it was not and there are no outputs,
    ///   draining it would be a system call for nothing.
    func take(isAwake: Bool) -> [TrainerOutput] {
        guard isAwake || outputs.withLock({ !$0.isEmpty }) else { return [] }
        wakeUp.drain()
        return outputs.withLock { outputs in
            defer { outputs = [] }
            return outputs
        }
    }

    /// Ends after the order under way; waits for it.
    func stop() {
        // A worker that is refused ends before it has a trainer.
        guard started.load(ordering: .acquiring) else { return }
        stopping.store(true, ordering: .releasing)
        mailbox.close()
        pending.signal()
        _ = finished.wait(timeout: .now() + .seconds(10))
    }

    private func put(_ output: TrainerOutput) {
        let isFirst = outputs.withLock { outputs in
            outputs.append(output)
            return outputs.count == 1
        }
        // Whoever was woken for the first takes the rest with it.
        if isFirst { wakeUp.signal() }
    }

    private func serve(_ executor: TrainerExecutor) {
        while true {
            pending.wait()
            if stopping.load(ordering: .acquiring) { return }
            let task = tasks.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            guard let task else { continue }
            executor.run(task)
        }
    }
}
