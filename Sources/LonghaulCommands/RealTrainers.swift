import ClusterModel
import Coordination
import NodeRuntime
import Simulation
import WireProtocol

/// Lets a simulated run train for real: the executors, codecs and reduction of worker processes, in
/// this process, under the simulator's clock.
final class RealTrainers: TrainerHost {
    private let trainers: UnpacedTrainers
    private var made: [RealTrainer]

    /// - Parameter directory: where the model goes; nil: nowhere.
    /// - Throws: `CorpusError`, `ModelShapeError`.
    init(configuration: RunConfiguration, topology: Topology, directory: String?) throws {
        trainers = try UnpacedTrainers(
            configuration: configuration, topology: topology, directory: directory)
        made = []
        for seat in topology.seats {
            made.append(RealTrainer(try trainers.makeTrainer(seat: seat.id)))
        }
    }

    func makeTrainer(seat: WorkerID) -> any HostedTrainer { made[Int(seat.rawValue)] }

    func mean(
        _ sources: [(bytes: EncodedBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, contribution: RegionContribution?, owner: WorkerID
    ) -> Result<EncodedBytes, HostFailure> {
        Result {
            EncodedBytes(
                try trainers.mean(
                    sources.map { (PayloadBytes($0.bytes), $0.weight) }, elements: elements,
                    transform: transform, scope: scope, contribution: contribution, owner: owner))
        }.mapError { HostFailure("\($0)") }
    }
}

private final class RealTrainer: HostedTrainer {
    private let trainer: UnpacedTrainer

    init(_ trainer: UnpacedTrainer) { self.trainer = trainer }

    func begin(_ order: TrainerOrder, plan: ActivePlan?, payloads: [EncodedBytes]) {
        trainer.begin(order, plan: plan, payloads: payloads.map(PayloadBytes.init))
    }

    var awaited: AwaitedTokens? {
        trainer.awaited.map { AwaitedTokens(exchange: $0.exchange, kind: $0.kind) }
    }

    func resume(_ rows: [(from: WorkerID, Tokens, EncodedBytes?)]) {
        trainer.resume(rows.map { ($0.0, $0.1, $0.2.map(PayloadBytes.init)) })
    }

    func interrupt() { trainer.interrupt() }

    func finish() -> [HostedAnswer] {
        trainer.finish().map { output in
            switch output {
            case .event(let event): .event(event)
            case .encoded(let key, let epoch, let slice, let position, let elements, let bytes):
                .encoded(
                    key: key, epoch: epoch, slice: slice, position: position, elements: elements,
                    EncodedBytes(bytes))
            case .stateRead(let peer, let chunk, let bytes):
                .stateRead(to: peer, chunk, EncodedBytes(bytes))
            case .tokens(let peer, let epoch, let tokens, let bytes):
                .tokens(to: peer, epoch, tokens, bytes.map(EncodedBytes.init))
            case .report(let event): .report(event)
            case .failed(let what): .failed(what)
            }
        }
    }
}

extension PayloadBytes {
    fileprivate convenience init(_ encoded: EncodedBytes) {
        self.init(made: encoded.bytes, transform: encoded.transform, stage: encoded.stage)
    }
}

extension EncodedBytes {
    fileprivate init(_ payload: PayloadBytes) {
        self.init(payload.copiedBytes, transform: payload.transform, stage: payload.stage)
    }
}
