import TrainingKernels

/// A trainer whose every step is nothing but the exchange: for `longhaul bench allreduce`, and with `work`
/// for `longhaul bench dispatch`.
///
/// A step's gradient is what the last exchange left; the first one is `rank + 1` times a pattern, so
/// that the mean is known. `begin` is called at the end of `computeGradient`, `end` at the beginning of
/// `optimiserStep`: encode, send, receive, reduce, send the mean, decode are all between them. Where several
/// exchanges are in flight each is of a fragment, and they are told by its number: `begin` is called when it
/// leaves, `end` when its mean is in place.
package final class ExchangeTrainer: Trainer {
    package let parameterCount: Int
    package let tensors: [TensorSpec]
    package let keepsOuterCopy = true
    package var counters = TrainerCounters()

    private let begin: (Int) -> Void
    private let end: (Int) -> Void
    private let fragments: Int
    private let work: ((any TokenTransport) throws(TokensInterrupted) -> Void)?
    private var place: SharedFloats
    private var values: Floats { place.floats }

    /// - Parameters:
    ///   - elements: of all fragments together, which have equal parts of them.
    ///   - work: what a step does with the other members of the region.
    package init(
        elements: Int, seat: Int, fragments: Int = 1, begin: @escaping (Int) -> Void,
        end: @escaping (Int) -> Void,
        work: ((any TokenTransport) throws(TokensInterrupted) -> Void)? = nil
    ) {
        self.work = work
        parameterCount = elements
        self.begin = begin
        self.end = end
        self.fragments = fragments
        tensors = [
            TensorSpec(
                name: "exchange.weight", shape: [elements], range: 0..<elements, layer: nil,
                kind: .matrix)
        ]
        place = SharedFloats(count: elements)
        for index in 0..<elements { values[index] = Self.pattern(index) * Float(seat + 1) }
    }

    /// -8 to 8 in halves: sums over up to 2^19 seats are exact.
    static func pattern(_ element: Int) -> Float { Float(element % 33 - 16) / 2 }

    package func computeGradient(samples: [UInt64]) -> StepResult {
        if fragments == 1 { begin(0) }
        return StepResult(tokens: 1, loss: 0)
    }

    package func computeGradient(
        samples: [UInt64], with members: any TokenTransport
    ) throws(TokensInterrupted) -> StepResult {
        try work?(members)
        return computeGradient(samples: samples)
    }

    @discardableResult
    package func optimiserStep() -> OptimiserReport {
        if fragments == 1 { end(0) }
        counters.innerSteps += 1
        return OptimiserReport(gradientNorm: 0, learningRate: 0)
    }

    /// How far the mean is from `pattern` times the mean of 1...seats, as a share of the largest value.
    package func error(seats: Int) -> Float {
        let factor = Float(seats + 1) / 2
        var worst: Float = 0
        for index in 0..<parameterCount {
            worst = max(worst, abs(values[index] - Self.pattern(index) * factor))
        }
        return worst / (8 * factor)
    }

    package func evaluate(samples: Int) -> Float { 0 }

    package func withContribution<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try values.part(range).withSpan(body)
    }

    package func withMeanDestination<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try values.part(range).withMutableSpan(body)
    }

    package var gradientPlace: SharedFloats? { place }

    /// The mean is the next step's gradient.
    package func adoptGradient(_ place: SharedFloats?) {
        if let place { self.place = place }
    }

    /// Nothing changes the values while they are under way.
    package func keepOuterGradient(ranges: [Range<Int>], as kind: ContributionKind) {
        begin(fragment(of: ranges))
    }

    /// The mean is in place.
    package func outerStep(
        ranges: [Range<Int>], optimiser: any OuterOptimiser, round: UInt32, live: LiveUpdate
    ) {
        end(fragment(of: ranges))
    }

    private func fragment(of ranges: [Range<Int>]) -> Int {
        (ranges.first?.lowerBound ?? 0) * fragments / parameterCount
    }

    /// Every vector of the state is the last mean.
    package func withState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try values.part(range).withSpan(body)
    }

    package func withMutableState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try values.part(range).withMutableSpan(body)
    }
}
