import ClusterModel
import Foundation
import Testing
import Training

@Suite("trainers as the driver uses them")
struct TrainerTests {
    @Test("a small model learns English letters: its loss falls well below chance")
    func learns() throws {
        let trainer = try makeTrainer(keepsOuterCopy: false)
        let before = trainer.evaluate(samples: 40)
        #expect(abs(before - 5.545) < 0.1, "untrained: log 256, got \(before)")
        for step in 0..<60 as Range<UInt64> {
            let result = trainer.computeGradient(samples: Array(8 * step..<8 * step + 8))
            #expect(result.tokens == 8 * 32)
            trainer.optimiserStep()
        }
        let after = trainer.evaluate(samples: 40)
        #expect(after < 3.2, "after 60 steps: \(after)")
        #expect(trainer.counters.innerSteps == 60)
        #expect(trainer.counters.tokens == 60 * 8 * 32)
    }

    @Test("equal seeds give equal bytes after many steps")
    func repeatable() throws {
        let (a, b) = (try makeTrainer(keepsOuterCopy: true), try makeTrainer(keepsOuterCopy: true))
        run(a, steps: 5)
        run(b, steps: 5)
        #expect(state(a) == state(b))
        let other = try makeTrainer(keepsOuterCopy: true, seed: 2)
        #expect(state(other) != state(try makeTrainer(keepsOuterCopy: true)))
    }

    @Test("two workers with half the batch each, averaged by weight, step like one with all of it")
    func weightedMean() throws {
        let whole = try makeTrainer(keepsOuterCopy: false)
        let (left, right) = (
            try makeTrainer(keepsOuterCopy: false), try makeTrainer(keepsOuterCopy: false)
        )
        _ = whole.computeGradient(samples: [0, 1, 2, 3])
        let a = left.computeGradient(samples: [0])
        let b = right.computeGradient(samples: [1, 2, 3])
        let all = 0..<whole.parameterCount
        let share = Float(a.tokens) / Float(a.tokens + b.tokens)
        let (x, y) = (
            left.withContribution(.gradient, range: all) { copy($0) },
            right.withContribution(.gradient, range: all) { copy($0) }
        )
        let mean = zip(x, y).map { share * $0 + (1 - share) * $1 }
        left.withMeanDestination(.gradient, range: all) { span in
            for index in mean.indices {
                span[index] = mean[index]
            }
        }
        let direct = whole.withContribution(.gradient, range: all) { copy($0) }
        #expect(relativeDistance(mean, direct) < 1e-5)
        let (one, two) = (whole.optimiserStep(), left.optimiserStep())
        #expect(abs(one.gradientNorm - two.gradientNorm) < 1e-4 * one.gradientNorm)
    }

    @Test("outer step by ranges: outer copy moves by Nesterov, live parameters follow")
    func outerStep() throws {
        let trainer = SyntheticTrainer(parameterCount: 100, seed: 4, keepsOuterCopy: true)
        let start = values(trainer, .outerCopy)
        _ = trainer.computeGradient(samples: [9])
        trainer.optimiserStep()
        let live = values(trainer, .parameters)
        let fragment = 13..<62
        let change = trainer.withContribution(.outerGradient, range: fragment) { copy($0) }
        #expect(change == fragment.map { start[$0] - live[$0] })
        #expect(change.contains { $0 != 0 })
        trainer.withMeanDestination(.outerGradient, range: fragment) { span in
            for index in change.indices {
                span[index] = change[index]
            }
        }
        let optimiser = OuterNesterov(learningRate: 0.7, momentum: 0.9)
        trainer.outerStep(ranges: [13..<40, 40..<62], optimiser: optimiser, round: 1, blend: 0.25)
        let (outer, after) = (values(trainer, .outerCopy), values(trainer, .parameters))
        let momentum = values(trainer, .outerMomentum)
        for index in 0..<100 {
            if fragment.contains(index) {
                let g = change[index - 13]
                #expect(abs(outer[index] - (start[index] - 1.33 * g)) < 1e-7)
                #expect(momentum[index] == g)
                #expect(abs(after[index] - (0.25 * live[index] + 0.75 * outer[index])) < 1e-7)
            } else {
                #expect(outer[index] == start[index] && after[index] == live[index])
                #expect(momentum[index] == 0)
            }
        }
    }

    @Test("with a blend of zero the live parameters become the outer copy, bit by bit")
    func noBlend() {
        let trainer = SyntheticTrainer(parameterCount: 70, seed: 4, keepsOuterCopy: true)
        _ = trainer.computeGradient(samples: [1])
        trainer.optimiserStep()
        trainer.outerStep(ranges: [0..<70], optimiser: OuterNesterov(), round: 1, blend: 0)
        #expect(values(trainer, .parameters) == values(trainer, .outerCopy))
    }

