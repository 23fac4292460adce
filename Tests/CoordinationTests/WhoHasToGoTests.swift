import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Where nobody passes on between two members one of them has to go; a plan holds so many detours.
@Suite struct WhoHasToGoTests {
    private func evictions(_ cluster: TestCluster) -> [String] {
        cluster.events.compactMap {
            guard case .workerEvicted(_, let name, let reason) = $0 else { return nil }
            return "\(name): \(reason)"
        }
    }

    /// The newcomer has the lower rank, and nobody can be dialled: the run that has begun goes on.
    @Test func aNewcomerGoesBeforeWhoTrains() {
        var cluster = TestCluster(
            Fixtures.configuration(syncEvery: 2, steps: 12), sizes: [1, 1])
        cluster.hidden = [0, 1]
        cluster.launch(1)
        cluster.holds = {
            if case .order(.compute(let next, _)) = $0.content { next >= 3 } else { false }
        }
        cluster.advance(to: 70)
        cluster.launch(0)
        cluster.release()
        #expect(
            evictions(cluster) == [
                "east-1: no lane to west-1 opens and nobody can pass on between them; give one of "
                    + "them a port that the other reaches"
            ])
        #expect(cluster.node(0).finished == .evicted)
        #expect(cluster.node(1).finished == .ok)
        #expect(cluster.coordinatorResult == .ok)
    }

    @Test func aPlanHoldsNoMoreDetoursThanItMay() {
        // 46 who only dial out are 1,035 pairs, and a plan holds 1,024.
        let sizes = [46, 1]
        var coordinator = Fixtures.coordinator(sizes: sizes)
        _ = coordinator.handle(.started, at: .at(0))
        for (number, seat) in Fixtures.topology(sizes).seats.enumerated() {
            var hello = Fixtures.hello(seat)
            if seat.region == RegionID(0) { hello.endpoint = "" }
            _ = coordinator.handle(
                .message(
                    from: ConnectionID(rawValue: UInt64(number)), name: seat.worker.name,
                    incarnation: Incarnation(rawValue: 1), .hello(hello)), at: .at(0.1))
        }
        #expect(coordinator.plan?.detours.count == 45 * 44 / 2)
        #expect(coordinator.plan?.members.count == 46)
        #expect(coordinator.plan?.members.contains { $0.name == "east-46" } == false)
        #expect(coordinator.plan?.members.contains { $0.name == "west-1" } == true)
    }

    /// In mid-round the peer's own lane would leave behind what waits on the broken one.
    @Test func aLaneBrokenInMidRoundIsAnsweredByAPlan() {
        var cluster = TestCluster.started {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        #expect(cluster.coordinator.plan?.planVersion == 1)
        cluster.breakLane(dialler: 0, acceptor: 2, returns: false)
        cluster.advance(to: 30)
        #expect(cluster.coordinator.plan?.planVersion == 2)
        #expect(cluster.coordinator.plan?.detours.count == 1)
        cluster.release()
        #expect(cluster.coordinatorResult == .ok)
        #expect(cluster.violations == [])
    }

    /// What is known of a joiner's lanes outlives its retreat to the next boundary.
    @Test func aRetreatedJoinersPairIsRemembered() {
        var pool = Pool()
        for seat in 0..<3 { pool.joins(seat) }
        pool.passes(to: 61)
        pool.ready([0, 1, 2])
        pool.joins(3)
        #expect(pool.names == ["east-1", "east-2", "west-1", "west-2"])
        // Nobody comes to the boundary; after long enough the joiner's missing lane is believed, and the
        // plan that answers stops the others where they are: the joiner waits for another boundary.
        pool.passes(to: 190)
        pool.suspects(0, of: 3)
        pool.passes(to: 193)
        #expect(pool.names == ["east-1", "east-2", "west-1"])
        // Another pair without a lane.
        pool.suspects(1, of: 2)
        pool.passes(to: 196)
        #expect(pool.detours == [["east-2", "west-1"]])
        pool.ready([0, 1, 2])
        #expect(pool.names == ["east-1", "east-2", "west-1", "west-2"])
        #expect(pool.detours == [["east-1", "west-2"], ["east-2", "west-1"]])
    }
}

/// A rank means nothing without the plan it was said under.
@Suite struct SuspicionTests {
    /// east-1 has gone: what was rank 2 is 1, and 3 is nobody.
    private func shrunken() -> Pool {
        var pool = Pool()
        for seat in 0..<4 { pool.joins(seat) }
        pool.ready([0, 1, 2, 3])
        pool.passes(to: 1)
        pool.loses(0)
        return pool
    }

