import TrainingKernels

/// A trainer whose vectors lie in a `TrainerMemory`; its access for the driver follows from that.
protocol MemoryBackedTrainer: Trainer {
    var memory: TrainerMemory { get }
}

extension MemoryBackedTrainer {
    package func withContribution<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try memory.contribution(kind, range).withSpan(body)
    }

    package func withMeanDestination<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try memory.meanDestination(kind, range).withMutableSpan(body)
    }

    package var gradientPlace: SharedFloats? { memory.gradientPlace }

    package func adoptGradient(_ place: SharedFloats?) { memory.adopted = place }

    package func keepOuterGradient(ranges: [Range<Int>], as kind: ContributionKind) {
        memory.keepOuterGradient(ranges: ranges, as: kind)
    }

    package func outerStep(
        ranges: [Range<Int>], optimiser: any OuterOptimiser, round: UInt32, live: LiveUpdate
    ) {
        memory.outerStep(ranges: ranges, optimiser: optimiser, round: round, live: live)
    }

    package func withState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R {
        try memory.state(vector, range).withSpan(body)
    }

    package func withMutableState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R {
        try memory.state(vector, range).withMutableSpan(body)
    }
}