    private func sum(_ a: [Float], _ b: [Float]) -> [Float] { zip(a, b).map { $0 + $1 } }
    private func difference(_ a: [Float], _ b: [Float]) -> [Float] { zip(a, b).map { $0 - $1 } }

    @Test("live parameters that move keep what is not in the mean")
    func movedLive() {
        let trainer = SyntheticTrainer(parameterCount: 70, seed: 4, keepsOuterCopy: true)
        let all = 0..<70
        func train(_ sample: UInt64) {
            _ = trainer.computeGradient(samples: [sample])
            trainer.optimiserStep()
        }
        func setMean(_ factor: Float) {
            trainer.withMeanDestination(.outerGradient, range: all) { span in
                for index in all { span[index] = factor * Float(index) * 1e-4 }
            }
        }
        train(1)
        trainer.keepOuterGradient(ranges: [all], as: .offeredOuterGradient)
        let given = trainer.withContribution(.offeredOuterGradient, range: all) { copy($0) }
        let start = values(trainer, .outerCopy)
        #expect(given == difference(start, values(trainer, .parameters)))
        train(2)
        let optimiser = OuterNesterov()
        // A mean that holds nothing of it: all that was trained stays.
        var before = (live: values(trainer, .parameters), outer: start)
        setMean(1)
        trainer.outerStep(
            ranges: [all], optimiser: optimiser, round: 1, live: .moved(merges: false))
        var outer = values(trainer, .outerCopy)
        #expect(outer != before.outer)
        var expected = sum(difference(before.live, before.outer), outer)
        #expect(values(trainer, .parameters) == expected)
        // What is offered has not been written over by the mean.
        #expect(trainer.withContribution(.offeredOuterGradient, range: all) { copy($0) } == given)
        // A mean that holds it: what came after stays.
        before = (values(trainer, .parameters), outer)
        setMean(-1)
        trainer.outerStep(ranges: [all], optimiser: optimiser, round: 2, live: .moved(merges: true))
        outer = values(trainer, .outerCopy)
        expected = sum(sum(difference(before.live, before.outer), given), outer)
        #expect(values(trainer, .parameters) == expected)
    }

    @Test("live parameters equal to the outer copy stay equal to it, bit by bit")
    func movedNothing() {
        let trainer = SyntheticTrainer(parameterCount: 70, seed: 4, keepsOuterCopy: true)
        trainer.withMeanDestination(.outerGradient, range: 0..<70) { span in
            for index in 0..<70 { span[index] = Float(index) * 3e-3 }
        }
        trainer.outerStep(
            ranges: [0..<70], optimiser: OuterNesterov(), round: 1, live: .moved(merges: false))
        #expect(values(trainer, .parameters) == values(trainer, .outerCopy))
    }

    @Test("the digest covers outer copy and momentum, or the parameters without them")
    func digestInput() {
        let outer = SyntheticTrainer(parameterCount: 10, seed: 1, keepsOuterCopy: true)
        let plain = SyntheticTrainer(parameterCount: 10, seed: 1, keepsOuterCopy: false)
        #expect(outer.digestVectors == [.outerCopy, .outerMomentum])
        #expect(plain.digestVectors == [.parameters])
        var lengths: [Int] = []
        outer.withDigestInput(range: 2..<9) { lengths.append($0.count) }
        #expect(lengths == [7, 7])
    }

