/// Streaming DiLoCo (Douillard et al. 2025, arXiv 2501.18512, Algorithm 2): P fragments leave one after
/// the other, each every H steps, and are applied tau steps later, blended with what was trained
/// meanwhile.
///
/// Fragment p leaves after the steps s with (s - int(p H / P)) mod H = 0, s > 0. As turns (all rounds of
/// all fragments in the order in which they leave, counted from 1) that is one line: turn t leaves
/// after step int(t H / P). It is counted back from the last step, so that a plan that changes
/// H and the last step needs nothing else:
///
///     due(t) = lastStep - ceil((R P - t) H / P)        R: rounds of the run
///
/// A turn that is late (its commit was not known, a joiner had to come in) leaves after the next
/// step, one turn a step. After the last step every fragment that has not left there leaves once
/// more, P - 1 of them: without it what was trained since would be lost. That last round replaces
/// the live parameters (blend 0), so that all replicas end with equal ones.
///
/// Difference from the paper: the last round; and the paper's runs never lose a member.
package struct StreamingSchedule: OuterSchedule {
    package let sharesGradients = false
    package let trainsPastBoundary = true
    /// R: how often each fragment leaves before the last step.
    package let rounds: UInt32
    /// alpha.
    package let blend: Float

    package init(rounds: UInt32, blend: Float) {
        precondition(rounds > 0, "a run of less than one round")
        self.rounds = rounds
        self.blend = blend
    }

    package func lastTurn(fragments: UInt32) -> UInt32 { rounds * fragments + fragments - 1 }

    /// The step after which `turn` leaves if nothing is late.
    package func dueStep(turn: UInt32, pace: ReplicaPace) -> UInt32 {
        let regular = UInt64(rounds) * UInt64(pace.fragments)
        guard UInt64(turn) < regular else { return pace.lastStep }
        let fragments = UInt64(pace.fragments)
        let before = ((regular - UInt64(turn)) * UInt64(pace.syncEvery) + fragments - 1) / fragments
        return pace.lastStep - UInt32(min(UInt64(pace.lastStep), before))
    }

    package func leaves(_ position: SchedulePosition) -> Bool {
        guard position.turn <= lastTurn(fragments: position.pace.fragments) else { return false }
        if position.isFinal { return true }
        return position.step > position.left
            && position.step >= dueStep(turn: position.turn, pace: position.pace)
    }

    package func blend(left: UInt32, pace: ReplicaPace) -> Float {
        left >= pace.lastStep ? 0 : blend
    }

    /// At least one: where everybody has just come in, all would count for nothing.
    package func weight(tokens: UInt64) -> UInt64 { max(1, tokens) }

    package func isOver(turn: UInt32, fragments: UInt32, allStepped: Bool) -> Bool {
        turn >= lastTurn(fragments: fragments)
    }
}
