import TrainingKernels

/// What a worker contributes to a round.
package enum ContributionKind: String, Sendable, Codable, CaseIterable {
    /// The mean gradient over the worker's tokens (outer schedule `every-step`).
    case gradient
    /// Outer copy minus live parameters (all other outer schedules).
    case outerGradient
    /// The outer gradient that `keepOuterGradient` kept.
    case keptOuterGradient
    /// As that, in a place of its own: means may be written while it waits.
    case offeredOuterGradient
}

/// What the live parameters become in an outer step.
package enum LiveUpdate: Sendable, Equatable {
    /// blend * live + (1 - blend) * outer copy; 0: the outer copy, bit by bit.
    case blended(Float)
    /// They move with the outer copy and keep what they differ by; `merges`: without what was kept
    /// as `.offeredOuterGradient`, which is in the mean.
    case moved(merges: Bool)
}

/// The vectors that together are a trainer's state; each has `parameterCount` floats.
package enum StateVector: String, Sendable, Codable, CaseIterable {
    /// The live parameters.
    case parameters
    case firstMoment
    case secondMoment
    /// The parameters after the last outer step, equal on every member.
    case outerCopy
    case outerMomentum
}

/// The rest of a trainer's state.
package struct TrainerCounters: Codable, Sendable, Equatable {
    /// Optimiser steps taken.
    package var innerSteps: UInt64 = 0
    /// Tokens whose gradient was computed.
    package var tokens: UInt64 = 0
    /// beta^innerSteps as a running product.
    package var beta1Power: Double = 1
    package var beta2Power: Double = 1

    package init() {}
}

/// One gradient computation.
package struct StepResult: Sendable, Equatable {
    package var tokens: Int
    /// Mean over the tokens, in nats per byte.
    package var loss: Float
}

/// One optimiser step.
package struct OptimiserReport: Sendable, Equatable {
    /// Before clipping.
    package var gradientNorm: Float
    package var learningRate: Float
}

/// The driver's view of a model in training. One thread uses a trainer.
///
/// An inner step: `computeGradient`; under a gradient all-reduce the driver encodes
/// `withContribution(.gradient)` by ranges and writes the decoded mean to
/// `withMeanDestination(.gradient)`; then `optimiserStep`. An outer step of some ranges: the driver
/// encodes `withContribution(.outerGradient)`, later writes the mean to
/// `withMeanDestination(.outerGradient)`, then calls `outerStep`.
package protocol Trainer: AnyObject {
    var parameterCount: Int { get }

    /// Names and places of the tensors, without gaps, in order of the flat vector.
    var tensors: [TensorSpec] { get }

    /// Whether there are an outer copy and an outer momentum.
    var keepsOuterCopy: Bool { get }

    var counters: TrainerCounters { get set }

    /// By block, how experts were used in the last optimiser step; empty for a model without.
    var expertUse: [ExpertUse] { get }

    /// Sets the gradient to the mean over the tokens of the given samples of the training stream.
    func computeGradient(samples: [UInt64]) -> StepResult

    /// The same, together with the other members of the region: what each of them computes may need what
    /// others hold. Without members a trainer computes alone.
    func computeGradient(
        samples: [UInt64], with members: any TokenTransport
    ) throws(TokensInterrupted) -> StepResult

    /// What became of the tokens of the step computed last, where some experts are computed in one region
    /// only; once.
    func takeCrossing() -> CrossingCounts?

    /// Where experts are, if that has changed since it was asked last.
    func takeSpreadReport() -> ExpertSpreadReport?

    /// By block and expert, those whose last weights and moments are with this worker, where each expert's
    /// are kept by who computes it; nil: everybody has everything.
    var heldExperts: [[Bool]]? { get set }

    /// The state has come from a peer, which keeps its own experts.
    func tookOver()

    /// The mean loss of the live parameters over the first `samples` validation samples (at most
    /// all of them), in nats per byte.
    func evaluate(samples: Int) -> Float

    /// Steps the inner optimiser on what the gradient vector holds.
    @discardableResult
    func optimiserStep() -> OptimiserReport

    /// Runs `body` with elements `range` of what this worker contributes now.
    func withContribution<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R

    /// Runs `body` with elements `range` of the place where a decoded mean belongs.
    func withMeanDestination<R, E: Error>(
        _ kind: ContributionKind, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R

    /// What `withContribution(.gradient)` reads, if it stays as it is until the step on the mean: chunks
    /// of it need not be copied. Nil: only through `withContribution`.
    var gradientPlace: SharedFloats? { get }

    /// The mean of the whole gradient lies in `place`, where `optimiserStep` and
    /// `withContribution(.gradient)` take it from. Nil, before `computeGradient`: in the trainer's own
    /// vector again.
    func adoptGradient(_ place: SharedFloats?)

    /// Keeps the outer gradient of `ranges` as it is now: as `.keptOuterGradient` until a mean is written
    /// there, as `.offeredOuterGradient` until the next time.
    func keepOuterGradient(ranges: [Range<Int>], as kind: ContributionKind)

    /// Steps outer copy and momentum of `ranges` on the mean outer gradient written before, then
    /// the live parameters there.
    func outerStep(
        ranges: [Range<Int>], optimiser: any OuterOptimiser, round: UInt32, live: LiveUpdate)

    /// Runs `body` with a part of the state; see `stateVectors`.
    func withState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>, _ body: (Span<Float>) throws(E) -> R
    ) throws(E) -> R

    /// Runs `body` with a writable part of the state, to restore it.
    func withMutableState<R, E: Error>(
        _ vector: StateVector, range: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> R
    ) throws(E) -> R
}

