/// What pooling brought, from several runs: E1, E2 and E3 of the architecture page. Each is absent
/// when the runs it needs are not there or did not get far enough.
package struct Efficiency: Codable, Equatable, Sendable {
    /// Tokens/s of the pool / sum of tokens/s of each region alone.
    package var e1: Double?
    /// The same without what a run's start and end cost once.
    package var e1Steady: Double?
    /// Tokens/s of the pool / tokens/s of one homogeneous cluster of equal nominal compute.
    package var e2: Double?
    /// Time for the reference to reach a loss / time for the pool to reach it.
    package var e3: Double?
    package var e3Loss: Double?
    package var e3PoolSeconds: Double?
    package var e3ReferenceSeconds: Double?

    /// - Parameters:
    ///   - alone: one run of each region by itself, same machine, same time, interleaved.
    ///   - reference: one homogeneous cluster of equal nominal compute.
    package init(pool: RunSummary, alone: [RunSummary] = [], reference: RunSummary? = nil) {
        let rates = alone.compactMap(\.pool.tokensPerSecond)
        if let rate = pool.pool.tokensPerSecond, !alone.isEmpty, rates.count == alone.count {
            e1 = rate / rates.reduce(0, +)
        }
        let steady = alone.compactMap(\.pool.steadyTokensPerSecond)
        if let rate = pool.pool.steadyTokensPerSecond, !alone.isEmpty, steady.count == alone.count {
            e1Steady = rate / steady.reduce(0, +)
        }
        guard let reference else { return }
        if let rate = pool.pool.tokensPerSecond, let other = reference.pool.tokensPerSecond {
            e2 = rate / other
        }
        // Losses of a synthetic trainer mean nothing.
        guard ![pool, reference].contains(where: { $0.setup.synthetic == true }) else { return }
        let curves = [pool, reference].map { LossCrossing($0) }
        // The lowest loss both reached.
        guard let loss = curves.compactMap(\.lowest).max(), curves.allSatisfy({ $0.lowest != nil }),
            let here = curves[0].seconds(to: loss), let there = curves[1].seconds(to: loss),
            here > 0
        else { return }
        e3 = there / here
        e3Loss = loss
        e3PoolSeconds = here
        e3ReferenceSeconds = there
    }

    package static let definitions: [RunSummary.Definition] = [
        .init(
            term: "E1",
            text:
                "Tokens/s of the pool / sum of tokens/s of each region alone, on the same machine "
                + "at the same time, interleaved."),
        .init(
            term: "E1 steady, CU steady",
            text:
                "The same from the end of the first step to the end of the last, where rounds block over "
                + "whole rounds of it: without what the end of a run costs once, such as sending all "
                + "fragments a last time."),
        .init(
            term: "E2",
            text:
                "Tokens/s of the pool / tokens/s of one homogeneous cluster of equal nominal "
                + "compute."
        ),
        .init(
            term: "E3",
            text:
                "Time for the reference to reach a loss / time for the pool to reach it, at equal "
                + "nominal compute, at the lowest loss both reached. The loss is the training "
                + "loss, averaged over \(LossCrossing.window) points."),
    ]
}

/// When a run's training loss, smoothed, first falls to a value.
struct LossCrossing {
    /// Points of the moving mean: one step's batch says little.
    static let window = 20

    private var points: [(seconds: Double, loss: Double)] = []

    init(_ summary: RunSummary) {
        let raw = summary.loss.training.first?.points ?? []
        var sum = 0.0
        for (index, point) in raw.enumerated() {
            sum += point.loss
            if index >= Self.window { sum -= raw[index - Self.window].loss }
            guard index >= Self.window - 1 else { continue }
            let seconds = point.seconds - summary.pool.trainingStartSeconds
            points.append((seconds, sum / Double(Self.window)))
        }
    }

    var lowest: Double? { points.map(\.loss).filter(\.isFinite).min() }

    /// Seconds of training until the loss is at or below `loss`, between points by a straight line.
    func seconds(to loss: Double) -> Double? {
        guard let index = points.firstIndex(where: { $0.loss <= loss }) else { return nil }
        let after = points[index]
        guard index > 0 else { return after.seconds }
        let before = points[index - 1]
        let share = (before.loss - loss) / (before.loss - after.loss)
        guard share.isFinite else { return after.seconds }
        return before.seconds + share * (after.seconds - before.seconds)
    }
}
