package import ClusterModel
package import Coordination
import Synchronization
import ZeroMQ

/// Where the trainer thread's wall time goes. Every nanosecond since the first step belongs to exactly
/// one category, so the shares sum to 100 % (docs/measuring.md).
package final class TimeAccount: Sendable {
    package enum Category: Sendable {
        case compute, encode, decode, apply, recover
        /// In the middle of a step: for tokens of others.
        case wait
        /// No order: what it counts as is decided by ``TimeAccount/idle(as:)``.
        case idle
    }

    private struct State {
        var budget = RunEvent.TimeBudget()
        var category = Category.idle
        var idle = IdleKind.wait
        /// Zero before the first step: nothing counts until then.
        var since: Int64 = 0
        /// Processor time of the process then.
        var processorBefore = 0.0
    }
    private let state = Mutex(State())

    package init() {}

    package func enter(_ category: Category) {
        let now = MonotonicClock.now()
        state.withLock { state in
            if state.since == 0 {
                guard case .compute = category else { return }
                state.since = now
                state.processorBefore = ProcessTime.cpuSeconds()
            }
            Self.settle(&state, now)
            state.category = category
        }
    }

    /// Called by the loop thread whenever the machine may have changed its mind.
    package func idle(as kind: IdleKind) {
        let now = MonotonicClock.now()
        state.withLock { state in
            guard state.idle != kind else { return }
            Self.settle(&state, now)
            state.idle = kind
        }
    }

    /// Pacing is part of computing, and shown beside it.
    package func addPaced(_ nanoseconds: Int64) {
        state.withLock { $0.budget.paced = $0.budget.paced + Interval(nanoseconds: nanoseconds) }
    }

    package var budget: RunEvent.TimeBudget {
        let now = MonotonicClock.now()
        return state.withLock { state in
            Self.settle(&state, now)
            var budget = state.budget
            if state.since != 0 {
                budget.processor = Interval(
                    seconds: ProcessTime.cpuSeconds() - state.processorBefore)
            }
            return budget
        }
    }

    private static func settle(_ state: inout State, _ now: Int64) {
        guard state.since != 0 else { return }
        let passed = Interval(nanoseconds: now - state.since)
        state.since = now
        state.budget.wall = state.budget.wall + passed
        switch state.category {
        case .compute: state.budget.compute = state.budget.compute + passed
        case .encode: state.budget.encode = state.budget.encode + passed
        case .decode: state.budget.decode = state.budget.decode + passed
        case .apply: state.budget.apply = state.budget.apply + passed
        case .recover: state.budget.recover = state.budget.recover + passed
        case .wait: state.budget.wait = state.budget.wait + passed
        case .idle:
            switch state.idle {
            case .wait: state.budget.wait = state.budget.wait + passed
            case .transfer: state.budget.transfer = state.budget.transfer + passed
            case .recover: state.budget.recover = state.budget.recover + passed
            }
        }
    }
}
