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

    /// tensors: outer copy, outer momentum. Nesterov as PyTorch has it.
    static func outer(
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
