import TrainingKernels

/// The vectors every trainer has, and the driver's access to them.
final class TrainerMemory {
    let parameters: Floats
    private let ownGradients: Floats
    private let ownPlace: SharedFloats?
    /// The mean gradient, when an exchange has left one.
    var adopted: SharedFloats?
    let firstMoment: Floats
    let secondMoment: Floats
    let outer: OuterState?
    /// Outer gradients are made here on demand; grows to the longest range asked for.
    private var scratch = FloatStorage(count: 0)

    init(
        parameters: Floats, gradients: Floats, firstMoment: Floats, secondMoment: Floats,
        keepsOuterCopy: Bool, gradientPlace: SharedFloats? = nil
    ) {
        self.parameters = parameters
        ownGradients = gradients
        ownPlace = gradientPlace
        self.firstMoment = firstMoment
        self.secondMoment = secondMoment
        outer = keepsOuterCopy ? OuterState(count: parameters.count) : nil
    }

    /// The gradient that the next step takes.
    var gradients: Floats { adopted?.floats ?? ownGradients }

    var gradientPlace: SharedFloats? { adopted ?? ownPlace }

    func contribution(_ kind: ContributionKind, _ range: Range<Int>) -> Floats {
        switch kind {
        case .gradient:
            return gradients.part(range)
        case .outerGradient:
            if scratch.floats.count < range.count {
                scratch = FloatStorage(count: range.count)
            }
            let result = scratch.floats.part(0, range.count)
            requiredOuter.outerGradient(live: parameters, range: range, into: result)
            return result
        case .keptOuterGradient:
            return requiredOuter.mean.floats.part(range)
        case .offeredOuterGradient:
            return requiredOuter.offered.floats.part(range)
        }
    }

    func meanDestination(_ kind: ContributionKind, _ range: Range<Int>) -> Floats {
        switch kind {
        case .gradient: gradients.part(range)
        case .outerGradient, .keptOuterGradient, .offeredOuterGradient:
            requiredOuter.mean.floats.part(range)
        }
    }

    func state(_ vector: StateVector, _ range: Range<Int>) -> Floats {
        switch vector {
        case .parameters: parameters.part(range)
        case .firstMoment: firstMoment.part(range)
        case .secondMoment: secondMoment.part(range)
        case .outerCopy: requiredOuter.copy.floats.part(range)
        case .outerMomentum: requiredOuter.momentum.floats.part(range)
        }
    }

    func keepOuterGradient(ranges: [Range<Int>], as kind: ContributionKind) {
        for range in ranges {
            requiredOuter.outerGradient(
                live: parameters, range: range, into: contribution(kind, range))
        }
    }

    func outerStep(
        ranges: [Range<Int>], optimiser: some OuterOptimiser, round: UInt32, live: LiveUpdate
    ) {
        for range in ranges {
            requiredOuter.step(
                range: range, optimiser: optimiser, round: round, update: live, live: parameters)
        }
    }

    /// The parameters after the last outer step.
    var outerCopy: Floats { requiredOuter.copy.floats }

    private var requiredOuter: OuterState {
        guard let outer else {
            preconditionFailure("this trainer was made without an outer copy")
        }
        return outer
    }
}
