package import ClusterModel
import Compression
package import Coordination
import Foundation
import Synchronization
import Training
package import WireProtocol

/// The trainers of a whole cluster in one process, without sockets and without pacing: what worker
/// processes would compute, for a driver that has its own clock.
///
/// All share one text. Orders run one after another on a thread beside the caller's.
package final class UnpacedTrainers {
    private let corpus: Corpus?
    private let setups: [TrainerSetup]
    private let queue: TrainerQueue
    private let frames: FramePool
    /// By seat, of its trainer: what was withheld from earlier chunks, and what their stages cost, is known
    /// per worker.
    private var reducers: [ReductionRunner]
    private let writesModel: Bool

    /// - Parameter directory: where the first rank writes the model; nil: it does not.
    /// - Throws: `CorpusError` when the configured text cannot be used.
    package init(
        configuration: RunConfiguration, topology: Topology, directory: String?
    ) throws {
        setups = topology.seats.map { seat in
            TrainerSetup(
                configuration: configuration, topology: topology, worker: seat.id,
                name: seat.worker.name, directory: directory ?? "", isTimed: false)
        }
        let frames = FramePool()
        self.frames = frames
        reducers = setups.map { _ in ReductionRunner(frames) }
        guard let first = setups.first else { preconditionFailure("a topology has workers") }
        corpus = try first.loadCorpus()
        queue = TrainerQueue()
        writesModel = directory != nil
    }

    /// A new process of this seat, which knows nothing of the one before.
    ///
    /// - Throws: `ModelShapeError` when the configured model cannot be made.
    package func makeTrainer(seat: WorkerID) throws -> UnpacedTrainer {
        let setup = setups[Int(seat.rawValue)]
        let trainer = try setup.makeTrainer(corpus)
        let reducer = ReductionRunner(frames)
        reducers[Int(seat.rawValue)] = reducer
        reducer.classes = TensorClassTally(tensors: trainer.tensors)
        return UnpacedTrainer(
            trainer: trainer, setup: setup, writesModel: writesModel, queue: queue,
            reducer: reducer)
    }

    /// As ``ReductionRunner/reduce``, for the owner's link.
    package func mean(
        _ sources: [(bytes: PayloadBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, contribution: RegionContribution?, owner: WorkerID
    ) throws -> PayloadBytes {
        try reducers[Int(owner.rawValue)].reduce(
            sources, elements: elements, transform: transform, scope: scope,
            contribution: contribution, setup: setups[Int(owner.rawValue)])
    }
}

/// One of them. `begin` and `finish` alternate, on one thread.
package final class UnpacedTrainer {
    /// What the trainer said to one order.
    package enum Output: Sendable {
        case event(Worker.TrainerEvent)
        case encoded(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, elements: UInt32,
            PayloadBytes)
        case stateRead(to: WorkerID, StateChunk, PayloadBytes)
        case report(RunEvent)
        case failed(String)
    }

    private let work: TrainerWork
    private let queue: TrainerQueue
    private let setup: TrainerSetup
    /// Of the same seat, on the caller's thread.
    private let reducer: ReductionRunner
    private let done = DispatchSemaphore(value: 0)

    init(
        trainer: any Trainer, setup: TrainerSetup, writesModel: Bool, queue: TrainerQueue,
        reducer: ReductionRunner
    ) {
        self.setup = setup
        self.reducer = reducer
        work = TrainerWork(trainer, setup, writesModel: writesModel)
        self.queue = queue
    }

    /// - Parameter payloads: what the order refers to, in order.
    package func begin(_ order: TrainerOrder, payloads: [PayloadBytes]) {
        queue.submit { [work, done] in
            work.run(order, payloads)
            done.signal()
        }
    }

    package func finish() -> [Output] {
        done.wait()
        let notes = reducer.takeNote(source: setup.name).map { [Output.report($0)] } ?? []
        return notes + work.takeOutputs().compactMap(output)
    }

    /// Nil for what only the driver of sockets has a use for.
    private func output(_ output: TrainerOutput) -> Output? {
        switch output {
        case .event(let event): return .event(event)
        case .gradient, .tokens: return nil
        case .encoded(let key, let epoch, let chunk, let bytes):
            return .encoded(
                key: key, epoch: epoch, slice: chunk.slice, position: chunk.position,
                elements: UInt32(chunk.range.count), bytes)
        case .stateRead(let peer, let chunk, let bytes): return .stateRead(to: peer, chunk, bytes)
        case .failed(let what): return .failed(what)
        case .report(let event): return .report(event)
        case .codecUse(let classes):
            let uses = classes.adding(reducer.classes).uses
            return uses.isEmpty ? nil : .report(.codecUse(worker: setup.worker, uses))
        }
    }
}

/// The executor with what it has said. One task at a time: `begin` and `finish` alternate, and the
/// semaphore between them orders the threads' accesses.
private final class TrainerWork: @unchecked Sendable {
    private let outputs: OutputList
    private let executor: TrainerExecutor
    private let writesModel: Bool

    init(_ trainer: any Trainer, _ setup: TrainerSetup, writesModel: Bool) {
        let outputs = OutputList()
        self.outputs = outputs
        self.writesModel = writesModel
        executor = TrainerExecutor(
            trainer: trainer, setup: setup, restored: nil, account: TimeAccount()
        ) { outputs.append($0) }
    }

    func takeOutputs() -> [TrainerOutput] { outputs.take() }

    func run(_ order: TrainerOrder, _ payloads: [PayloadBytes]) {
        switch order {
        case .absorb(let absorption): executor.run(.absorb(absorption, payloads, place: nil))
        case .installState(let chunk, let handle):
            executor.run(.install(chunk, payloads[0], handle))
        case .checkpoint(let step, _):
            // States are for restarts, and there are none.
            outputs.append(
                .event(.checkpointed(path: "(not written)", step: step, bytes: 0)))
        case .save(_, _, let model): executor.finish(model: model, writes: writesModel)
        case .compute, .encode, .evaluate, .readState, .takeOver: executor.run(.order(order))
        }
    }
}

private final class OutputList: Sendable {
    private let outputs = Mutex<[TrainerOutput]>([])
    func append(_ output: TrainerOutput) { outputs.withLock { $0.append(output) } }
    func take() -> [TrainerOutput] {
        outputs.withLock { outputs in
            defer { outputs = [] }
            return outputs
        }
    }
}
