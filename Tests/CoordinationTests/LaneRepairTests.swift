import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Frames missing on a transport that keeps order: asked for again, a few times (decision 14).
@Suite struct LaneRepairTests {
    private static let pull = Message.pull(
        Pull(key: .inner(region: RegionID(0), step: 1), kind: .mean, slice: 0, position: 0))

    private func lane(_ role: LaneSession.Role) -> LaneSession {
        var lane = LaneSession(
            role: role,
            hello: LaneHello(peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(0)),
            window: 1_000)
        _ = lane.handle(.connected)
        if role == .dialler { _ = lane.handle(welcome(0)) }
        return lane
    }

    private func welcome(_ resumeFrom: UInt64) -> LaneSession.Event {
        .received(
            sequence: 0,
            message: .laneWelcome(LaneWelcome(resumeFrom: resumeFrom, grantedTo: 1_000)),
            payload: nil, payloadBytes: 0)
    }

    private func incoming(_ sequence: UInt64) -> LaneSession.Event {
        .received(sequence: sequence, message: Self.pull, payload: nil, payloadBytes: 0)
    }

    private func types(_ effects: [LaneSession.Effect]) -> [String] {
        effects.map {
            switch $0 {
            case .transmit(let sequence, _, let message, _): "\(sequence) \(message.type)"
            case .deliver: "deliver"
            case .violation: "violation"
            case .broken: "broken"
            case .opened: "opened"
            case .acknowledged, .discard: "payload"
            }
        }
    }

    @Test func anAcceptorSaysWhatItHolds() {
        var lane = lane(.acceptor)
        _ = lane.handle(incoming(1))
        let effects = lane.handle(incoming(3))
        #expect(types(effects) == ["violation", "0 laneWelcome"])
        guard case .transmit(_, _, .laneWelcome(let welcome), _)? = effects.last else { return }
        #expect(welcome.resumeFrom == 1)
        // What was under way behind the gap is thrown away without a word.
        #expect(lane.handle(incoming(4)) == [])
        #expect(types(lane.handle(incoming(2))) == ["deliver", "0 acknowledge"])
        #expect(types(lane.handle(incoming(3))) == ["deliver", "0 acknowledge"])
        #expect(lane.received == 3)
    }

    @Test func aDiallerGreetsAgain() {
        var lane = lane(.dialler)
        _ = lane.handle(incoming(1))
        let effects = lane.handle(incoming(3))
        #expect(types(effects) == ["violation", "0 laneHello"])
        guard case .transmit(_, _, .laneHello(let hello), _)? = effects.last else { return }
        #expect(hello.resumeFrom == 1)
        #expect(lane.phase == .greeting)
        #expect(lane.handle(incoming(4)) == [])
        #expect(types(lane.handle(welcome(0))) == ["opened"])
        #expect(lane.phase == .open)
        #expect(types(lane.handle(incoming(2))) == ["deliver", "0 acknowledge"])
    }

    @Test func aDiallerSendsAgainWhatAnAcceptorLacks() {
        var lane = lane(.dialler)
        for _ in 0..<3 {
            _ = lane.handle(
                .send(
                    LaneSession.Outgoing(
                        epoch: Epoch(rawValue: 1), message: Self.pull, payload: nil,
                        payloadBytes: 10)))
        }
        #expect(types(lane.handle(welcome(1))) == ["2 pull", "3 pull"])
        #expect(lane.unacknowledged == 2)
        #expect(lane.framesResent == 2)
    }

    /// What is sent again can be lost as well: its number does not grow, and it leaves a gap.
    @Test func anAcceptorAsksAgainForWhatIsLostAgain() {
        var lane = lane(.acceptor)
        _ = lane.handle(incoming(1))
        #expect(types(lane.handle(incoming(3))) == ["violation", "0 laneWelcome"])
        #expect(lane.handle(incoming(4)) == [])
        // 2 is lost once more; 4 of the same is under way when it is asked for the second time.
        #expect(types(lane.handle(incoming(3))) == ["violation", "0 laneWelcome"])
        #expect(lane.handle(incoming(4)) == [])
        for sequence: UInt64 in 2...4 {
            #expect(types(lane.handle(incoming(sequence))) == ["deliver", "0 acknowledge"])
        }
        #expect(lane.received == 4)
    }