    @Test func isProbedUnderThePlanItWasSaidIn() {
        var pool = shrunken()
        #expect(pool.names == ["east-2", "west-1", "west-2"])
        #expect(pool.probed(by: 1, rank: 3, reason: .connectionReset, epoch: 1) == [3])
        #expect(pool.probed(by: 1, rank: 2, reason: .connectionReset, epoch: 1) == [2])
        #expect(pool.probed(by: 1, rank: 2, reason: .connectionReset, epoch: 2) == [3])
        // Nobody: it is gone, there is no such rank, and no such plan.
        #expect(pool.probed(by: 1, rank: 0, reason: .connectionReset, epoch: 1) == [])
        #expect(pool.probed(by: 1, rank: 3, reason: .connectionReset, epoch: 2) == [])
        #expect(pool.probed(by: 1, rank: 1, reason: .connectionReset, epoch: 7) == [])
    }

    /// Recordings of older programs do not tell the epoch.
    @Test func withoutAPlanMeansTheNewest() {
        var pool = shrunken()
        #expect(pool.probed(by: 1, rank: 2, reason: .connectionReset, epoch: nil) == [3])
    }

    /// When all have said READY for the newest plan nobody speaks of another.
    @Test func ofAPlanThatIsOverMeansNobody() {
        var pool = shrunken()
        pool.ready([1, 2, 3])
        #expect(pool.coordinator.phase == .running)
        #expect(pool.probed(by: 1, rank: 3, reason: .connectionReset, epoch: 1) == [])
        #expect(pool.probed(by: 1, rank: 2, reason: .connectionReset, epoch: 2) == [3])
    }

    /// Said under the plan before: the detour is for that pair, and not for who has the rank now.
    @Test func ofAMissingLaneNamesThePairThatLacksIt() {
        var pool = shrunken()
        _ = pool.probed(by: 1, rank: 2, reason: .unreachable, epoch: 1)
        pool.passes(to: 5)
        #expect(pool.detours == [["east-2", "west-1"]])
    }
}

/// A coordinator and what its workers say, by hand.
private struct Pool {
    var coordinator = Fixtures.coordinator()
    var seats: [Int] = []
    var now = 0.0

    init() { _ = coordinator.handle(.started, at: .at(0)) }

    var plan: Plan { coordinator.plan ?? Fixtures.plan() }
    var names: [String] { plan.members.map(\.name) }
    var detours: [[String]] {
        plan.detours.map { detour in [detour.a, detour.b].map { plan.members[$0.index].name } }
    }

    private mutating func say(_ seat: Int, _ message: Message) {
        let name = Fixtures.topology().seats[seat].worker.name
        _ = coordinator.handle(
            .message(
                from: ConnectionID(rawValue: UInt64(seat)), name: name,
                incarnation: Incarnation(rawValue: 1), message), at: .at(now))
    }

    mutating func joins(_ seat: Int) {
        seats.append(seat)
        say(seat, .hello(Fixtures.hello(Fixtures.topology().seats[seat])))
    }

    /// Everybody shows signs of life until then.
    mutating func passes(to end: Double) {
        while now < end {
            now += 0.5
            for seat in seats {
                say(
                    seat,
                    .heartbeat(
                        Heartbeat(
                            sentAt: .at(now), step: 0, phase: .linking, waitingForRanks: [],
                            samples: 0)))
            }
            _ = coordinator.handle(.tick, at: .at(now))
        }
    }

    mutating func ready(_ seats: [Int]) {
        for seat in seats {
            say(
                seat,
                .ready(Ready(planVersion: plan.planVersion, step: 0, holdings: [])))
        }
    }

    /// Its connection is reset.
    mutating func loses(_ seat: Int) {
        seats.removeAll { $0 == seat }
        _ = coordinator.handle(.unreachable(ConnectionID(rawValue: UInt64(seat))), at: .at(now))
    }

    /// Seats that are asked for a sign of life because of a suspicion.
    mutating func probed(
        by reporter: Int, rank: Int, reason: SuspectReason, epoch: UInt32?
    ) -> [Int] {
        let suspect = Suspect(
            rank: Rank(rank), incarnation: Incarnation(rawValue: 1), reason: reason)
        let effects = coordinator.handle(
            .message(
                from: ConnectionID(rawValue: UInt64(reporter)),
                name: Fixtures.topology().seats[reporter].worker.name,
                incarnation: Incarnation(rawValue: 1), .suspect(suspect),
                epoch: epoch.map { Epoch(rawValue: $0) }), at: .at(now))
        return effects.compactMap {
            guard case .send(let connection, .heartbeatAck, _) = $0 else { return nil }
            return Int(connection.rawValue)
        }
    }

    mutating func suspects(_ reporter: Int, of seat: Int) {
        guard let member = plan.members.first(where: { $0.workerID == WorkerID(seat) }) else {
            return
        }
        say(
            reporter,
            .suspect(
                Suspect(
                    rank: member.rank, incarnation: member.incarnation, reason: .unreachable)))
    }
}
