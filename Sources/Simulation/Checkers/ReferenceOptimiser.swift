import ClusterModel

/// The toy trainer's two optimisers once more, written from their definitions over whole vectors.
enum ReferenceOptimiser {
    /// tensors: parameters, first moment, second moment.
    static func inner(
        _ tensors: inout [[Float]], _ mean: [Float], _ configuration: RunConfiguration
    ) {
        let rate = Float(configuration.training.learningRate)
        tensors[1] = zip(tensors[1], mean).map { moment, g in
            let kept: Float = 0.9 * moment
            return kept + g
        }
        tensors[2] = zip(tensors[2], mean).map { moment, g in
            let decay: Float = 0.99
            let kept = decay * moment
            let fresh = (1 - decay) * g * g
            return kept + fresh
        }
        tensors[0] = zip(tensors[0], tensors[1]).map { parameter, moment in
            let change = rate * moment
            return parameter - change
        }
    }

    /// tensors: outer copy, outer momentum of a fragment. `round`: of the fragment.
    static func outer(
        _ tensors: inout [[Float]], _ mean: [Float], round: UInt32,
        _ configuration: RunConfiguration
    ) {
        switch configuration.schedule.optimiser {
        case .nesterov: nesterov(&tensors, mean, configuration)
        case .sgd:
            let rate = Float(configuration.schedule.outerLearningRate)
            tensors[0] = zip(tensors[0], mean).map { parameter, delta in
                let change = rate * delta
                return parameter - change
            }
        case .delayedNesterov: delayed(&tensors, mean, round, configuration)
        }
    }

    /// Every round applies the N-th part, every N-th the momentum; the sum is gathered in the momentum.
    private static func delayed(
        _ tensors: inout [[Float]], _ mean: [Float], _ round: UInt32,
        _ configuration: RunConfiguration
    ) {
        let rate = Float(configuration.schedule.outerLearningRate)
        let mu = Float(configuration.schedule.outerMomentum)
        let every = configuration.schedule.momentumEvery
        let parts = mean.map { (1 / Float(every)) * $0 }
        if (round - 1) % every == 0 { tensors[1] = tensors[1].map { mu * $0 } }
        tensors[1] = zip(tensors[1], parts).map { $0 + $1 }
        let isWhole = round % every == 0
        tensors[0] = zip(tensors[0], zip(tensors[1], parts)).map { parameter, step in
            let ahead = isWhole ? mu * step.0 : 0
            let change = rate * (step.1 + ahead)
            return parameter - change
        }
    }

    /// As PyTorch has it.
    private static func nesterov(
        _ tensors: inout [[Float]], _ mean: [Float], _ configuration: RunConfiguration
    ) {
        let rate = Float(configuration.schedule.outerLearningRate)
        let mu = Float(configuration.schedule.outerMomentum)
        tensors[1] = zip(tensors[1], mean).map { momentum, delta in
            let kept = mu * momentum
            return kept + delta
        }
        tensors[0] = zip(tensors[0], zip(tensors[1], mean)).map { parameter, step in
            let ahead = mu * step.0
            let change = rate * (step.1 + ahead)
            return parameter - change
        }
    }
}
