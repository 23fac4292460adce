import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Lanes of a peer that came back under its old identity.
@Suite struct LaneLifeTests {
    private static func plan(version: UInt32, peerLife: UInt64) -> Plan {
        var plan = Fixtures.plan(version: version, seats: [0, 1])
        plan.members[1].incarnation = Incarnation(rawValue: peerLife)
        return plan
    }

    private static func hello(life: UInt64) -> Worker.Event {
        .lane(
            LaneID(peer: WorkerID(1), role: .acceptor),
            Worker.LaneFrame(
                incarnation: Incarnation(rawValue: life), epoch: .none, sequence: 0,
                message: .laneHello(
                    LaneHello(
                        peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(1),
                        grantedTo: 1 << 20)), payload: nil, payloadBytes: 0))
    }

    /// Seed 284: the connection of the next life is there before its plan; what is dropped with the
    /// earlier life must not hang it up.
    @Test func `a peer's next life keeps the connection it came with`() {
        let seat = Fixtures.topology().seats[0]
        var machine = Worker(
            worker: seat.id, region: seat.region, hello: Fixtures.hello(seat),
            configuration: Fixtures.configuration(), topology: Fixtures.topology())
        _ = machine.handle(.started, at: .zero)
        _ = machine.handle(
            .control(
                .welcome(
                    Welcome(
                        workerID: seat.id, version: 1,
                        configurationDigest: Fixtures.configurationDigest, configuration: "{}",
                        echoSentAt: .zero, coordinatorTime: .zero)), epoch: .none), at: .zero)
        let first = Epoch(rawValue: 1)
        let planned = machine.handle(
            .control(.plan(Self.plan(version: 1, peerLife: 1)), epoch: first), at: .at(0.1))
        #expect(planned.contains { if case .dial = $0 { true } else { false } })
        let greeted = machine.handle(Self.hello(life: 1), at: .at(0.2))
        #expect(greeted.contains { Self.isWelcome($0) })

        let early = machine.handle(Self.hello(life: 2), at: .at(1))
        #expect(!early.contains { Self.isWelcome($0) })
        let second = Epoch(rawValue: 2)
        let replanned = machine.handle(
            .control(.plan(Self.plan(version: 2, peerLife: 2)), epoch: second), at: .at(1.1))
        let accepted = LaneID(peer: WorkerID(1), role: .acceptor)
        #expect(!replanned.contains(.hangUp(accepted)))
        #expect(replanned.contains(.hangUp(LaneID(peer: WorkerID(1), role: .dialler))))
        #expect(replanned.contains { Self.isWelcome($0) })
    }

    private static func isWelcome(_ effect: Worker.Effect) -> Bool {
        if case .transmit(_, _, _, .laneWelcome, _) = effect { true } else { false }
    }
}
