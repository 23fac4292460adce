import ClusterModel
import Coordination
import Testing
import WireProtocol

/// The coordinator alone under `decoupled`: two regions of two, one replica each, quorum 1.
@Suite struct CoordinatorClosingTests {
    private let seats = Fixtures.topology().seats

    private func message(_ message: Message, from seat: Int) -> Coordinator.Event {
        .message(
            from: ConnectionID(rawValue: UInt64(seat)), name: seats[seat].worker.name,
            incarnation: Incarnation(rawValue: 1), message)
    }

    private func key(_ round: UInt32) -> CollectiveKey {
        .outer(fragment: FragmentID(0), round: round)
    }

    private func running(steps: UInt32 = 60) -> Coordinator {
        var configuration = Fixtures.configuration(outer: .decoupled, syncEvery: 2, steps: steps)
        configuration.schedule.closing = ClosingRules(
            quorum: 1, graceFactor: 3_000, graceMost: .seconds(2), lateWeight: 500)
        var coordinator = Fixtures.coordinator(configuration)
        _ = coordinator.handle(.started, at: .at(0))
        for seat in 0..<4 {
            _ = coordinator.handle(
                message(.hello(Fixtures.hello(seats[seat])), from: seat), at: .at(0))
        }
        for seat in 0..<4 {
            let ready = Ready(planVersion: 1, step: 0, holdings: [])
            _ = coordinator.handle(message(.ready(ready), from: seat), at: .at(0))
        }
        return coordinator
    }

    private func offer(
        _ seats: [Int], step: UInt64, tokens: UInt64 = 512, steps: UInt64 = 2, at time: Double,
        _ coordinator: inout Coordinator
    ) -> [Coordinator.Effect] {
        seats.flatMap { seat in
            let offer = Offer(
                fragment: FragmentID(0), step: step, tokens: tokens, steps: steps)
            return coordinator.handle(message(.offer(offer), from: seat), at: .at(time))
        }
    }

    private func report(
        _ round: UInt32, step: UInt64, at time: Double, _ coordinator: inout Coordinator
    ) -> [Coordinator.Effect] {
        (0..<4).flatMap { seat in
            let report = Report(key: key(round), digest: 9, step: step, tokens: 1)
            return coordinator.handle(message(.report(report), from: seat), at: .at(time))
        }
    }

    private func closes(_ effects: [Coordinator.Effect]) -> [Close] {
        effects.compactMap { if case .send(_, .close(let close), _) = $0 { close } else { nil } }
    }

    private func reasons(_ effects: [Coordinator.Effect]) -> [RunEvent.RoundClosed] {
        effects.compactMap {
            if case .event(.roundClosed(let closed)) = $0 { closed } else { nil }
        }
    }

    @Test func aReplicaIsThereWhenAllItsMembersAre() {
        var coordinator = running()
        #expect(closes(offer([0], step: 2, at: 1, &coordinator)) == [])
        #expect(coordinator.nextDeadline == .at(1.5))
        #expect(closes(offer([1], step: 2, at: 1, &coordinator)) == [])
        // Nobody has come second yet: as long as allowed.
        _ = coordinator.handle(.tick, at: .at(2.9))
        #expect(closes(coordinator.handle(.tick, at: .at(3))).count == 4)
    }

    @Test func everybodyClosesARoundAtOnce() throws {
        var coordinator = running()
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        let effects = offer([2, 3], step: 2, tokens: 1_024, at: 1.25, &coordinator)
        let close = Close(
            key: key(1),
            contributions: [
                Close.Contribution(rank: Rank(0), weight: 131_072),
                Close.Contribution(rank: Rank(2), weight: 524_288),
            ])
        #expect(closes(effects) == Array(repeating: close, count: 4))
        let closed = try #require(reasons(effects).first)
        #expect(closed.after == .milliseconds(250) && closed.late == [])
        #expect(closed.because == "closed round 1 with 2 of 2 after 250 ms: everybody is there")
    }

