import ClusterModel
import RunRecord
import Testing

/// E1, E2 and E3 from runs whose rates are known.
struct EfficiencyTests {
    private func run(step nanoseconds: Int64, batches: [Int] = [6, 4, 4, 2]) throws -> RunSummary {
        var run = SyntheticRun(steps: 60, batches: batches, stepNanoseconds: nanoseconds)
        run.loss = { _, step in 5 - 0.01 * Double(step) }
        return try RunSummary(events: run.events)
    }

    @Test func e1IsThePoolOverTheSumOfTheRegionsAlone() throws {
        let pool = try run(step: 200_000_000)
        let efficiency = Efficiency(pool: pool, alone: [pool, pool])
        #expect(efficiency.e1 == 0.5)
        #expect(efficiency.e1Steady == 0.5)
        #expect(efficiency.e2 == nil)
    }

    @Test func e2AndE3CompareWithTheReference() throws {
        let pool = try run(step: 200_000_000)
        let reference = try run(step: 100_000_000)
        let efficiency = Efficiency(pool: pool, reference: reference)
        let rates = try [pool, reference].map { try #require($0.pool.tokensPerSecond) }
        #expect(efficiency.e2 == rates[0] / rates[1])
        // The lowest loss both reach is at the last step: 60 steps and two rounds of 225 ms each.
        let here = try #require(efficiency.e3PoolSeconds)
        let there = try #require(efficiency.e3ReferenceSeconds)
        #expect(abs(here - (12 + 0.225)) < 1e-6)
        #expect(abs(there - (6 + 0.225)) < 1e-6)
        #expect(efficiency.e3 == there / here)
    }

    @Test func lossesOfASyntheticTrainerAreNotCompared() throws {
        var run = SyntheticRun()
        run.loss = { _, step in 1 / Double(step + 1) }
        run.model = .synthetic(parameters: 1_000_000)
        let pool = try RunSummary(events: run.events)
        let efficiency = Efficiency(pool: pool, reference: pool)
        #expect(efficiency.e2 == 1)
        #expect(efficiency.e3 == nil && efficiency.e3Loss == nil)
    }

    @Test func aRunTooShortForASmoothedLossHasNoE3() throws {
        let short = try RunSummary(events: SyntheticRun(steps: 10, syncEvery: 10).events)
        #expect(Efficiency(pool: short, reference: short).e3 == nil)
        #expect(Efficiency(pool: short, reference: short).e2 == 1)
    }
}
