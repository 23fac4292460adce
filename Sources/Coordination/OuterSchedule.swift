package import ClusterModel

/// When a fragment leaves a replica, and what its contribution is. One type for each schedule; nothing
/// outside this file asks for a schedule by name.
package protocol OuterSchedule: Sendable {
    /// Gradients are averaged before the optimiser steps, rather than parameters after.
    var sharesGradients: Bool { get }
    /// Whether a replica that has applied `step` steps, and last let the fragment go after `left`, should
    /// let it go now. `final`: no more steps follow.
    func leaves(afterStep step: UInt32, left: UInt32, final: Bool) -> Bool
    /// A replica may go on training beyond the boundary while the previous round is not committed.
    var trainsPastBoundary: Bool { get }
}

/// Synchronous data-parallel training: every step is a round.
package struct EveryStepSchedule: OuterSchedule {
    package let sharesGradients = true
    package let trainsPastBoundary = false
    package init() {}
    package func leaves(afterStep step: UInt32, left: UInt32, final: Bool) -> Bool {
        step > left
    }
}

/// DiLoCo (Douillard et al. 2023, arXiv 2311.08105, Algorithm 1) and, with outer learning rate 1 and no
/// momentum, local SGD: H inner steps, then one blocking round.
package struct DiLoCoSchedule: OuterSchedule {
    package let sharesGradients = false
    package let trainsPastBoundary = true
    package let syncEvery: UInt32
    package init(syncEvery: UInt32) {
        precondition(syncEvery > 0)
        self.syncEvery = syncEvery
    }
    package func leaves(afterStep step: UInt32, left: UInt32, final: Bool) -> Bool {
        step - left >= syncEvery || (final && step > left)
    }
}

extension RunConfiguration.Schedule {
    /// The one place where a schedule's name becomes its type.
    package var outerSchedule: any OuterSchedule {
        switch outer {
        case .everyStep: EveryStepSchedule()
        case .localSGD, .diloco: DiLoCoSchedule(syncEvery: max(1, syncEvery))
        }
    }
}
