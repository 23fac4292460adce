import ClusterModel

/// Synchronous data-parallel training: every step is a round.
package struct EveryStepSchedule: OuterSchedule {
    package let sharesGradients = true
    package let trainsPastBoundary = false
    package init() {}
    package func leaves(_ position: SchedulePosition) -> Bool { position.step > position.left }
}

extension RunConfiguration.Schedule {
    /// Every step is one all-reduce of all members. Nobody but the owner of a slice needs what a region has
    /// reduced of it, so regions have no means of their own (docs/decisions/0020-one-collective.md).
    package var isOneCollective: Bool { inner == .everyStep && outer == .everyStep }
}
