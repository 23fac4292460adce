import ClusterModel
import Coordination
import Testing
import WireProtocol

/// The coordinator alone: events in, effects and phase out.
@Suite struct CoordinatorTests {
    private let seats = Fixtures.topology().seats

    private func message(
        _ message: Message, from seat: Int, incarnation: UInt64 = 1, connection: UInt64? = nil
    ) -> Coordinator.Event {
        .message(
            from: ConnectionID(rawValue: connection ?? UInt64(seat)), name: seats[seat].worker.name,
            incarnation: Incarnation(rawValue: incarnation), message)
    }

    private func gathering() -> Coordinator {
        var coordinator = Fixtures.coordinator()
        _ = coordinator.handle(.started, at: .at(0))
        return coordinator
    }

    private func running() -> Coordinator {
        var coordinator = gathering()
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

    private func refusal(_ effects: [Coordinator.Effect]) -> Refuse? {
        for case .send(_, .refuse(let refusal), _) in effects { return refusal }
        return nil
    }

    /// Seeds 770 and 2120: with `local_steps: measured` the slower replica had taken fewer steps by then.
    @Test func aRunWhoseRoundsAreAllCommittedIsOverAtTheFirstGo() {
        for round in [2, 3] as [UInt32] {
            var coordinator = Fixtures.coordinator(
                Fixtures.configuration(outer: .streaming, syncEvery: 2, steps: 6))
            _ = coordinator.handle(.started, at: .at(0))
            for seat in 0..<4 {
                let hello = Fixtures.hello(
                    seats[seat], round: round, step: seat < 2 ? 6 : 4, stateDigest: 1)
                _ = coordinator.handle(message(.hello(hello), from: seat), at: .at(0))
            }
            for seat in 0..<4 {
                let ready = Ready(planVersion: 1, step: seat < 2 ? 6 : 4, holdings: [])
                _ = coordinator.handle(message(.ready(ready), from: seat), at: .at(0))
            }
            switch coordinator.phase {
            case .stopping(.ok, _, _): #expect(round == 3)
            case .running: #expect(round == 2)
            case .gathering, .reconfiguring, .stopping, .ended:
                Issue.record("\(coordinator.phase)")
            }
        }
    }

    // MARK: Refusals

    @Test func otherProtocolVersionIsRefusedWithTheSpokenOne() {
        var coordinator = gathering()
        var hello = Fixtures.hello(seats[0])
        hello.minVersion = 2
        hello.maxVersion = 3
        let refusal = refusal(coordinator.handle(message(.hello(hello), from: 0), at: .at(0)))
        #expect(refusal?.code == .version)
        #expect(refusal?.maxVersion == 1)
        #expect(refusal?.code.exitCode == .configuration)
        #expect(coordinator.phase == .gathering)
    }

    @Test func nameThatIsNotTheKeysIsRefused() {
        var coordinator = gathering()
        let hello = Fixtures.hello(seats[1])
        let refusal = refusal(coordinator.handle(message(.hello(hello), from: 0), at: .at(0)))
        #expect(refusal?.code == .unknownWorker)
        #expect(refusal?.hint.contains("east-1, east-2, west-1, west-2") == true)
        #expect(refusal?.code.exitCode == .notAllowed)
    }

    @Test func otherRegionIsRefused() {
        var coordinator = gathering()
        let hello = Fixtures.hello(seats[0], region: "west")
        let refusal = refusal(coordinator.handle(message(.hello(hello), from: 0), at: .at(0)))
        #expect(refusal?.code == .unknownWorker)
        #expect(refusal?.hint == "start it without --region, or with --region east")
    }

    @Test func otherConfigurationIsRefused() {
        var coordinator = gathering()
        var hello = Fixtures.hello(seats[0])
        hello.parameterCount += 1
        let refusal = refusal(coordinator.handle(message(.hello(hello), from: 0), at: .at(0)))
        #expect(refusal?.code == .configurationDiffers)
    }

    @Test func finishedRunRefusesNewcomers() {
        var coordinator = running()
        _ = coordinator.handle(.stop(code: .ok, reason: "done"), at: .at(1))
        #expect(coordinator.phase == .stopping(.ok, reason: "done", until: .at(31)))
        let hello = Fixtures.hello(seats[0])
        let effects = coordinator.handle(
            message(.hello(hello), from: 0, incarnation: 2, connection: 9), at: .at(1))
        #expect(refusal(effects)?.code == .finished)
        #expect(refusal(effects)?.code.exitCode == .ok)
    }

    @Test func olderProcessOfATakenSeatIsRefused() {
        var coordinator = gathering()
        for seat in 0..<4 {
            let hello = message(.hello(Fixtures.hello(seats[seat])), from: seat, incarnation: 5)
            _ = coordinator.handle(hello, at: .at(0))
        }
        let late = message(
            .hello(Fixtures.hello(seats[0])), from: 0, incarnation: 4, connection: 9)
        #expect(refusal(coordinator.handle(late, at: .at(0)))?.code == .staleIncarnation)
    }

    @Test func workerThatAsksFirstGetsTheConfigurationAndNoSeatYet() {
        var coordinator = gathering()
        var hello = Fixtures.hello(seats[0])
        hello.parameterCount = 0
        let effects = coordinator.handle(message(.hello(hello), from: 0), at: .at(2))
        let welcome = Welcome(
            workerID: WorkerID(0), version: 1,
            configurationDigest: Fixtures.configurationDigest, configuration: "{}",
            echoSentAt: .zero, coordinatorTime: .at(2))
        #expect(
            effects.contains(
                .send(to: ConnectionID(rawValue: 0), .welcome(welcome), epoch: .none)))
        #expect(
            !effects.contains {
                if case .event(.workerJoined) = $0 { true } else { false }
            })
    }

    @Test func strangerIsToldToSayHello() {
        var coordinator = running()
        let report = Report(
            key: .outer(fragment: FragmentID(0), round: 1), digest: 1, step: 2, tokens: 3)
        let effects = coordinator.handle(
            message(.report(report), from: 0, incarnation: 2), at: .at(1))
        guard case .send(_, .error(let error), _) = effects.first else {
            Issue.record("no answer: \(effects)")
            return
        }
        #expect(error.code == .staleIncarnation)
        #expect(coordinator.phase == .running)
    }

    // MARK: Rounds

    private func report(_ round: UInt32, digest: UInt64 = 1, step: UInt64 = 2) -> Message {
        .report(
            Report(
                key: .outer(fragment: FragmentID(0), round: round), digest: digest, step: step,
                tokens: 100))
    }

    @Test func roundIsCommittedWhenTheLastMemberReports() {
        var coordinator = running()
        for seat in 0..<3 {
            #expect(coordinator.handle(message(report(1), from: seat), at: .at(0.1)) == [])
        }
        let effects = coordinator.handle(message(report(1), from: 3), at: .at(0.1))
        let key = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
        let commit = Message.commit(Commit(key: key, digest: 1, members: 4))
        #expect(
            effects == (0..<4).map {
                .send(to: ConnectionID(rawValue: $0), commit, epoch: Epoch(rawValue: 1))
            } + [.event(.roundCommitted(key: key, digest: 1, members: 4, tokens: 100))])
    }

    @Test func repeatedReportOfACommittedRoundIsAnsweredAgain() {
        var coordinator = running()
        for seat in 0..<4 { _ = coordinator.handle(message(report(1), from: seat), at: .at(0.1)) }
        let effects = coordinator.handle(message(report(1), from: 2), at: .at(0.2))
        #expect(effects.count == 1)
        guard case .send(ConnectionID(rawValue: 2), .commit, _) = effects.first else {
            Issue.record("no commit: \(effects)")
            return
        }
    }

    @Test func reportOfAFutureRoundIsAViolation() {
        var coordinator = running()
        #expect(
            coordinator.handle(message(report(2), from: 0), at: .at(0.1)) == [
                .event(.violation(culprit: "east-1", what: "reports round 2 while 1 is open"))
            ])
    }

    @Test func lastStepOfEverybodyEndsTheRun() {
        var coordinator = running()
        for seat in 0..<4 {
            _ = coordinator.handle(message(report(1, step: 6), from: seat), at: .at(0.1))
        }
        guard case .stopping(.ok, _, _) = coordinator.phase else {
            Issue.record("phase \(coordinator.phase)")
            return
        }
        for seat in 0..<4 {
            let leave = Message.leave(Leave(code: 0, reason: "done"))
            let effects = coordinator.handle(message(leave, from: seat), at: .at(0.2))
            #expect(
                effects.first
                    == .send(
                        to: ConnectionID(rawValue: UInt64(seat)), .bye(Bye()),
                        epoch: Epoch(rawValue: 1)))
        }
        #expect(coordinator.phase == .ended)
        #expect(coordinator.nextDeadline == nil)
    }

    @Test func suspectIsProbedThroughItsOwnConnection() {
        var coordinator = running()
        let suspect = Suspect(
            rank: Rank(3), incarnation: Incarnation(rawValue: 1), reason: .connectionReset)
        let effects = coordinator.handle(message(.suspect(suspect), from: 0), at: .at(0.1))
        #expect(effects.count == 1)
        guard case .send(ConnectionID(rawValue: 3), .heartbeatAck, _) = effects.first else {
            Issue.record("no probe: \(effects)")
            return
        }
        // Its former life is not.
        let former = Suspect(
            rank: Rank(3), incarnation: Incarnation(rawValue: 0), reason: .connectionReset)
        #expect(coordinator.handle(message(.suspect(former), from: 0), at: .at(0.1)) == [])
    }

    @Test func workersThatDoNotLeaveEndTheRunAfterTheLimit() {
        var coordinator = running()
        _ = coordinator.handle(.stop(code: .interrupted, reason: "Ctrl-C"), at: .at(1))
        var now = 1.0
        while case .stopping = coordinator.phase, now < 60 {
            now += 0.5
            for seat in 0..<4 {
                let beat = Heartbeat(
                    sentAt: .at(now), step: 0, phase: .leaving, waitingForRanks: [], samples: 0)
                _ = coordinator.handle(message(.heartbeat(beat), from: seat), at: .at(now))
            }
        }
        #expect(coordinator.phase == .ended)
        #expect(now >= 31 && now < 32)
    }
}
