import ClusterModel
import Coordination
import Testing
import WireProtocol

/// The coordinator alone, where rarely used experts are exchanged less often.
@Suite struct CoordinatorExpertTests {
    private let seats = Fixtures.topology().seats

    private func message(_ message: Message, from seat: Int, incarnation: UInt64 = 1)
        -> Coordinator.Event
    {
        .message(
            from: ConnectionID(rawValue: UInt64(seat)), name: seats[seat].worker.name,
            incarnation: Incarnation(rawValue: incarnation), message)
    }

    private func running(steps: UInt32 = 40, launching count: Int = 4) -> Coordinator {
        var configuration = Fixtures.configuration(syncEvery: 2, steps: steps)
        configuration.model.experts = .init(count: 4, width: 8)
        configuration.schedule.expertRounds = 4
        configuration.deadlines.gathering = .milliseconds(1)
        var coordinator = Fixtures.coordinator(configuration)
        _ = coordinator.handle(.started, at: .at(0))
        for seat in 0..<count {
            _ = coordinator.handle(
                message(.hello(Fixtures.hello(seats[seat])), from: seat), at: .at(0))
        }
        _ = coordinator.handle(.tick, at: .at(6))
        ready(&coordinator, 1, seats: 0..<count)
        return coordinator
    }

    @discardableResult
    private func ready(
        _ coordinator: inout Coordinator, _ version: UInt32, seats: Range<Int> = 0..<4
    )
        -> [Coordinator.Effect]
    {
        seats.flatMap { seat in
            coordinator.handle(
                message(.ready(Ready(planVersion: version, step: 0, holdings: [])), from: seat),
                at: .at(6))
        }
    }

    private func report(_ round: UInt32, step: UInt32? = nil, leads: Bool) -> Message {
        let loads: [UInt64] = [400, 300, 300, 1, 300, 300, 300, 90]
        return .report(
            Report(
                key: .outer(fragment: FragmentID(0), round: round), digest: 1,
                step: UInt64(step ?? 2 * round), tokens: 100,
                experts: leads ? loads.map { Report.ExpertLoad(tokens: $0) } : []))
    }

    /// All members report the round.
    private func commit(
        _ coordinator: inout Coordinator, _ round: UInt32, step: UInt32? = nil,
        seats: Range<Int> = 0..<4
    ) -> [Coordinator.Effect] {
        seats.flatMap { seat in
            coordinator.handle(
                message(report(round, step: step, leads: seat % 2 == 0), from: seat), at: .at(6))
        }
    }

    private func commits(_ effects: [Coordinator.Effect]) -> [Commit] {
        effects.compactMap { if case .send(_, .commit(let commit), _) = $0 { commit } else { nil } }
    }

    private func plan(_ effects: [Coordinator.Effect]) -> Plan? {
        for case .send(_, .plan(let plan), _) in effects { return plan }
        return nil
    }

    /// A plan with periods is in force after round 5.
    private func withPeriods(steps: UInt32 = 40) -> Coordinator {
        var coordinator = running(steps: steps)
        for round in UInt32(1)...4 { _ = commit(&coordinator, round) }
        ready(&coordinator, 2)
        _ = commit(&coordinator, 5)
        return coordinator
    }

