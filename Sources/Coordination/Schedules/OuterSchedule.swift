package import ClusterModel

/// When a fragment leaves a replica, and what its contribution is. One type for each schedule; nothing
/// outside this folder asks for a schedule by name.
package protocol OuterSchedule: Sendable {
    /// Gradients are averaged before the optimiser steps, rather than parameters after.
    var sharesGradients: Bool { get }
    /// A replica may go on training beyond the boundary while the previous round is not committed.
    var trainsPastBoundary: Bool { get }
    /// The coordinator decides who contributes to a round and when it is closed; replicas offer, train on
    /// and apply a mean whenever it is there.
    var closesSets: Bool { get }
    /// Share of the local parameters that remain when a mean is applied at `step`, having left after
    /// `left`: live = blend x local + (1 - blend) x outer.
    func blend(left: UInt32, pace: ReplicaPace) -> Float
    /// Whether the next turn should leave where the replica stands.
    func leaves(_ position: SchedulePosition) -> Bool
    /// What a contribution counts for, of a replica that has trained on `tokens` since the last one.
    func weight(tokens: UInt64) -> UInt64
    /// Whether the run is over when all turns to `turn` are committed. `allStepped`: whoever reported
    /// the last one has taken its last step.
    func isOver(turn: UInt32, fragments: UInt32, allStepped: Bool) -> Bool
}

/// How fast one replica goes round: from its member's line of the plan.
package struct ReplicaPace: Equatable, Sendable {
    /// H_r: inner steps between two departures of one fragment.
    package var syncEvery: UInt32
    /// tau_r: inner steps between leaving and being applied.
    package var overlap: UInt32
    /// The inner step after which nothing is left to train.
    package var lastStep: UInt32
    /// P.
    package var fragments: UInt32

    package init(syncEvery: UInt32, overlap: UInt32, lastStep: UInt32, fragments: UInt32) {
        self.syncEvery = syncEvery
        self.overlap = overlap
        self.lastStep = lastStep
        self.fragments = fragments
    }
}

extension RunConfiguration {
    /// What each seat starts with.
    ///
    /// - Parameter values: elements of the model.
    package func paces(_ topology: Topology, values: UInt64) -> [ReplicaPace] {
        let rounds = steps / max(1, schedule.syncEvery)
        let chosen = OverlapChoice(self, topology, values: values)?.perSeat
        return LocalSteps.perSeat(schedule, topology).enumerated().map { seat, every in
            ReplicaPace(
                syncEvery: every,
                overlap: min(chosen?[seat] ?? schedule.overlap, every - 1),
                lastStep: every == schedule.syncEvery ? steps : rounds * every,
                fragments: UInt32(schedule.fragments))
        }
    }
}

/// Where a replica stands in its outer schedule.
package struct SchedulePosition: Equatable, Sendable {
    /// Inner steps taken.
    package var step: UInt32
    /// Step after which a fragment left last.
    package var left: UInt32
    /// The turn that would leave now (``FragmentOrder``).
    package var turn: UInt32
    package var pace: ReplicaPace

    package init(step: UInt32, left: UInt32, turn: UInt32, pace: ReplicaPace) {
        self.step = step
        self.left = left
        self.turn = turn
        self.pace = pace
    }

    package var isFinal: Bool { step >= pace.lastStep }
}

extension OuterSchedule {
    package var closesSets: Bool { false }
    package func blend(left: UInt32, pace: ReplicaPace) -> Float { 0 }
    package func weight(tokens: UInt64) -> UInt64 { tokens }
    package func isOver(turn: UInt32, fragments: UInt32, allStepped: Bool) -> Bool { allStepped }
}

extension RunConfiguration {
    /// The one place where a schedule's name becomes its type.
    package var outerSchedule: any OuterSchedule {
        switch schedule.outer {
        case .everyStep: EveryStepSchedule()
        case .localSGD, .diloco: DiLoCoSchedule()
        case .streaming:
            StreamingSchedule(
                rounds: steps / max(1, schedule.syncEvery), blend: Float(schedule.blend))
        case .decoupled: DecoupledSchedule()
        }
    }
}