    @Test("a restored trainer goes on as if it had never stopped", arguments: [false, true])
    func checkpoint(keepsOuterCopy: Bool) throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/checkpoint.safetensors"
            let trainer = try makeTrainer(keepsOuterCopy: keepsOuterCopy)
            run(trainer, steps: 3)
            try TrainerCheckpoint.save(trainer, path: path, metadata: [("digest", "abc")])
            run(trainer, steps: 3, from: 3)
            let resumed = try makeTrainer(keepsOuterCopy: keepsOuterCopy, seed: 1)
            let metadata = try TrainerCheckpoint.restore(resumed, path: path)
            #expect(metadata.map(\.key) == ["digest"] && metadata.map(\.value) == ["abc"])
            run(resumed, steps: 3, from: 3)
            #expect(state(resumed) == state(trainer))
            #expect(resumed.counters == trainer.counters)
        }
    }

    @Test("a checkpoint of another model is refused before anything changes")
    func otherModel() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/checkpoint.safetensors"
            let small = SyntheticTrainer(parameterCount: 10, seed: 1, keepsOuterCopy: true)
            try TrainerCheckpoint.save(small, path: path, metadata: [])
            let large = SyntheticTrainer(parameterCount: 11, seed: 2, keepsOuterCopy: true)
            let before = state(large)
            let error = #expect(throws: SafetensorsError.self) {
                _ = try TrainerCheckpoint.restore(large, path: path)
            }
            #expect(error?.description.contains("is F32 [10], expected F32 [11]") == true)
            #expect(state(large) == before)
        }
    }

    @Test("synthetic gradients are repeatable, of the stated size and hard to compress")
    func synthetic() {
        let trainer = SyntheticTrainer(parameterCount: 50_000, seed: 3, keepsOuterCopy: false)
        func gradient(_ sample: UInt64) -> [Float] {
            _ = trainer.computeGradient(samples: [sample])
            return trainer.withContribution(.gradient, range: 0..<50_000) { copy($0) }
        }
        let first = gradient(1)
        #expect(gradient(2) != first)
        #expect(gradient(1) == first)
        let deviation = norm(first) / 50_000.0.squareRoot()
        #expect(abs(deviation - 0.0098) < 0.0003, "\(deviation)")
        #expect(Set(first.map(\.bitPattern)).count > 49_000)
    }

    @Test func aRegionsPartIsATextOfItsOwn() throws {
        let shape = ModelShape(dModel: 16, layers: 1, heads: 2, context: 31)
        let settings = TransformerTrainerSettings(
            shape: shape, seed: 5,
            schedule: LearningRateSchedule(
                peak: 1e-2, floor: 1e-3, warmupSteps: 5, totalSteps: 100),
            keepsOuterCopy: false)
        // Samples of 32 bytes; 64 KiB are held back of both texts.
        let whole = randomBytes(4_000 * 32 + (64 << 10), seed: 12)
        let part = Topology.TextPart(from: 0.25, to: 0.5).samples(of: 4_000)
        #expect(part == 1_000..<2_000)
        let own = Array(whole[part.lowerBound * 32..<part.upperBound * 32]) + whole.suffix(64 << 10)
        let trainers = [
            try TransformerTrainer(
                settings: settings, corpus: Corpus(bytes: whole, context: 31), samples: part),
            try TransformerTrainer(
                settings: settings, corpus: Corpus(bytes: own, context: 31)),
        ]
        for trainer in trainers { run(trainer, steps: 2, from: 700) }
        #expect(values(trainers[0], .parameters) == values(trainers[1], .parameters))
        #expect(trainers[0].evaluate(samples: 16) == trainers[1].evaluate(samples: 16))
        let everything = try TransformerTrainer(
            settings: settings, corpus: Corpus(bytes: whole, context: 31))
        run(everything, steps: 2, from: 700)
        #expect(values(everything, .parameters) != values(trainers[0], .parameters))
    }

    @Test("who begins from the outer copy has nothing to contribute")
    func outerCopyReplacesLiveParameters() throws {
        let trainer = try makeTrainer(keepsOuterCopy: true)
        let outer = values(trainer, .outerCopy)
        run(trainer, steps: 2)
        let moments = values(trainer, .firstMoment)
        #expect(values(trainer, .parameters) != outer)
        trainer.beginFromOuterCopy()
        #expect(values(trainer, .parameters) == outer && values(trainer, .outerCopy) == outer)
        #expect(values(trainer, .firstMoment) == moments)
    }

    private func makeTrainer(keepsOuterCopy: Bool, seed: UInt64 = 1) throws -> TransformerTrainer {
        // English-like: few letters, so that a small model has something to learn at once.
        let words = ["the ", "sea ", "and ", "rain ", "stone ", "tea "]
        let choices = randomBytes(40_000, seed: 11)
        let text = choices.flatMap { Array(words[Int($0) % words.count].utf8) }
        let shape = ModelShape(dModel: 32, layers: 1, heads: 2, context: 32)
        return try TransformerTrainer(
            settings: TransformerTrainerSettings(
                shape: shape, seed: seed,
                schedule: LearningRateSchedule(
                    peak: 1e-2, floor: 1e-3, warmupSteps: 5, totalSteps: 100),
                keepsOuterCopy: keepsOuterCopy),
            corpus: Corpus(bytes: text, context: shape.context))
    }

    private func run(_ trainer: some Trainer, steps: Int, from first: Int = 0) {
        for step in first..<(first + steps) {
            _ = trainer.computeGradient(samples: [UInt64(2 * step), UInt64(2 * step + 1)])
            trainer.optimiserStep()
        }
    }

    private func values(_ trainer: some Trainer, _ vector: StateVector) -> [Float] {
        trainer.withState(vector, range: 0..<trainer.parameterCount) { copy($0) }
    }

    private func state(_ trainer: some Trainer) -> [[Float]] {
        trainer.stateVectors.map { values(trainer, $0) }
    }
}