    @Test func aDiallerAsksAgainForWhatIsLostAgain() {
        var lane = lane(.dialler)
        _ = lane.handle(incoming(1))
        #expect(types(lane.handle(incoming(3))) == ["violation", "0 laneHello"])
        #expect(types(lane.handle(welcome(0))) == ["opened"])
        // Behind LANE-WELCOME everything is sent again, also what is above the gap seen so far.
        #expect(types(lane.handle(incoming(4))) == ["violation", "0 laneHello"])
        #expect(lane.phase == .greeting)
        #expect(types(lane.handle(welcome(0))) == ["opened"])
        #expect(types(lane.handle(incoming(2))) == ["deliver", "0 acknowledge"])
        #expect(lane.phase == .open)
        for _ in 0..<3 { #expect(lane.handle(.watch) == []) }
    }

    /// All that was sent again is lost, or the asking: nothing comes that would show a gap.
    @Test(arguments: [LaneSession.Role.acceptor, .dialler])
    func whatDoesNotComeIsAskedForAgain(role: LaneSession.Role) {
        let asking = role == .dialler ? "0 laneHello" : "0 laneWelcome"
        var lane = lane(role)
        #expect(lane.handle(.watch) == [])
        #expect(types(lane.handle(incoming(2))) == ["violation", asking])
        #expect(lane.handle(.watch) == [])
        // Something is under way still.
        #expect(lane.handle(incoming(3)) == [])
        #expect(lane.handle(.watch) == [])
        #expect(types(lane.handle(.watch)) == ["violation", asking])
        #expect(lane.handle(.watch) == [])
        #expect(types(lane.handle(.watch)) == ["violation", asking])
        #expect(lane.handle(.watch) == [])
        #expect(types(lane.handle(.watch)) == ["violation", "broken"])
        // Said again, until frames come in order.
        let said = (0..<8).map { _ in types(lane.handle(.watch)) }
        #expect(said == [[], [], [], ["broken"], [], [], [], ["broken"]])
        if role == .dialler { _ = lane.handle(welcome(0)) }
        #expect(types(lane.handle(incoming(1))) == ["deliver", "0 acknowledge"])
        for _ in 0..<4 { #expect(lane.handle(.watch) == []) }
    }

    @Test func anUnansweredGreetingIsSaidAgainWhateverComes() {
        var lane = lane(.dialler)
        _ = lane.handle(incoming(2))
        #expect(types(lane.handle(incoming(1))) == ["deliver", "0 acknowledge"])
        #expect(types(lane.handle(incoming(2))) == ["deliver", "0 acknowledge"])
        #expect(lane.phase == .greeting)
        #expect(lane.handle(.watch) == [])
        #expect(types(lane.handle(.watch)) == ["violation", "0 laneHello"])
        #expect(types(lane.handle(welcome(0))) == ["opened"])
        for _ in 0..<4 { #expect(lane.handle(.watch) == []) }
    }

    @Test(arguments: [LaneSession.Role.acceptor, .dialler])
    func whoMiscountsForEverIsBroken(role: LaneSession.Role) {
        var lane = lane(role)
        for round in 0..<UInt64(CoordinationLimits.laneRepairs) {
            #expect(types(lane.handle(incoming(2 * round + 2))).first == "violation")
            if role == .dialler { _ = lane.handle(welcome(0)) }
            #expect(types(lane.handle(incoming(2 * round + 1))).first == "deliver")
            #expect(types(lane.handle(incoming(2 * round + 2))).first == "deliver")
        }
        #expect(types(lane.handle(incoming(100))) == ["violation", "broken"])
        #expect(lane.handle(incoming(101)) == [])
    }

    /// One frame of a round vanishes: the run goes on, and says so.
    @Test(arguments: [(0, 2, LaneSession.Role.acceptor), (2, 0, LaneSession.Role.dialler)])
    func aFrameThatVanishesCostsNoRound(from: Int, to: Int, role: LaneSession.Role) {
        let channel = TestCluster.Channel.lane(
            from: WorkerID(from), to: WorkerID(to), role: role, index: 0)
        // Who cannot be dialled is answered on its own lanes.
        var cluster = TestCluster.started(hidden: role == .dialler ? [0] : []) { delivery in
            guard delivery.channel == channel, case .frame(let frame, _) = delivery.content,
                case .chunk(let chunk) = frame.message
            else { return false }
            return chunk.key.scope == .pool && chunk.key.round == 2
        }
        #expect(cluster.committedRound == 1)
        guard
            let lost = cluster.queue.firstIndex(where: {
                if $0.channel == channel, case .frame(let frame, _) = $0.content {
                    frame.message.type == .chunk
                } else {
                    false
                }
            })
        else {
            Issue.record("nothing to lose")
            return
        }
        cluster.queue.remove(at: lost)
        cluster.release()
        #expect(cluster.violations.count == 1)
        #expect(cluster.violations.first?.contains("frames were lost or reordered") == true)
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.committedRound == 3)
        #expect(Set((0..<4).map { cluster.node($0).trainer.outer }).count == 1)
    }

    /// What the coordinator has not answered is said again, like that of a lane that does not open.
    @Test func aBrokenLaneIsSaidAgain() {
        var worker = LoneWorker(Fixtures.plan())
        for peer in 1...3 {
            _ = worker.open(peer)
            _ = worker.greeted(by: peer)
        }
        func suspicions(_ effects: [Worker.Effect]) -> Int {
            effects.count {
                guard case .control(.suspect(let suspect)) = $0 else { return false }
                return suspect.rank == Rank(2) && suspect.reason == .unreachable
            }
        }
        var effects: [Worker.Effect] = []
        let last = UInt64(CoordinationLimits.laneRepairs)
        for gap in 0...last {
            effects += worker.frame(worker.accepted(2), Self.pull, sequence: gap + 2)
            guard gap < last else { continue }
            effects += worker.frame(worker.accepted(2), Self.pull, sequence: gap + 1)
        }
        #expect(suspicions(effects) == 1)
        effects = []
        for second in 1...25 {
            worker.now = .at(1 + Double(second))
            effects += worker.machine.handle(.tick, at: worker.now)
        }
        #expect(suspicions(effects) == 1)
        // With a detour there is another way.
        var plan = Fixtures.plan(version: 2)
        plan.detours = [Detour(a: Rank(0), b: Rank(2), relay: Rank(1))]
        effects = worker.follow(plan, epoch: 2)
        for second in 26...40 {
            worker.now = .at(1 + Double(second))
            effects += worker.machine.handle(.tick, at: worker.now)
        }
        #expect(suspicions(effects) == 0)
    }

    /// A peer that nobody can understand is one without a lane: others pass on.
    @Test func aBrokenLaneGetsADetour() {
        var cluster = TestCluster.started {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        let lane = LaneID(peer: WorkerID(2), role: .acceptor)
        let first = cluster.lastSequence(from: 2, to: 0)
        for gap in 0...UInt64(CoordinationLimits.laneRepairs) {
            func frame(_ sequence: UInt64) -> Worker.Event {
                .lane(
                    lane,
                    Worker.LaneFrame(
                        incarnation: Incarnation(rawValue: 1), epoch: .none, sequence: sequence,
                        message: Self.pull, payload: nil, payloadBytes: 0))
            }
            cluster.give(frame(first + gap + 2), to: WorkerID(0))
            cluster.give(frame(first + gap + 1), to: WorkerID(0))
        }
        cluster.settle()
        cluster.advance(to: 10)
        #expect(cluster.coordinator.plan?.detours.count == 1)
    }
}