    @Test func loadsBecomeAPlanAtABoundary() {
        var coordinator = running()
        for round in UInt32(1)...2 { #expect(plan(commit(&coordinator, round)) == nil) }
        let effects = commit(&coordinator, 3)
        let found = plan(effects)
        #expect(found?.activateAtRound == 5)
        #expect(found?.expertPeriods.map(\.exponent) == [0, 0, 0, 2, 0, 0, 0, 1])
        let reasons = effects.compactMap {
            if case .event(.epochStarted(_, _, let reason)) = $0 { reason } else { nil }
        }
        let expected = "experts: 6 in every round, 1 in 1 of 2, 1 in 1 of 4;"
        #expect(reasons.first?.hasPrefix(expected) == true, "\(reasons)")
        // Round 5, before the boundary, has all experts: COMMIT of round 4 says so.
        #expect(commits(effects).allSatisfy { !$0.allExperts })
        #expect(commits(commit(&coordinator, 4)).map(\.allExperts) == [true, true, true, true])
    }

    @Test func aPlanInForceIsRepeatedAfterADeath() {
        var coordinator = withPeriods()
        let effects = coordinator.handle(.unreachable(ConnectionID(rawValue: 3)), at: .at(7))
        let next = plan(effects)
        #expect(next?.activateAtRound == 0)
        #expect(next?.expertPeriods.map(\.exponent) == [0, 0, 0, 2, 0, 0, 0, 1])
    }

    @Test func roundsSayWhatTheyExchange() {
        var coordinator = withPeriods()
        let shares = (UInt32(6)...9).map { round in
            commit(&coordinator, round).compactMap {
                if case .event(.expertsExchanged(round, let sent, let all)) = $0 {
                    Double(sent) / Double(all)
                } else {
                    nil
                }
            }.first ?? 0
        }
        // Each of eight experts is a tenth; the first of its period in rounds that its period divides.
        #expect(shares.map { Int(($0 * 10).rounded()) } == [9, 8, 10, 8])
    }

    @Test func aJoinerFindsARoundOfAllExpertsBehindIt() {
        var coordinator = withPeriods()
        _ = commit(&coordinator, 6)
        _ = coordinator.handle(.unreachable(ConnectionID(rawValue: 3)), at: .at(7))
        ready(&coordinator, 3, seats: 0..<3)
        let joining = coordinator.handle(
            message(.hello(Fixtures.hello(seats[3])), from: 3, incarnation: 2), at: .at(7))
        #expect(plan(joining)?.activateAtRound == 8)
        let commits = commits(commit(&coordinator, 7, seats: 0..<3))
        #expect(commits.map(\.allExperts) == [true, true, true, true], "the joiner hears it too")
        _ = coordinator.handle(
            message(.ready(Ready(planVersion: 4, step: 0, holdings: [])), from: 3, incarnation: 2),
            at: .at(7))
        let last = self.commits(commit(&coordinator, 8, seats: 0..<3))
        #expect(last.map(\.allExperts) == [false, false, false, false])
        // Its connection breaks before it hears that COMMIT: it would never report round 8.
        let again = coordinator.handle(
            message(.hello(Fixtures.hello(seats[3])), from: 3, incarnation: 2), at: .at(7))
        #expect(self.commits(again).map(\.key.round) == [8])
    }

    /// A joiner has still to take its state where the others stand; a death takes in another one there.
    @Test func whoComesInAtABoundaryThatIsPassedHearsOfTheRoundAfter() throws {
        var coordinator = withPeriods()
        _ = commit(&coordinator, 6)
        for seat in UInt64(2)...3 {
            _ = coordinator.handle(.unreachable(ConnectionID(rawValue: seat)), at: .at(7))
        }
        ready(&coordinator, 4, seats: 0..<2)
        let joining = coordinator.handle(
            message(.hello(Fixtures.hello(seats[3])), from: 3, incarnation: 2), at: .at(7))
        let boundary = try #require(plan(joining)?.activateAtRound)
        for round in 7...boundary { _ = commit(&coordinator, round, seats: 0..<2) }
        _ = coordinator.handle(
            message(.hello(Fixtures.hello(seats[2])), from: 2, incarnation: 2), at: .at(7))
        let effects = coordinator.handle(.unreachable(ConnectionID(rawValue: 1)), at: .at(7))
        #expect(plan(effects)?.members.map(\.workerID.rawValue) == [0, 2, 3])
        #expect(commits(effects).map(\.key.round) == [boundary, boundary, boundary])
    }

    @Test func aRepeatedReportHearsTheSame() {
        var coordinator = running()
        for round in UInt32(1)...4 { _ = commit(&coordinator, round) }
        let again = coordinator.handle(message(report(4, leads: false), from: 1), at: .at(7))
        #expect(commits(again).map(\.allExperts) == [true])
    }

    @Test func theLastRoundHasAllExperts() {
        var coordinator = withPeriods(steps: 16)
        for round in UInt32(6)...6 {
            #expect(commits(commit(&coordinator, round)).allSatisfy { !$0.allExperts })
        }
        #expect(commits(commit(&coordinator, 7)).allSatisfy { $0.allExperts })
        let end = commit(&coordinator, 8)
        #expect(end.contains { if case .send(_, .stop, _) = $0 { true } else { false } })
    }

    /// Through an outage all have trained to their last step, and round 6 was not known to be the last.
    @Test func aLastRoundThatWasNotWholeIsFollowedByAnother() {
        var coordinator = withPeriods()
        let effects = commit(&coordinator, 6, step: 40)
        #expect(commits(effects).map(\.allExperts) == [true, true, true, true])
        #expect(coordinator.phase == .running)
        let end = commit(&coordinator, 7, step: 40)
        #expect(end.contains { if case .send(_, .stop, _) = $0 { true } else { false } })
    }

    @Test func loadsOfAnotherModelAreIgnored() {
        var coordinator = running()
        for round in UInt32(1)...5 {
            for seat in 0..<4 {
                let odd = Report(
                    key: .outer(fragment: FragmentID(0), round: round), digest: 1, step: 2,
                    tokens: 1,
                    experts: [Report.ExpertLoad(tokens: 9)])
                let effects = coordinator.handle(message(.report(odd), from: seat), at: .at(6))
                #expect(plan(effects) == nil)
            }
        }
    }
}
