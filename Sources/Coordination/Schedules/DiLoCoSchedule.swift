/// DiLoCo (Douillard et al. 2023, arXiv 2311.08105, Algorithm 1) and, with outer learning rate 1 and no
/// momentum, local SGD: H inner steps, then one blocking round of the whole model.
///
/// H counts from the last departure: a replica that has trained on through an outage goes on from there.
package struct DiLoCoSchedule: OuterSchedule {
    package let sharesGradients = false
    package let trainsPastBoundary = true
    package init() {}
    package func leaves(_ position: SchedulePosition) -> Bool {
        guard position.step > position.left else { return false }
        return position.step - position.left >= position.pace.syncEvery || position.isFinal
    }
}
