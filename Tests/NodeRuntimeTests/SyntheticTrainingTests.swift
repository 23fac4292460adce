import ClusterModel
import Coordination
import NodeRuntime
import Testing
import WireProtocol

/// Orders carried out by a synthetic model's trainer, without a text and without sockets.
@Suite("A trainer without a model") struct SyntheticTrainingTests {
    private static let parameters = 4_096

    private static func configuration() -> RunConfiguration {
        RunConfiguration(
            name: "synthetic", seed: 7, steps: 60, model: .synthetic(parameters: parameters),
            training: .standard,
            schedule: .init(
                inner: .none, outer: .diloco, syncEvery: 10, outerLearningRate: 0.7,
                outerMomentum: 0.9), wire: .init(insideRegion: .fp32, betweenRegions: .int4),
            deadlines: .standard, data: .init(path: "/nonexistent"))
    }

    private static let topology = Topology(
        regions: [
            .init(
                name: "north",
                workers: [.init(name: "n-1", microBatch: 1, nominalStep: .seconds(9))])
        ], links: [], coordinatorRegion: RegionID(0))

    private static let chunk = TrainerOrder.Chunk(
        slice: 0, position: 0, range: 0..<UInt64(parameters))

    private static let fragment = [ElementRange(start: 0, count: UInt64(parameters))]

    private func trainer() throws -> UnpacedTrainer {
        try UnpacedTrainers(
            configuration: Self.configuration(), topology: Self.topology, directory: nil
        ).makeTrainer(seat: WorkerID(0))
    }

    private func run(_ trainer: UnpacedTrainer, _ order: TrainerOrder) -> [UnpacedTrainer.Output] {
        trainer.begin(order, plan: nil, payloads: [])
        return trainer.finish()
    }

    /// A step of a replica of one.
    private func step(_ trainer: UnpacedTrainer, _ step: UInt32) -> [UnpacedTrainer.Output] {
        let computed = run(trainer, .compute(step: step, samples: UInt64(step)..<UInt64(step) + 1))
        return computed
            + run(
                trainer,
                .absorb(
                    TrainerOrder.Absorption(
                        key: .inner(region: RegionID(0), step: step), step: step, turn: 0,
                        target: .optimiserStep, blend: 0, carried: nil, fragment: Self.fragment,
                        means: [])))
    }

    /// The bytes, and what was said.
    private func leave(
        _ trainer: UnpacedTrainer, round: UInt32, epoch: UInt32, isDue: Bool = true
    ) -> (bytes: [[UInt8]], notes: [String]) {
        let outputs = run(
            trainer,
            .encode(
                TrainerOrder.Encoding(
                    key: .outer(fragment: FragmentID(0), round: round),
                    epoch: Epoch(rawValue: epoch), source: .outerGradient, transform: .int4,
                    chunks: isDue ? [Self.chunk] : [], absent: isDue ? [] : [Self.chunk],
                    fragment: Self.fragment)))
        var bytes: [[UInt8]] = []
        var notes: [String] = []
        for output in outputs {
            switch output {
            case .encoded(_, _, _, _, _, let payload):
                bytes.append(payload.withBytes { span in span.indices.map { span[$0] } })
            case .report(.note(_, let text)): notes.append(text)
            default: break
            }
        }
        return (bytes, notes.filter { $0.contains("residue") })
    }

    @Test("the same seed gives the same values, and no text is read")
    func values() throws {
        let trainers = [try trainer(), try trainer()]
        let sent = trainers.map { trainer in
            for number in UInt32(1)...3 { _ = step(trainer, number) }
            return leave(trainer, round: 1, epoch: 1).bytes
        }
        let isSame = sent[0] == sent[1]
        #expect(isSame && sent[0].count == 1)
        let computed = step(trainers[0], 4).contains {
            if case .event(.computed(4, _, 128, _, _)) = $0 { true } else { false }
        }
        #expect(computed)
    }

    /// Rounds 2 and 3 have nothing of the slice, and a plan follows in place before each.
    @Test("what int4 withholds waits through rounds that pass the slice over")
    func residuesWait() throws {
        let (passing, plain) = (try trainer(), try trainer())
        for trainer in [passing, plain] {
            for number in UInt32(1)...3 { _ = step(trainer, number) }
        }
        let first = leave(passing, round: 1, epoch: 1)
        #expect(first.bytes.count == 1 && first.notes == [])
        for round in UInt32(2)...3 {
            let none = leave(passing, round: round, epoch: round, isDue: false)
            #expect(none.bytes.isEmpty && none.notes == [])
        }
        let later = leave(passing, round: 4, epoch: 4)
        #expect(later.bytes.count == 1 && later.notes == [])
        // Rounds of other epochs in which nobody says that the slice was passed over.
        #expect(leave(plain, round: 1, epoch: 1).notes == [])
        #expect(leave(plain, round: 4, epoch: 4).notes.count == 1)
    }
}