extension Trainer {
    package var expertUse: [ExpertUse] { [] }

    package var heldExperts: [[Bool]]? {
        get { nil }
        set {}
    }

    package func tookOver() {}

    package func computeGradient(
        samples: [UInt64], with members: any TokenTransport
    ) throws(TokensInterrupted) -> StepResult {
        computeGradient(samples: samples)
    }

    package func takeCrossing() -> CrossingCounts? { nil }

    package func takeSpreadReport() -> ExpertSpreadReport? { nil }

    /// The vectors this trainer keeps.
    package var stateVectors: [StateVector] {
        keepsOuterCopy
            ? StateVector.allCases : [.parameters, .firstMoment, .secondMoment]
    }

    package func outerStep(
        ranges: [Range<Int>], optimiser: any OuterOptimiser, round: UInt32, blend: Float
    ) {
        outerStep(ranges: ranges, optimiser: optimiser, round: round, live: .blended(blend))
    }

    /// What members must agree on after a round: outer copy and outer momentum, or, without an outer
    /// copy, the parameters. The digest covers them in this order.
    package var digestVectors: [StateVector] {
        keepsOuterCopy ? [.outerCopy, .outerMomentum] : [.parameters]
    }

    /// Runs `body` on each part of the state that members must agree on, in the digest's order.
    package func withDigestInput<E: Error>(
        range: Range<Int>, _ body: (Span<Float>) throws(E) -> Void
    ) throws(E) {
        for vector in digestVectors {
            try withState(vector, range: range, body)
        }
    }

    /// Sets the live parameters to the outer copy: nothing is left that no round has taken in.
    ///
    /// - Precondition: there is an outer copy.
    package func beginFromOuterCopy() {
        precondition(keepsOuterCopy, "a trainer without an outer copy begins from it")
        let all = 0..<parameterCount
        withMutableState(.parameters, range: all) { live in
            withState(.outerCopy, range: all) { outer in
                for index in 0..<outer.count {
                    live[index] = outer[index]
                }
            }
        }
    }

    /// Sets the outer copy to the live parameters and the outer momentum to zero: a fresh start.
    package func resetOuterState() {
        guard keepsOuterCopy else {
            return
        }
        let all = 0..<parameterCount
        withMutableState(.outerCopy, range: all) { outer in
            withState(.parameters, range: all) { live in
                for index in 0..<live.count {
                    outer[index] = live[index]
                }
            }
        }
        withMutableState(.outerMomentum, range: all) { $0.update(repeating: 0) }
    }
}
