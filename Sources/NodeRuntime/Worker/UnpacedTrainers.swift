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
/// All share one text. Orders run one after another on a thread beside the caller's; where a step may wait
/// for tokens of others, each trainer has a thread, and one of them runs at a time.
package final class UnpacedTrainers {
    private let corpus: Corpus?
    private let setups: [TrainerSetup]
    private let queue: TrainerQueue
    private let turn = TrainerTurn()
    /// A step may wait for tokens of others.
    private let exchangesTokens: Bool
    private let mayCross: Bool
    private let regions: Int
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
        regions = topology.regions.count
        mayCross = configuration.model.experts?.crossing != nil
        exchangesTokens = mayCross || configuration.spreadsExperts
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
            trainer: trainer, setup: setup, writesModel: writesModel,
            queue: exchangesTokens ? TrainerQueue() : queue, turn: turn, regions: regions,
            mayCross: mayCross, reducer: reducer)
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

/// Who of those that compute on threads of their own may: one at a time (docs/footguns.md).
private final class TrainerTurn: Sendable {
    private let free = DispatchSemaphore(value: 1)
    func take() { free.wait() }
    func give() { free.signal() }
}

private final class OrderEnding: Sendable {
    let isOver = Mutex(true)
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
        case tokens(to: WorkerID, Epoch, Tokens, PayloadBytes?)
        case report(RunEvent)
        case failed(String)
    }

    private let work: TrainerWork
    private let queue: TrainerQueue
    private let setup: TrainerSetup
    /// Of the same seat, on the caller's thread.
    private let reducer: ReductionRunner
    /// Signalled when an order has ended, and each time it begins to wait for tokens.
    private let done: DispatchSemaphore
    private let turn: TrainerTurn
    private let mailbox: TokenMailbox
    private let regions: Int
    private let mayCross: Bool
    private let ending = OrderEnding()

    fileprivate init(
        trainer: any Trainer, setup: TrainerSetup, writesModel: Bool, queue: TrainerQueue,
        turn: TrainerTurn, regions: Int, mayCross: Bool, reducer: ReductionRunner
    ) {
        self.regions = regions
        self.mayCross = mayCross
        self.setup = setup
        self.reducer = reducer
        self.turn = turn
        let done = DispatchSemaphore(value: 0)
        self.done = done
        mailbox = TokenMailbox(
            sleeps: {
                turn.give()
                done.signal()
            }, wakes: { turn.take() })
        work = TrainerWork(trainer, setup, writesModel: writesModel, mailbox: mailbox)
        self.queue = queue
    }

    /// A thread that waits for rows would wait for ever, and keep the model.
    deinit { mailbox.close() }

    /// - Parameters:
    ///   - plan: of a step that may need tokens of others.
    ///   - payloads: what the order refers to, in order.
    package func begin(_ order: TrainerOrder, plan: ActivePlan?, payloads: [PayloadBytes]) {
        let group = plan.map { TokenGroup($0, regions: regions, mayCross: mayCross) }
        _ = mailbox.open(plan?.epoch)
        ending.isOver.withLock { $0 = false }
        queue.submit { [work, done, turn, ending] in
            turn.take()
            work.run(order, group, payloads)
            ending.isOver.withLock { $0 = true }
            turn.give()
            done.signal()
        }
    }

    /// After ``finish()``: the rows of others that it waits for; nil: the order has ended.
    package var awaited: TokenMailbox.Half? {
        guard ending.isOver.withLock({ !$0 }), let wait = mailbox.wait else { return nil }
        return TokenMailbox.Half(step: wait.step, exchange: wait.exchange, kind: wait.kind)
    }

    /// All rows that it waits for. It has its turn only when they are all there.
    package func resume(_ rows: [(from: WorkerID, Tokens, PayloadBytes?)]) {
        turn.take()
        for (peer, tokens, bytes) in rows {
            let arrival = TokenMailbox.Arrival(
                from: peer, tokens: tokens, bytes: bytes, handle: nil)
            guard let epoch = mailbox.epoch else { continue }
            let delivery = mailbox.deliver(arrival, epoch)
            precondition(delivery == .kept, "rows of a step that is over")
        }
        turn.give()
    }

    /// They do not come: it gives the step up.
    package func interrupt() { mailbox.close() }

    package func finish() -> [Output] {
        done.wait()
        let notes = reducer.takeNote(source: setup.name).map { [Output.report($0)] } ?? []
        return notes + work.takeOutputs().compactMap(output)
    }

    /// Nil for what only the driver of sockets has a use for.
    private func output(_ output: TrainerOutput) -> Output? {
        switch output {
        case .event(let event): return .event(event)
        case .gradient: return nil
        case .tokens(let peer, let epoch, let tokens, let bytes):
            return .tokens(to: peer, epoch, tokens, bytes)
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

    init(
        _ trainer: any Trainer, _ setup: TrainerSetup, writesModel: Bool, mailbox: TokenMailbox
    ) {
        let outputs = OutputList()
        self.outputs = outputs
        self.writesModel = writesModel
        executor = TrainerExecutor(
            trainer: trainer, setup: setup, restored: nil, account: TimeAccount(), mailbox: mailbox
        ) { outputs.append($0) }
    }

    func takeOutputs() -> [TrainerOutput] { outputs.take() }

    func run(_ order: TrainerOrder, _ group: TokenGroup?, _ payloads: [PayloadBytes]) {
        switch order {
        case .compute(let step, let samples):
            guard let group else { return executor.run(.order(order)) }
            executor.run(.compute(step: step, samples: samples, group))
        case .absorb(let absorption): executor.run(.absorb(absorption, payloads, place: nil))
        case .installState(let chunk, let handle):
            executor.run(.install(chunk, payloads[0], handle))
        case .checkpoint(let step, _):
            // States are for restarts, and there are none.
            outputs.append(
                .event(.checkpointed(path: "(not written)", step: step, bytes: 0)))
        case .save(_, _, let model): executor.finish(model: model, writes: writesModel)
        case .encode, .evaluate, .readState, .takeOver: executor.run(.order(order))
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
