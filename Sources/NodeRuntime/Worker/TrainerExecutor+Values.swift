import ClusterModel
import Compression
import Coordination
import Training

// What the trainer's orders mean to the trainer.

extension ContributionKind {
    init(_ source: TrainerOrder.Source) {
        self =
            switch source {
            case .gradient: .gradient
            case .outerGradient: .outerGradient
            case .keptOuterGradient: .keptOuterGradient
            case .offeredOuterGradient: .offeredOuterGradient
            }
    }
}

extension LiveUpdate {
    init(_ absorption: TrainerOrder.Absorption) {
        self =
            switch absorption.carried {
            case nil: .blended(absorption.blend)
            case .everything: .moved(merges: false)
            case .sinceOffer: .moved(merges: true)
            }
    }
}

/// Values of several parts of the parameter vector, laid end to end.
struct GatheredValues {
    let values: [Float]
    func withSpan<Result, Failure: Error>(
        _ body: (Span<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(values.span)
    }
}

extension TrainerOrder.Encoding {
    func departure(ofSlice slice: Int) -> SliceResidues.Departure {
        SliceResidues.Departure(
            fragment: key.fragment, slice: slice, round: key.round, epoch: epoch)
    }

    /// Elements of all chunks this worker would send of the slice, in order.
    func ranges(ofSlice slice: Int) -> [Range<UInt64>] {
        (chunks + absent).filter { $0.slice == slice }.sorted { $0.position < $1.position }
            .map(\.range)
    }
}