    @Test func theGraceIsLearnedAndTheLateOneIsMergedNextTime() throws {
        var coordinator = running()
        // West is 100 ms behind, round after round.
        for round in 1...3 as ClosedRange<UInt32> {
            let time = Double(round)
            _ = offer([0, 1], step: UInt64(2 * round), at: time, &coordinator)
            _ = offer([2, 3], step: UInt64(2 * round), at: time + 0.1, &coordinator)
            _ = report(round, step: UInt64(2 * round), at: time + 0.2, &coordinator)
        }
        // Median 100 ms, no deviation; a sixteenth of 2 s: 225 ms.
        _ = offer([0, 1], step: 8, at: 4, &coordinator)
        #expect(coordinator.nextDeadline == .at(4.225))
        let effects = coordinator.handle(.tick, at: .at(4.225))
        #expect(closes(effects).first?.contributions.map(\.rank) == [Rank(0)])
        #expect(
            reasons(effects).first?.because
                == "closed round 4 with 1 of 2 after 225 ms: grace was median 100 ms + 3 x MAD 0 s "
                + "(125 ms at least); missing: west, merged next round at weight x 0.500")
        // West comes while round 4 is under way, and counts for half in round 5.
        _ = offer([2, 3], step: 8, at: 4.3, &coordinator)
        _ = report(4, step: 9, at: 4.5, &coordinator)
        let next = offer([0, 1], step: 10, at: 4.6, &coordinator)
        let contributions: [Close.Contribution] = [
            Close.Contribution(rank: Rank(0), weight: 131_072),
            Close.Contribution(rank: Rank(2), weight: 65_536),
        ]
        #expect(closes(next).first?.contributions == contributions)
        #expect(reasons(next).first?.taken.map(\.missed) == [0, 1])
    }

    @Test func noRoundIsClosedBeforeTheOneBeforeIsCommitted() {
        var coordinator = running()
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        _ = offer([2, 3], step: 2, at: 1, &coordinator)
        _ = offer([0, 1], step: 4, at: 2, &coordinator)
        #expect(closes(offer([2, 3], step: 4, at: 2, &coordinator)) == [])
        let effects = report(1, step: 5, at: 2.5, &coordinator)
        #expect(closes(effects).map(\.key) == Array(repeating: key(2), count: 4))
        // Tokens of the commit are those offered, not the weights.
        #expect(
            effects.contains(
                .event(.roundCommitted(key: key(1), digest: 9, members: 4, tokens: 1_024))))
    }

    @Test func whatMayBeLostIsSaidAgain() {
        var coordinator = running()
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        _ = offer([2, 3], step: 2, at: 1, &coordinator)
        let report = Report(key: key(1), digest: 9, step: 3, tokens: 1)
        _ = coordinator.handle(message(.report(report), from: 0), at: .at(1.1))
        _ = coordinator.handle(.tick, at: .at(2.5))
        let again = coordinator.handle(.tick, at: .at(3))
        let to = again.compactMap {
            if case .send(let to, .close, _) = $0 { to.rawValue } else { nil }
        }
        #expect(to == [1, 2, 3])
    }

    @Test func theRunEndsWhenAllThatWasTrainedIsMerged() {
        var coordinator = running(steps: 4)
        _ = offer([0, 1], step: 4, at: 1, &coordinator)
        _ = coordinator.handle(.tick, at: .at(3))
        _ = report(1, step: 4, at: 3.1, &coordinator)
        #expect(coordinator.phase == .running)
        // East has nothing left: west alone is enough, whatever the quorum.
        let effects = offer([2, 3], step: 4, at: 9, &coordinator)
        #expect(reasons(effects).first?.because.hasSuffix("nobody else is left") == true)
        _ = report(2, step: 4, at: 9.1, &coordinator)
        guard case .stopping(.ok, _, _) = coordinator.phase else {
            Issue.record("\(coordinator.phase)")
            return
        }
    }

    /// READY of those who are left for the plan that a death has made.
    private func ready(
        _ seats: [Int], plan: UInt32, step: UInt64 = 2, holdings: [Holding] = [],
        at time: Double, _ coordinator: inout Coordinator
    ) -> [Coordinator.Effect] {
        seats.flatMap { seat in
            let ready = Ready(planVersion: plan, step: step, holdings: holdings)
            return coordinator.handle(message(.ready(ready), from: seat), at: .at(time))
        }
    }

    private func kill(_ seats: [Int], at time: Double, _ coordinator: inout Coordinator) {
        for seat in seats {
            _ = coordinator.handle(
                .unreachable(ConnectionID(rawValue: UInt64(seat))), at: .at(time))
        }
    }

    @Test func aRoundThatIsOpenAgainIsMissedByNobody() throws {
        var coordinator = running()
        // Round 1 is closed without west, and east dies with what it has contributed.
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        #expect(closes(coordinator.handle(.tick, at: .at(3))).count == 4)
        kill([0, 1], at: 3.1, &coordinator)
        _ = ready([2, 3], plan: 3, at: 3.2, &coordinator)
        let closed = try #require(reasons(offer([2, 3], step: 2, at: 4, &coordinator)).first)
        #expect(closed.key == key(1))
        #expect(closed.taken.map(\.missed) == [0] && closed.taken.map(\.weight) == [131_072])
    }

    /// Seed 4266: an offer made between the application of a round and its commit, and a death between.
    @Test func anOfferThatIsNotSaidAgainAfterGoDoesNotCount() throws {
        var coordinator = running()
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        _ = offer([2, 3], step: 2, at: 1, &coordinator)
        // Both have applied round 1 and offer again; west-2 has not reported and dies.
        for seat in [0, 1, 2] {
            let report = Report(key: key(1), digest: 9, step: 4, tokens: 1)
            _ = coordinator.handle(message(.report(report), from: seat), at: .at(1.5))
        }
        _ = offer([0, 1], step: 4, at: 1.6, &coordinator)
        kill([3], at: 2, &coordinator)
        let holdings = [Holding(key: key(1), state: .applied)]
        let effects =
            ready([0, 1, 2], plan: 2, step: 4, holdings: holdings, at: 2.1, &coordinator)
        #expect(
            effects.contains(
                .event(.roundCommitted(key: key(1), digest: 9, members: 3, tokens: 1_024))))
        #expect(closes(effects).allSatisfy { $0.key == key(1) })
        // West alone is there: the grace is over long after, and east is late.
        #expect(closes(offer([2], step: 4, at: 2.2, &coordinator)) == [])
        let late = reasons(coordinator.handle(.tick, at: .at(5)))
        #expect(try #require(late.first).late == ["east"])
    }

    /// Its GO lost with a connection: the others count from the boundary on, so it must too.
    @Test func aGoIsSaidAgainBeforeALaterPlan() {
        var coordinator = running()
        kill([3], at: 2, &coordinator)
        _ = ready([0, 1, 2], plan: 2, at: 2.1, &coordinator)
        kill([2], at: 3, &coordinator)
        let hello = Message.hello(Fixtures.hello(seats[1]))
        let effects = coordinator.handle(
            .message(
                from: ConnectionID(rawValue: 77), name: seats[1].worker.name,
                incarnation: Incarnation(rawValue: 1), hello), at: .at(3.1))
        let said = effects.compactMap { effect -> String? in
            guard case .send(ConnectionID(rawValue: 77), let message, _) = effect else {
                return nil
            }
            switch message {
            case .go(let go): return "go \(go.planVersion)"
            case .plan(let plan): return "plan \(plan.planVersion)"
            default: return nil
            }
        }
        #expect(said == ["go 2", "plan 3"])
    }

    @Test func theDeadAreTakenOutOfAClosedRound() {
        var coordinator = running()
        _ = offer([0, 1], step: 2, at: 1, &coordinator)
        _ = offer([2, 3], step: 2, at: 1, &coordinator)
        for seat in [2, 3] {
            _ = coordinator.handle(
                .unreachable(ConnectionID(rawValue: UInt64(seat))), at: .at(1.2))
        }
        var effects: [Coordinator.Effect] = []
        for seat in [0, 1] {
            let ready = Ready(
                planVersion: 3, step: 2, holdings: [Holding(key: key(1), state: .inFlight)])
            effects += coordinator.handle(message(.ready(ready), from: seat), at: .at(1.3))
        }
        #expect(closes(effects).map { $0.contributions.map(\.rank) } == [[Rank(0)], [Rank(0)]])
        let said = effects.compactMap { effect -> String? in
            guard case .send(_, let message, _) = effect else { return nil }
            switch message {
            case .close: return "close"
            case .go(let go): return go.verdicts.map { "\($0.verdict)" }.joined()
            default: return nil
            }
        }
        // Before GO, so that whoever goes knows what with.
        #expect(said == ["close", "close", "restart", "restart"])
        let report = Report(key: key(1), digest: 9, step: 3, tokens: 1)
        _ = coordinator.handle(message(.report(report), from: 0), at: .at(2))
        let last = coordinator.handle(message(.report(report), from: 1), at: .at(2))
        #expect(
            last.contains(
                .event(.roundCommitted(key: key(1), digest: 9, members: 2, tokens: 512))))
    }
}
