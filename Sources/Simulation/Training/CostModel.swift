package import ClusterModel

/// How long work takes on the simulated machines. Times are virtual.
package struct CostModel: Codable, Equatable, Sendable {
    /// Inner step of a worker whose topology names none.
    package var defaultStep: Interval
    /// Standard deviation of a step as a share of its mean; a step never takes less than half.
    package var stepSpread: Double
    /// Bytes per second of encoding a contribution.
    package var encodeRate: Double
    /// Bytes per second of the fused pass, over all its sources.
    package var reduceRate: Double
    /// Bytes per second of decoding a mean and stepping on it.
    package var absorbRate: Double
    /// Bytes per second of writing or reading state.
    package var stateRate: Double
    /// Least time of any order or pass.
    package var overhead: Interval
    /// An evaluation as a share of an inner step.
    package var evaluationShare: Double

    package init(
        defaultStep: Interval, stepSpread: Double, encodeRate: Double, reduceRate: Double,
        absorbRate: Double, stateRate: Double, overhead: Interval, evaluationShare: Double
    ) {
        self.defaultStep = defaultStep
        self.stepSpread = stepSpread
        self.encodeRate = encodeRate
        self.reduceRate = reduceRate
        self.absorbRate = absorbRate
        self.stateRate = stateRate
        self.overhead = overhead
        self.evaluationShare = evaluationShare
    }

    /// Memory-bandwidth figures of one commodity core.
    package static let standard = CostModel(
        defaultStep: .milliseconds(100), stepSpread: 0, encodeRate: 2e9, reduceRate: 2e9,
        absorbRate: 1e9, stateRate: 2e9, overhead: Interval(nanoseconds: 20_000),
        evaluationShare: 0.5)

    /// Of `bytes` at `rate`, at least the overhead.
    func time(_ bytes: Int, at rate: Double) -> Int64 {
        overhead.nanoseconds + Int64((Double(bytes) / rate * 1e9).rounded())
    }

    /// Duration of a step whose nominal time is `nominal`, slowed by `factor`.
    func step(
        nominal: Interval, factor: Double, _ generator: inout SeededGenerator
    ) -> Int64 {
        let mean = nominal == .zero ? defaultStep : nominal
        let noise = stepSpread > 0 ? 1 + stepSpread * Double(generator.normal()) : 1
        return max(1_000, Int64(Double(mean.nanoseconds) * max(0.5, noise) * factor))
    }
}
