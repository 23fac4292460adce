/// Decoupled DiLoCo (Google 2026), with the coordinator in the place of its parameter server: after H
/// inner steps a replica offers what it has, trains on, and offers again when that has gone into a mean.
/// Nobody waits for anybody (docs/decisions/0017-decoupled.md).
package struct DecoupledSchedule: OuterSchedule {
    package let sharesGradients = false
    package let trainsPastBoundary = true
    package let closesSets = true
    package init() {}

    /// Whether what the replica has is offered, if nothing is that still waits for its mean.
    package func leaves(_ position: SchedulePosition) -> Bool {
        guard position.step > position.left else { return false }
        return position.step - position.left >= position.pace.syncEvery || position.isFinal
    }
}
