import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Steps whose experts are spread over a region, when the plan changes: a gradient counts only together
/// with those that were computed under the same plan.
@Suite struct SpreadStepTests {
    private let inner = CollectiveKey.inner(region: RegionID(0), step: 1)

    private static func configuration(_ spread: Bool) -> RunConfiguration {
        var configuration = Fixtures.configuration(syncEvery: 1)
        configuration.model.experts = .init(
            count: 4, width: 8, spread: spread ? .region : .none)
        return configuration
    }

    private func started(_ worker: Int = 0, spread: Bool = true) -> WorkerRound {
        let configuration = Self.configuration(spread)
        var round = WorkerRound(
            worker: WorkerID(worker), region: RegionID(0), configuration: configuration)
        _ = round.handle(
            .plan(
                Fixtures.plan(elements: 4, configuration: configuration),
                epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    private func change(_ round: inout WorkerRound) {
        let plan = Fixtures.plan(version: 2, seats: [0, 1, 2], elements: 4)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 2)), at: .zero)
    }

    private func computes(_ effects: [WorkerRound.Effect]) -> Int {
        effects.count { if case .train(.compute(step: 1, _)) = $0 { true } else { false } }
    }

    private func losses(_ effects: [WorkerRound.Effect]) -> Int {
        effects.count { if case .event(.stepped) = $0 { true } else { false } }
    }

    @Test func `a step under way is computed again, whether it was given up or came to its end`() {
        for isGivenUp in [true, false] {
            var round = started()
            change(&round)
            #expect(round.stage == .computing(step: 1))
            let ended = round.handle(
                isGivenUp ? .interrupted(step: 1) : .computed(step: 1, loss: 2, tokens: 256),
                at: .zero)
            #expect(round.stage == .idle && losses(ended) == 0)
            let effects = round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
            #expect(computes(effects) == 1)
            #expect(round.stage == .computing(step: 1))
            let again = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
            #expect(round.stage == .sharing(inner) && losses(again) == 1)
        }
    }

    @Test func `GO before the trainer has answered orders the step once`() {
        var round = started()
        change(&round)
        #expect(computes(round.handle(.go(planVersion: 2, verdicts: []), at: .zero)) == 0)
        #expect(computes(round.handle(.interrupted(step: 1), at: .zero)) == 1)
        #expect(round.stage == .computing(step: 1))
    }

    @Test func `a gradient that was being shared is computed again, and its loss said once`() {
        var round = started()
        let first = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        #expect(losses(first) == 1)
        change(&round)
        let verdict = Verdict(key: inner, verdict: .restart, holder: .none)
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(computes(effects) == 1 && round.stage == .computing(step: 1))
        let again = round.handle(.computed(step: 1, loss: 2.5, tokens: 256), at: .zero)
        #expect(losses(again) == 0 && round.stage == .sharing(inner))
    }

    @Test func `who had all its answers computes again with one that waited for more`() {
        var complete = started(0)
        var waiting = started(1)
        _ = complete.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        change(&complete)
        change(&waiting)
        _ = waiting.handle(.interrupted(step: 1), at: .zero)
        #expect(complete.stage == .sharing(inner) && waiting.stage == .idle)
        let verdict = Verdict(key: inner, verdict: .restart, holder: .none)
        let go = WorkerRound.Event.go(planVersion: 2, verdicts: [verdict])
        #expect(computes(complete.handle(go, at: .zero)) == 1)
        #expect(computes(waiting.handle(go, at: .zero)) == 1)
        #expect(complete.stage == .computing(step: 1) && waiting.stage == .computing(step: 1))
    }

    @Test func `a mean that somebody holds whole is taken, not computed again`() {
        var round = started()
        _ = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        change(&round)
        let verdict = Verdict(key: inner, verdict: .complete, holder: Rank(1))
        let effects = round.handle(.go(planVersion: 2, verdicts: [verdict]), at: .zero)
        #expect(computes(effects) == 0 && round.stage == .sharing(inner))
        #expect(
            effects.contains { if case .pull(from: Rank(1), _, _, _) = $0 { true } else { false } })
    }

    @Test func `where every worker has all experts nothing is computed again`() {
        var round = started(spread: false)
        change(&round)
        _ = round.handle(.computed(step: 1, loss: 2, tokens: 256), at: .zero)
        #expect(round.stage == .readyToShare(step: 1, tokens: 256))
        let effects = round.handle(.go(planVersion: 2, verdicts: []), at: .zero)
        #expect(computes(effects) == 0 && round.stage == .sharing(inner))
    }
}
