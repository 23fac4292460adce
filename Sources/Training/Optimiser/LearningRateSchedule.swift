import TrainingKernels

/// Linear warm-up to the peak, then half a cosine down to a floor which stays.
package struct LearningRateSchedule: Codable, Sendable, Equatable {
    package var peak: Float
    package var floor: Float
    package var warmupSteps: Int
    /// The step at which the floor is reached.
    package var totalSteps: Int

    package init(peak: Float = 1e-3, floor: Float = 1e-4, warmupSteps: Int, totalSteps: Int) {
        precondition(warmupSteps >= 0 && totalSteps >= warmupSteps, "warm-up exceeds the schedule")
        self.peak = peak
        self.floor = floor
        self.warmupSteps = warmupSteps
        self.totalSteps = totalSteps
    }

    /// The same rate at every step.
    package static func constant(_ rate: Float) -> LearningRateSchedule {
        LearningRateSchedule(peak: rate, floor: rate, warmupSteps: 0, totalSteps: 0)
    }

    /// The rate of a step, counted from zero: (step + 1) / warmupSteps of the peak at first.
    package func rate(step: Int) -> Float {
        precondition(step >= 0, "steps are counted from zero")
        if step < warmupSteps {
            return peak * Float(step + 1) / Float(warmupSteps)
        }
        if step >= totalSteps {
            return floor
        }
        let progress = Double(step - warmupSteps) / Double(totalSteps - warmupSteps)
        let share = 0.5 * (1 + cosine(Double.pi * progress))
        return floor + (peak - floor) * Float(share)
    }
}
