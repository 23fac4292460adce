import ClusterModel

/// Synchronous data-parallel training: every step is a round.
package struct EveryStepSchedule: OuterSchedule {
    package let sharesGradients = true
    package let trainsPastBoundary = false
    package init() {}
    package func leaves(_ position: SchedulePosition) -> Bool { position.step > position.left }
}
