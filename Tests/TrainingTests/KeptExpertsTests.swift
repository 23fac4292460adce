import Testing
import Training

/// Experts that are kept by the worker that computes them (Protocols/longhaul-1.md, section 7.12).
@Suite("Experts kept by their holders") struct KeptExpertsTests {
    private static let experts = ExpertShape(count: 4, width: 16)

    /// Workers of a region, and what they do together.
    private final class Workers: @unchecked Sendable {
        var trainers: [TransformerTrainer]
        var interrupted = 0

        init(_ count: Int, keeps: Bool) throws {
            trainers = try (0..<count).map { _ in try KeptExpertsTests.trainer(keeps: keeps) }
        }

        /// One step of all, in this order of ranks; the mean is exchanged as machines would.
        func step(_ number: UInt64, _ region: TokenRegion, order: [Int]? = nil) {
            let order = order ?? Array(trainers.indices)
            let failures = Failures()
            region.run { [self] rank, members in
                do {
                    _ = try trainers[order[rank]].computeGradient(
                        samples: [2 * number + UInt64(rank)], with: members)
                } catch {
                    failures.count += 1
                }
            }
            interrupted = failures.count
            guard interrupted == 0 else { return }
            exchange()
            for trainer in trainers { trainer.optimiserStep() }
        }

        private final class Failures: @unchecked Sendable { var count = 0 }

        /// Members have equal batches. Experts come whole from one, everything else is averaged.
        private func exchange() {
            let all = 0..<trainers[0].parameterCount
            let own = trainers.map { $0.withContribution(.gradient, range: all) { copy($0) } }
            for trainer in trainers {
                trainer.withMeanDestination(.gradient, range: all) { mean in
                    for tensor in trainer.tensors {
                        let isExpert = tensor.name.contains(".experts.")
                        guard !isExpert || trainer.heldEverywhere else { continue }
                        let share = isExpert ? 1 : 1 / Float(own.count)
                        for index in tensor.range {
                            mean[index] = own.reduce(0) { $0 + share * $1[index] }
                        }
                    }
                }
            }
        }

        func values(_ worker: Int, _ vector: StateVector, _ range: Range<Int>) -> [Float] {
            trainers[worker].withState(vector, range: range) { copy($0) }
        }
    }

    private static func trainer(keeps: Bool) throws -> TransformerTrainer {
        try TransformerTrainer(
            settings: TransformerTrainerSettings(
                shape: ModelShape(
                    dModel: 16, layers: 2, heads: 2, context: 12, experts: experts),
                seed: 3,
                schedule: LearningRateSchedule(
                    peak: 1e-2, floor: 1e-3, warmupSteps: 2, totalSteps: 40),
                keepsOuterCopy: true, spreadsExperts: true, keepsAtHolders: keeps),
            corpus: Corpus(bytes: randomBytes(90_000, seed: 8).map { $0 % 32 }, context: 12))
    }

    /// Elements of an expert.
    private func range(_ block: Int, _ expert: Int) throws -> Range<Int> {
        let prefix = "blocks.\(block).feed_forward.experts.\(expert)."
        let ranges = try Self.trainer(keeps: true).tensors.filter { $0.name.hasPrefix(prefix) }
            .map(\.range)
        return try #require(ranges.first).lowerBound..<(try #require(ranges.last)).upperBound
    }

