import ClusterModel
import Testing
import Training

@Suite("optimisers and schedule")
struct OptimiserTests {
    @Test("outer Nesterov follows PyTorch's SGD for a constant gradient of one")
    func nesterov() {
        #expect(
            trajectory(OuterNesterov(), steps: 4).elementsEqual(
                [-1.33, -3.227, -5.6343, -8.50087], by: { abs($0 - $1) < 1e-5 }))
    }

    @Test("delayed Nesterov applies a part each round and the momentum every N-th")
    func delayedNesterov() {
        // lr 1, mu 0.5, N = 2, g = 1. Rounds 1, 2: -0.5; m = 0.5 + 0.5 = 1: -0.5 - 0.5 x 1 = -1.
        // Rounds 3, 4: -0.5; m = 0.5 x 1 + 1 = 1.5: -0.5 - 0.75 = -1.25.
        let optimiser = OuterDelayedNesterov(learningRate: 1, momentum: 0.5, every: 2)
        #expect(trajectory(optimiser, steps: 4) == [-0.5, -1.5, -2, -3.25])
        #expect(
            trajectory(OuterDelayedNesterov(learningRate: 0.7, momentum: 0.9, every: 1), steps: 4)
                == trajectory(OuterNesterov(), steps: 4))
    }

    @Test("plain SGD is descent and leaves the momentum alone")
    func plainSGD() {
        var parameters: [Float] = [3]
        var buffer: [Float] = [7]
        step(OuterSGD(learningRate: 1), &parameters, &buffer, [1.5])
        #expect(parameters == [1.5] && buffer == [7])
    }

    @Test("without momentum the outer step is plain descent")
    func plain() {
        let steps = trajectory(OuterNesterov(learningRate: 0.5, momentum: 0), steps: 3)
        #expect(steps == [-0.5, -1, -1.5])
    }

    @Test("learning rate one without momentum moves to the mean of the replicas")
    func mean() {
        var parameters: [Float] = [3]
        var buffer: [Float] = [0]
        // Replicas ended at 1 and 2: outer gradients 2 and 1, mean 1.5.
        step(OuterNesterov(learningRate: 1, momentum: 0), &parameters, &buffer, [1.5])
        #expect(parameters == [1.5])
    }

    @Test("warm-up is linear, the cosine meets its half-way point and ends on the floor")
    func schedule() {
        let schedule = LearningRateSchedule(peak: 1, floor: 0.2, warmupSteps: 4, totalSteps: 104)
        #expect((0..<4).map { schedule.rate(step: $0) } == [0.25, 0.5, 0.75, 1])
        #expect(schedule.rate(step: 4) == 1)
        #expect(abs(schedule.rate(step: 54) - 0.6) < 1e-6)
        // cos(pi / 4) = 0.70710678 at a quarter of the way.
        #expect(abs(schedule.rate(step: 29) - (0.2 + 0.8 * 0.853_553_4)) < 1e-6)
        #expect(abs(schedule.rate(step: 79) - (0.2 + 0.8 * 0.146_446_6)) < 1e-6)
        #expect(schedule.rate(step: 104) == 0.2)
        #expect(schedule.rate(step: 1_000_000) == 0.2)
        #expect(LearningRateSchedule.constant(0.3).rate(step: 0) == 0.3)
    }

    @Test("generator: known SplitMix64 values, mean and deviation of normals")
    func generator() {
        var generator = SeededGenerator(seed: 1_234_567)
        #expect(
            (0..<3).map { _ in generator.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
        let normals = (0..<20_000).map { _ in Double(generator.normal()) }
        let mean = normals.reduce(0, +) / 20_000
        let variance = normals.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
        #expect(abs(mean) < 0.03 && abs(variance - 1) < 0.04)
    }

    private func trajectory(_ optimiser: some OuterOptimiser, steps: Int) -> [Float] {
        var parameters: [Float] = [0]
        var buffer: [Float] = [0]
        return (0..<steps).map { index in
            step(optimiser, &parameters, &buffer, [1], round: UInt32(index) + 1)
            return parameters[0]
        }
    }

    private func step(
        _ optimiser: some OuterOptimiser, _ parameters: inout [Float],
        _ buffer: inout [Float], _ gradient: [Float], round: UInt32 = 1
    ) {
        var target = parameters.mutableSpan
        var momentum = buffer.mutableSpan
        optimiser.step(
            parameters: &target, buffer: &momentum, gradient: gradient.span, round: round)
    }
}
