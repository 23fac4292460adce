import ClusterModel
import Coordination
import Testing
import WireProtocol

/// What is passed on between two others: bounds, order, and what a change of plan does to it.
@Suite struct RelayedFrameTests {
    private static let chunkBytes = 1 << 18
    /// Chunks that fill the credit between two seats of these regions.
    private static let windowChunks = 32

    /// `detours`: ranks of the two and of who passes on. `hidden`: seats nobody can dial.
    private static func plan(
        version: UInt32 = 1, detours: [(Int, Int, Int)] = [], hidden: [Int] = [],
        lives: [Int: UInt64] = [:]
    ) -> Plan {
        var plan = Fixtures.plan(version: version)
        plan.detours = detours.map { Detour(a: Rank($0.0), b: Rank($0.1), relay: Rank($0.2)) }
        for seat in hidden { plan.members[seat].endpoint = "" }
        for (seat, life) in lives { plan.members[seat].incarnation = Incarnation(rawValue: life) }
        return plan
    }

    // MARK: Bounds

    @Test func relayedFramesOfAPlanToComeAreBounded() {
        var worker = LoneWorker(Self.plan())
        for peer in [1, 2] { _ = worker.greeted(by: peer) }
        // Twice the window: what was sent again over another relay may be here already.
        let most = UInt64(2 * Self.windowChunks)
        for number in 1...most {
            let effects = worker.frame(
                worker.accepted(1), LoneWorker.relay(from: 1, to: 2, sequence: number),
                sequence: number, epoch: 2, payload: number, bytes: Self.chunkBytes)
            #expect(effects.violations == [])
            #expect(effects.released == [])
        }
        let refused = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 1, to: 2, sequence: most + 1),
            sequence: most + 1, epoch: 2, payload: most + 1, bytes: Self.chunkBytes)
        #expect(refused.released == [most + 1])
        #expect(refused.violations.count == 1)
        // The way back is another matter, and the plan that comes passes on what was kept.
        let back = worker.frame(
            worker.accepted(2), LoneWorker.relay(from: 2, to: 1, sequence: 1),
            sequence: 1, epoch: 2, payload: 999, bytes: Self.chunkBytes)
        #expect(back.violations == [])
        _ = worker.open(2)
        let passed = worker.follow(Self.plan(version: 2, detours: [(1, 2, 0)]), epoch: 2)
        #expect(passed.sent(to: 2).count == Int(most))
    }

    @Test func framesOfAPlanToComeAreBoundedInNumber() {
        var worker = LoneWorker(Self.plan())
        _ = worker.greeted(by: 1)
        let pull = Message.pull(
            Pull(key: LoneWorker.outer, kind: .mean, slice: 0, position: 0))
        let most = UInt64(CoordinationLimits.laneQueueMessages)
        var violations = 0
        for number in 1...most + 2 {
            violations +=
                worker.frame(
                    worker.accepted(1), pull, sequence: number, epoch: 2
                ).violations.count
        }
        #expect(violations == 2)
        // Another's are kept all the same.
        _ = worker.greeted(by: 2)
        #expect(worker.frame(worker.accepted(2), pull, sequence: 1, epoch: 2).violations == [])
    }

    /// What is dropped was acknowledged and does not come again: the lane is of no use, said once.
    @Test func whoSendsTooMuchOfAPlanToComeIsReported() {
        var worker = LoneWorker(Self.plan())
        _ = worker.greeted(by: 1)
        var reports: [Int] = []
        for number in 1...UInt64(2 * Self.windowChunks) + 2 {
            let effects = worker.frame(
                worker.accepted(1), LoneWorker.relay(from: 1, to: 2, sequence: number),
                sequence: number, epoch: 2, payload: number, bytes: Self.chunkBytes)
            reports.append(
                effects.count {
                    guard case .control(.suspect(let suspect)) = $0 else { return false }
                    return suspect.rank == Rank(1) && suspect.reason == .unreachable
                })
        }
        #expect(reports.reduce(0, +) == 1)
        #expect(reports.dropLast().last == 1)
    }

    /// A third member cannot use up what two others may have under way over this one.
    @Test func relayedFramesOfAPlanToComeComeFromTheirOrigin() {
        var worker = LoneWorker(Self.plan())
        for peer in [1, 3] { _ = worker.greeted(by: peer) }
        let refused = worker.frame(
            worker.accepted(3), LoneWorker.relay(from: 1, to: 2, sequence: 1), sequence: 1,
            epoch: 2, payload: 1, bytes: Self.chunkBytes)
        #expect(refused.released == [1])
        #expect(refused.violations.count == 1)
        // For this worker anybody may be the relay, and each has its own.
        for hop in [1, 3] {
            for number in 1...UInt64(2 * Self.windowChunks) {
                let handle = UInt64(hop * 1_000) + number
                let kept = worker.frame(
                    worker.accepted(hop), LoneWorker.relay(from: 2, to: 0, sequence: number),
                    sequence: hop == 3 ? number + 1 : number, epoch: 2, payload: handle,
                    bytes: Self.chunkBytes)
                #expect(kept.violations == [])
                #expect(kept.released == [])
            }
        }
        // Who only passes on is not suspected of what is too much.
        let number = UInt64(2 * Self.windowChunks) + 1
        let beyond = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 2, to: 0, sequence: number),
            sequence: number, epoch: 2, payload: 9_999, bytes: Self.chunkBytes)
        #expect(beyond.released == [9_999])
        #expect(!beyond.contains { if case .control(.suspect) = $0 { true } else { false } })
    }

    /// A RELAY early by its number waits; beyond the peer's credit, and a second time, it does not.
    @Test func earlyRelayedFramesAreBoundedByTheWindow() {
        var worker = LoneWorker(Self.plan(detours: [(0, 3, 1)]))
        _ = worker.open(1)
        _ = worker.greeted(by: 1)
        for place in 0..<UInt64(Self.windowChunks) {
            let effects = worker.frame(
                worker.accepted(1), LoneWorker.relay(from: 3, to: 0, sequence: place + 2),
                sequence: place + 1, epoch: 1, payload: place + 1, bytes: Self.chunkBytes)
            #expect(effects.released == [])
        }
        let next = UInt64(Self.windowChunks) + 1
        let beyond = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 3, to: 0, sequence: next + 1),
            sequence: next, epoch: 1, payload: next, bytes: Self.chunkBytes)
        #expect(beyond.released == [next])
        let again = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 3, to: 0, sequence: 2),
            sequence: next + 1, epoch: 1, payload: next + 1, bytes: 1)
        #expect(again.released == [next + 1])
    }

    // MARK: Changes of plan

    /// Bytes of an earlier life that never had their turn give credit to nobody.
    @Test func aRelayedPeersNextLifeGetsNoCreditForWhatWasEarly() {
        var worker = LoneWorker(Self.plan(detours: [(0, 3, 1)]))
        _ = worker.open(1)
        _ = worker.greeted(by: 1)
        _ = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 3, to: 0, sequence: 2), sequence: 1,
            epoch: 1, payload: 7, bytes: Self.chunkBytes)
        let effects = worker.follow(
            Self.plan(version: 2, detours: [(0, 3, 1)], lives: [3: 2]), epoch: 2)
        #expect(effects.released == [7])
        let grants = effects.compactMap { effect -> UInt64? in
            guard case .transmit(_, _, _, .relay(let relay), _) = effect,
                case .laneHello(let hello) = relay.inner
            else { return nil }
            return hello.grantedTo
        }
        #expect(grants == [8 << 20])
    }

    /// RELAYs that wait for the lanes of a peer which cannot be dialled leave another way when those are
    /// gone: between their two ends they have numbers.
    @Test func whatWaitsForAPeersOwnLanesLeavesAnotherWay() {
        let detours = [(1, 2, 0)]
        var worker = LoneWorker(Self.plan(detours: detours))
        for peer in [1, 3] { _ = worker.open(peer) }
        for peer in [1, 2, 3] { _ = worker.greeted(by: peer) }
        // No lane to seat 2 opens: its own is taken instead, and breaks.
        for second in 1...25 {
            worker.now = .at(1 + Double(second))
            _ = worker.machine.handle(.tick, at: worker.now)
        }
        _ = worker.machine.handle(.laneDisconnected(worker.accepted(2)), at: worker.now)
        let waiting = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 1, to: 2, sequence: 1), sequence: 1,
            epoch: 1, payload: 7, bytes: Self.chunkBytes)
        #expect(waiting.sent(to: 2) == [])
        #expect(waiting.released == [])
        let replanned = worker.follow(Self.plan(version: 2, detours: detours), epoch: 2)
        #expect(replanned.released == [])
        #expect(worker.open(2).sent(to: 2).contains("1 relay"))
    }

    /// A plan with a detour to the peer itself: what waits for others' sake is theirs to send again, and a
    /// RELAY never carries a RELAY.
    @Test func whatWaitsForAPeersOwnLanesDoesNotLeaveOverADetour() {
        var worker = LoneWorker(Self.plan(detours: [(1, 2, 0)]))
        for peer in [1, 3] { _ = worker.open(peer) }
        for peer in [1, 2, 3] { _ = worker.greeted(by: peer) }
        for second in 1...25 {
            worker.now = .at(1 + Double(second))
            _ = worker.machine.handle(.tick, at: worker.now)
        }
        _ = worker.machine.handle(.laneDisconnected(worker.accepted(2)), at: worker.now)
        let waiting = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 1, to: 2, sequence: 1), sequence: 1,
            epoch: 1, payload: 7, bytes: Self.chunkBytes)
        #expect(waiting.released == [])
        let replanned = worker.follow(
            Self.plan(version: 2, detours: [(0, 2, 3), (1, 2, 3)]), epoch: 2)
        #expect(replanned.released == [7])
        let opened = worker.frame(
            worker.accepted(3),
            LoneWorker.relay(
                from: 2, to: 0, sequence: 0, epoch: 2,
                .laneWelcome(LaneWelcome(resumeFrom: 0, grantedTo: 8 << 20))), sequence: 1,
            epoch: 2)
        #expect(opened.violations == [])
        let nested = (replanned + opened).filter {
            guard case .transmit(_, _, _, .relay(let relay), _) = $0 else { return false }
            return relay.inner.type == .relay
        }
        #expect(nested == [])
    }

    /// What is sent again goes before what the open lane brings about.
    @Test func aPeersOwnLaneThatReturnsSendsTheOldFirst() {
        var worker = LoneWorker(Self.plan(detours: [(0, 3, 2)], hidden: [2]))
        _ = worker.open(1)
        #expect(worker.greeted(by: 2).sent(to: 2) == ["0 laneWelcome", "1 relay"])
        _ = worker.machine.handle(.laneDisconnected(worker.accepted(2)), at: worker.now)
        _ = worker.follow(
            Self.plan(version: 2, detours: [(0, 3, 2)], hidden: [2]), epoch: 2)
        #expect(
            worker.greeted(by: 2).sent(to: 2) == ["0 laneWelcome", "1 relay", "2 relay"])
    }

    /// A plan lets go what was under reduction, and credit of it is said at once where little is left: not
    /// over a detour that this plan does not have, whose relay would have to refuse it.
    @Test(arguments: [false, true]) func creditLetGoByAPlanKeepsToItsDetours(isRelayNew: Bool) {
        var worker = LoneWorker(
            Self.plan(detours: [(0, 2, 1)]), laneWindow: UInt64(Self.chunkBytes))
        for peer in [1, 3] { _ = worker.open(peer) }
        _ = worker.greeted(by: 1)
        _ = worker.frame(
            worker.accepted(1),
            LoneWorker.relay(
                from: 2, to: 0, sequence: 0,
                .laneWelcome(LaneWelcome(resumeFrom: 0, grantedTo: 8 << 20))), sequence: 1,
            epoch: 1)
        _ = worker.machine.handle(
            .control(.go(Go(planVersion: 1, verdicts: [])), epoch: Epoch(rawValue: 1)),
            at: worker.now)
        let chunk = Message.chunk(
            Chunk(
                key: LoneWorker.outer, kind: .contribution, transform: .int8, stage: .stored,
                slice: 0, group: 1, position: 0, elements: 65_536, weight: 1, origin: Rank(2),
                flags: []))
        let taken = worker.frame(
            worker.accepted(1), LoneWorker.relay(from: 2, to: 0, sequence: 1, chunk),
            sequence: 2, epoch: 1, payload: 7, bytes: 66_560)
        #expect(taken.violations == [])
        #expect(taken.released == [])

        var next = Self.plan(version: 2, detours: isRelayNew ? [(0, 2, 3)] : [])
        if !isRelayNew { next.members = Fixtures.plan(seats: [0, 1, 3]).members }
        let effects = worker.follow(next, epoch: 2)
        #expect(effects.released == [7])
        let relayed = effects.compactMap { effect -> Int? in
            guard case .transmit(let lane, _, _, .relay(let relay), _) = effect,
                relay.destination == WorkerID(2)
            else { return nil }
            return Int(lane.peer.rawValue)
        }
        // Over the new relay the greeting says what is granted.
        #expect(relayed == (isRelayNew ? [3] : []))
    }

    // MARK: Load

    /// Bytes passed on count in what a relay says of its links.
    @Test func aRelaysMeterCountsWhatItPassesOn() {
        func bytesFromTheFirst(_ hidden: Set<Int>) -> UInt64 {
            let reports = Reports()
            let cluster = TestCluster.started(hidden: hidden) { delivery in
                if case .control(.report(let report), _) = delivery.content,
                    delivery.channel == .toCoordinator(WorkerID(0))
                {
                    reports.byRound[report.key.round] = report
                }
                return false
            }
            #expect(cluster.coordinatorResult == .ok)
            return reports.byRound.values.reduce(0) { sum, report in
                report.links.filter { $0.region == RegionID(1) }.reduce(sum) {
                    $0 + $1.acknowledgedBytes
                }
            }
        }
        let plain = bytesFromTheFirst([])
        // east-2 and west-2 only dial out: east-1 passes on between them.
        let relaying = bytesFromTheFirst([1, 3])
        #expect(plain > 0)
        #expect(relaying >= plain * 3 / 2)
        // To west-1, who only dials out, everything goes over the lanes west-1 has dialled.
        #expect(bytesFromTheFirst([2]) == plain)
    }

    private final class Reports: @unchecked Sendable { var byRound: [UInt32: Report] = [:] }
}