    @Test("whoever holds an expert has it as if everybody kept everything")
    func sameValues() throws {
        let kept = try Workers(2, keeps: true)
        let everywhere = try Workers(2, keeps: false)
        for workers in [kept, everywhere] {
            let region = TokenRegion(2)
            for step in 0..<6 { workers.step(UInt64(step), region) }
        }
        #expect(
            kept.trainers[0].heldExperts == [
                [true, true, false, false], [true, true, false, false],
            ])
        for block in 0..<2 {
            for expert in 0..<4 {
                let range = try range(block, expert)
                let (holder, other) = expert < 2 ? (0, 1) : (1, 0)
                for vector in [StateVector.parameters, .firstMoment, .secondMoment] {
                    let distance = relativeDistance(
                        kept.values(holder, vector, range), everywhere.values(0, vector, range))
                    #expect(distance < 1e-4, "\(block).\(expert) \(vector): \(distance)")
                }
                // The other has it as the last round left it.
                let last = kept.values(other, .outerCopy, range)
                #expect(kept.values(other, .parameters, range) == last)
                #expect(kept.values(holder, .parameters, range) != last)
                #expect(kept.values(other, .firstMoment, range).allSatisfy { $0 == 0 })
            }
        }
        let rest = 0..<(try range(0, 0).lowerBound)
        #expect(kept.values(0, .parameters, rest) == kept.values(1, .parameters, rest))
    }

    /// As from its saved state.
    private func restored(_ trainer: TransformerTrainer) throws -> TransformerTrainer {
        let copy = try Self.trainer(keeps: true)
        let all = 0..<trainer.parameterCount
        for vector in trainer.stateVectors {
            let values = trainer.withState(vector, range: all) { TrainingTests.copy($0) }
            copy.withMutableState(vector, range: all) { target in
                for index in values.indices { target[index] = values[index] }
            }
        }
        copy.counters = trainer.counters
        copy.heldExperts = trainer.heldExperts
        return copy
    }

    @Test(
        "under a plan that names others, weights and moments go to them", arguments: [false, true])
    func moves(isRestored: Bool) throws {
        let workers = try Workers(2, keeps: true)
        let region = TokenRegion(2)
        for step in 0..<3 { workers.step(UInt64(step), region) }
        if isRestored { workers.trainers = try workers.trainers.map(restored) }
        let before = try (0..<4).map { expert in
            try [StateVector.parameters, .firstMoment, .secondMoment].map {
                workers.values(expert < 2 ? 0 : 1, $0, try range(1, expert))
            }
        }
        // A step that is interrupted while they move, then the same again.
        region.plan = 2
        region.endsAtState = true
        workers.step(3, region, order: [1, 0])
        #expect(workers.interrupted == 2)
        #expect(workers.trainers[0].heldExperts?[0] == [true, true, false, false])
        let again = TokenRegion(2)
        again.plan = 3
        again.run { rank, members in
            _ = try? workers.trainers[[1, 0][rank]].computeGradient(samples: [9], with: members)
        }
        for expert in 0..<4 {
            for (place, vector) in [StateVector.parameters, .firstMoment, .secondMoment]
                .enumerated()
            {
                let now = workers.values(expert < 2 ? 1 : 0, vector, try range(1, expert))
                #expect(now == before[expert][place], "\(expert) \(vector)")
            }
        }
        let report = try #require(workers.trainers[0].takeSpreadReport()?.moves)
        #expect(report.lost == 0)
        #expect(try report.valuesOfExpert == 3 * range(0, 0).count)
        for trainer in workers.trainers { trainer.optimiserStep() }
        #expect(workers.trainers[0].heldExperts?[1] == [false, false, true, true])
    }

    @Test("what nobody brings begins from the last round, without moments")
    func loss() throws {
        let workers = try Workers(2, keeps: true)
        let region = TokenRegion(2)
        for step in 0..<3 { workers.step(UInt64(step), region) }
        // The second is gone; one that has just joined takes its place.
        let joiner = try Self.trainer(keeps: true)
        joiner.tookOver()
        joiner.withMutableState(.secondMoment, range: 0..<joiner.parameterCount) { values in
            for index in values.indices { values[index] = 1 }
        }
        workers.trainers[1] = joiner
        region.plan = 2
        workers.step(3, region)
        let report = try #require(joiner.takeSpreadReport()?.moves)
        #expect(report.lost == 4)
        let range = try range(0, 3)
        let moments = workers.values(1, .secondMoment, range)
        #expect(moments.allSatisfy { $0 < 0.5 }, "not what the joiner found there")
        #expect(try #require(workers.trainers[0].takeSpreadReport()?.moves).lost == 0)
        // Alone, all others are lost too.
        let alone = workers.trainers[0]
        _ = alone.computeGradient(samples: [40])
        #expect(try #require(alone.takeSpreadReport()?.moves).lost == 4)
        let last = workers.values(0, .outerCopy, range)
        #expect(workers.values(0, .parameters, range) == last)
        alone.optimiserStep()
        #expect(alone.heldExperts == [[true, true, true, true], [true, true, true, true]])
        #expect(workers.values(0, .parameters, range) != last)
    }
}

extension TransformerTrainer {
    fileprivate var heldEverywhere: Bool { !settings.keepsAtHolders }
}
