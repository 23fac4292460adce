import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Several lanes to one peer: their number, one queue for all, and what a lost one costs.
@Suite("Lanes to one peer") struct LaneBundleTests {
    /// Takes three chunks of 250,000 bytes per lane; the first has what contributions leave to means besides.
    private static let grant: UInt64 = 750_000
    private static let forMeans = 262_144
    private static let chunkBytes = 250_000
    private static let epoch = Epoch(rawValue: 1)

    /// 500 Mbit/s, nothing fixed.
    private static let route = LaneRoute(rate: 500_000_000, lossPerBillion: 0)

    private func bundle(_ route: LaneRoute = route) -> LaneBundle {
        LaneBundle(
            to: Fixtures.member(2, seat: 2, region: 1, configuration: Fixtures.configuration()),
            over: route,
            hello: LaneHello(peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(0)),
            window: 4 << 20)
    }

    private func welcome(_ lane: UInt16, resumeFrom: UInt64 = 0) -> LaneBundle.Event {
        .received(
            lane: lane, sequence: 0,
            message: .laneWelcome(
                LaneWelcome(
                    resumeFrom: resumeFrom,
                    grantedTo: Self.grant + (lane == 0 ? UInt64(Self.forMeans) : 0))),
            payload: nil, payloadBytes: 0)
    }

    private func acknowledge(_ lane: UInt16, _ received: UInt64, grantedTo: UInt64)
        -> LaneBundle.Event
    {
        .received(
            lane: lane, sequence: 0,
            message: .acknowledge(Acknowledge(received: received, grantedTo: grantedTo)),
            payload: nil, payloadBytes: 0)
    }

    /// Four lanes after a round trip of 30 ms, all open.
    private func openBundle() -> LaneBundle {
        var bundle = bundle()
        _ = bundle.handle(.connected(lane: 0), at: .at(1))
        _ = bundle.handle(welcome(0), at: .at(1.03))
        for lane: UInt16 in 1..<4 {
            _ = bundle.handle(.connected(lane: lane), at: .at(1.1))
            _ = bundle.handle(welcome(lane), at: .at(1.13))
        }
        return bundle
    }

    /// The same without credit: twelve contributions and a mean are under way.
    private func fullBundle() -> LaneBundle {
        var bundle = openBundle()
        for handle: UInt64 in 1...12 { _ = bundle.handle(chunk(handle), at: .at(2)) }
        #expect(
            sent(bundle.handle(chunk(13, kind: .mean, bytes: Self.forMeans), at: .at(2)))
                == ["13 on 0 as 4"])
        return bundle
    }

    private func chunk(
        _ handle: UInt64, kind: ChunkKind = .contribution, round: UInt32 = 7,
        fragment: UInt16 = 0, key: CollectiveKey? = nil, bytes: Int = chunkBytes
    ) -> LaneBundle.Event {
        let chunk = Chunk(
            key: key ?? .outer(fragment: FragmentID(rawValue: fragment), round: round), kind: kind,
            transform: .fp32,
            stage: .stored, slice: 0, group: 0, position: UInt32(handle), elements: 1, weight: 1,
            origin: Rank(0), flags: [])
        return .enqueue(
            LaneSession.Outgoing(
                epoch: Self.epoch, message: .chunk(chunk),
                payload: PayloadHandle(rawValue: handle), payloadBytes: bytes))
    }

    private func sent(_ effects: [LaneBundle.Effect]) -> [String] {
        effects.compactMap {
            guard case .lane(let lane, .transmit(let sequence, _, _, let payload?)) = $0 else {
                return nil
            }
            return "\(payload.rawValue) on \(lane) as \(sequence)"
        }
    }

    // MARK: How many

    @Test("the first lane's round trip decides; the others are dialled then")
    func numberIsDecidedByTheRoundTrip() {
        var bundle = bundle()
        #expect(bundle.laneCount == 1)
        let greeting = bundle.handle(.connected(lane: 0), at: .at(1))
        guard case .lane(0, .transmit(0, _, .laneHello(let hello), nil))? = greeting.first else {
            Issue.record("no LANE-HELLO: \(greeting)")
            return
        }
        #expect(hello.lanes == 0)
        // All of it while nothing is decided.
        #expect(hello.grantedTo == 4 << 20)
        #expect(
            bundle.handle(welcome(0), at: .at(1.03)) == [
                .decided(
                    LaneDecision(lanes: 4, because: "500 Mbit/s x 30 ms hold 1.88 MB")),
                .dial(lane: 1), .dial(lane: 2), .dial(lane: 3), .lane(0, .opened),
            ])
        #expect(bundle.laneCount == 4)
        let second = bundle.handle(.connected(lane: 2), at: .at(1.1))
        guard case .lane(2, .transmit(0, _, .laneHello(let said), nil))? = second.first else {
            Issue.record("no LANE-HELLO: \(second)")
            return
        }
        #expect(said.lanes == 4)
        // It stays decided, whatever a later greeting takes.
        _ = bundle.handle(.connected(lane: 0), at: .at(2))
        #expect(bundle.handle(welcome(0), at: .at(9)) == [.lane(0, .opened)])
    }

    private func choose(
        rate: UInt64, milliseconds: Int64, loss: UInt64 = 0, window: UInt64 = 0,
        fixed: UInt16? = nil, congestion: String? = nil
    ) -> LaneDecision {
        var route = LaneRoute(rate: rate, lossPerBillion: loss)
        route.fixed = fixed.map { LaneDecision(lanes: $0, because: "the cluster file says so") }
        return LaneDecision.choose(
            route, roundTrip: .milliseconds(milliseconds),
            conditions: LaneConditions(windowLimit: window, congestion: congestion))
    }

    @Test("rate, distance, kernel and losses decide the number, within its bounds")
    func decisions() {
        #expect(choose(rate: 500_000_000, milliseconds: 1).lanes == 1)
        #expect(choose(rate: 10_000_000, milliseconds: 30).lanes == 1)
        #expect(choose(rate: 0, milliseconds: 30).lanes == 4)
        #expect(choose(rate: 500_000_000, milliseconds: 30).lanes == 4)
        // 10 Gbit/s x 30 ms = 37.5 MB in buffers of 6 MiB; at 150 ms more than eight would help.
        #expect(choose(rate: 10_000_000_000, milliseconds: 30, window: 6 << 20).lanes == 6)
        #expect(choose(rate: 10_000_000_000, milliseconds: 150, window: 6 << 20).lanes == 8)
        // 1 in 10,000: Reno's 122 segments, so 177 kB of 1.88 MB each.
        #expect(choose(rate: 500_000_000, milliseconds: 30, loss: 100_000).lanes == 11)
        #expect(choose(rate: 1_000_000_000, milliseconds: 30, loss: 100_000).lanes == 16)
        #expect(choose(rate: 100_000_000, milliseconds: 30, loss: 100_000).lanes == 4)
        #expect(choose(rate: 1_000_000_000, milliseconds: 30, loss: 100_000, fixed: 3).lanes == 3)
        #expect(
            choose(rate: 500_000_000, milliseconds: 30, loss: 100_000).because
                == "500 Mbit/s x 30 ms hold 1.88 MB, one connection 177 kB at 0.0100 % loss")
    }

    @Test("under BBR a connection fills what its window holds, at any loss")
    func decisionsUnderBBR() {
        let bbr = { (rate: UInt64, loss: UInt64, window: UInt64) in
            choose(
                rate: rate, milliseconds: 30, loss: loss, window: window, congestion: "bbr")
        }
        #expect(bbr(500_000_000, 0, 4 << 20).lanes == 1)
        #expect(bbr(500_000_000, 100_000, 4 << 20).lanes == 1)
        #expect(bbr(1_000_000_000, 0, 1 << 20).lanes == 4)
        #expect(bbr(500_000_000, 0, 1 << 20).lanes == 2)
        #expect(bbr(10_000_000_000, 0, 1 << 20).lanes == 8)
        // How large a window is nobody has said.
        #expect(bbr(500_000_000, 0, 0).lanes == 4)
        #expect(choose(rate: 500_000_000, milliseconds: 30, congestion: "cubic").lanes == 4)
        #expect(
            bbr(500_000_000, 0, 4 << 20).because
                == "500 Mbit/s x 30 ms hold 1.88 MB, which bbr fills alone")
    }

    // MARK: One queue

    @Test("chunks spread over the lanes; what no lane has credit for waits")
    func striping() {
        var bundle = openBundle()
        var all: [String] = []
        for handle: UInt64 in 1...14 {
            all += sent(bundle.handle(chunk(handle), at: .at(2)))
        }
        #expect(
            all.prefix(5) == [
                "1 on 0 as 1", "2 on 1 as 1", "3 on 2 as 1", "4 on 3 as 1",
                "5 on 0 as 2",
            ])
        #expect(all.count == 12)
        #expect(bundle.queued == 14)
        // The lane whose receiver answers takes what waits.
        #expect(
            sent(bundle.handle(acknowledge(2, 2, grantedTo: Self.grant + 500_000), at: .at(2.1)))
                == ["13 on 2 as 4", "14 on 2 as 5"])
    }

    /// The peer keeps contributions to a collective that it has not let go, and lets it go when it has the
    /// means of an earlier one: those find credit.
    @Test("a mean leaves when contributions have used up what is theirs")
    func meansHaveCredit() {
        var bundle = openBundle()
        for handle: UInt64 in 1...13 { _ = bundle.handle(chunk(handle, round: 8), at: .at(2)) }
        #expect(bundle.queued == 13)
        // Of the collective of those that wait, too, which go first where they have credit.
        #expect(
            sent(bundle.handle(chunk(14, kind: .mean, round: 8), at: .at(2.1)))
                == ["14 on 0 as 4"])
        #expect(sent(bundle.handle(chunk(15, kind: .mean, round: 8), at: .at(2.1))) == [])
        // The peer reads it at once, and grants as much again: for the next mean, not for what is ahead.
        let grant = Self.grant + UInt64(Self.forMeans + Self.chunkBytes)
        #expect(
            sent(bundle.handle(acknowledge(0, 4, grantedTo: grant), at: .at(2.2)))
                == ["15 on 0 as 5"])
        #expect(bundle.heldPayloads().map(\.rawValue).contains(13))
    }

    private func tokens(_ handle: UInt64) -> LaneBundle.Event {
        let tokens = Tokens(
            step: 8, exchange: 0, kind: .dispatch, transform: .fp32, width: 16, words: 0,
            passes: 1, tokens: 1, first: 0, rows: 1, total: 1)
        return .enqueue(
            LaneSession.Outgoing(
                epoch: Self.epoch, message: .tokens(tokens),
                payload: PayloadHandle(rawValue: handle), payloadBytes: 64))
    }

    @Test(
        "a question passes everything, a mean tokens, tokens contributions, a lower round a higher"
    )
    func priorities() {
        var bundle = fullBundle()
        for event in [
            chunk(20, round: 9), chunk(21, round: 8), tokens(25), chunk(22, kind: .mean, round: 9),
            chunk(23, kind: .mean, round: 8), chunk(24, round: 8),
        ] {
            #expect(bundle.handle(event, at: .at(2.1)) == [])
        }
        let pull = Message.pull(
            Pull(
                key: .outer(fragment: FragmentID(0), round: 7), kind: .mean, slice: 0, position: 4))
        let asked = bundle.handle(
            .enqueue(
                LaneSession.Outgoing(
                    epoch: Self.epoch, message: pull, payload: nil, payloadBytes: 0)), at: .at(2.2))
        #expect(
            asked == [
                .lane(1, .transmit(sequence: 4, epoch: Self.epoch, message: pull, payload: nil))
            ])
        #expect(
            sent(bundle.handle(acknowledge(1, 3, grantedTo: 3 * Self.grant), at: .at(2.3))) == [
                "23 on 1 as 5", "22 on 1 as 6", "25 on 1 as 7", "21 on 1 as 8", "24 on 1 as 9",
                "20 on 1 as 10",
            ])
        let state = Message.stateChunk(
            StateChunk(
                item: .parameters, start: 0, count: 1, total: 1, round: 1, step: 1, digest: 0))
        #expect(LanePriority.priority(of: pull) < .priority(of: state))
        #expect(LanePriority.priority(of: pull) == .priority(of: .bye(Bye())))
    }

    /// A bundle whose credit is used up, with `events` in its queue; what leaves when there is more.
    private func order(of events: [LaneBundle.Event]) -> [String] {
        var bundle = fullBundle()
        for event in events { #expect(bundle.handle(event, at: .at(2.1)) == []) }
        let left = sent(bundle.handle(acknowledge(1, 3, grantedTo: 3 * Self.grant), at: .at(2.3)))
        #expect(bundle.queued == 10 + events.count)
        return left.map { String($0.prefix { $0 != " " }) }
    }

    @Test("contributions leave before means of their collective, and after those of an earlier one")
    func contributionsFirst() {
        #expect(
            order(of: [
                chunk(20, round: 9), chunk(21, kind: .mean, round: 9),
                chunk(22, kind: .mean, round: 8), chunk(23, round: 8), chunk(24, round: 9),
                chunk(25, kind: .mean, round: 8),
            ]) == ["23", "22", "25", "20", "24", "21"])
        // The fragments of one round are collectives of their own, each later than the one before.
        #expect(
            order(of: [
                chunk(20, round: 9, fragment: 2), chunk(21, kind: .mean, round: 9, fragment: 1),
                chunk(22, kind: .mean, round: 9, fragment: 2), chunk(23, round: 9, fragment: 1),
            ]) == ["23", "21", "20", "22"])
        // Of a round fragment 0 is the last.
        #expect(
            order(of: [
                chunk(20, round: 9, fragment: 0), chunk(21, kind: .mean, round: 9, fragment: 0),
                chunk(22, kind: .mean, round: 9, fragment: 1), chunk(23, round: 9, fragment: 1),
            ]) == ["23", "22", "20", "21"])
        // What a region's step waits for is not held up by the pool's bulk.
        #expect(
            order(of: [
                chunk(20, round: 9), chunk(21, kind: .mean, round: 9),
                chunk(22, key: .inner(region: RegionID(0), step: 40)),
            ]) == ["21", "22", "20"])
    }

    /// What leaves later must not pass what leaves sooner: it is kept until its receiver has let it go too,
    /// and may take all credit.
    @Test("chunks of a fragment leave in the order of turns", arguments: 1...5)
    func fragmentsLeaveInTurn(count: Int) {
        let turns = FragmentOrder(count: count)
        for kind in [ChunkKind.contribution, .mean] {
            let priorities = (UInt32(1)...20).map { turn -> LanePriority in
                guard
                    case .enqueue(let outgoing) = chunk(1, kind: kind, key: turns.key(of: turn))
                else { preconditionFailure() }
                return .priority(of: outgoing.message)
            }
            for (sooner, later) in zip(priorities, priorities.dropFirst()) {
                #expect(sooner < later)
            }
        }
    }

    @Test("a reconfiguration takes back what has not left, of all lanes")
    func dropUnsent() {
        var bundle = openBundle()
        for handle: UInt64 in 1...14 { _ = bundle.handle(chunk(handle), at: .at(2)) }
        #expect(
            bundle.handle(.dropUnsent, at: .at(2.1)) == [
                .dropped(PayloadHandle(rawValue: 13)), .dropped(PayloadHandle(rawValue: 14)),
            ])
        #expect(bundle.heldPayloads().count == 12)
    }

    // MARK: A lost lane

    @Test("a lost lane costs what it had under way; the others go on, the first one included")
    func lostLane() {
        var bundle = openBundle()
        for handle: UInt64 in 1...4 { _ = bundle.handle(chunk(handle), at: .at(2)) }
        _ = bundle.handle(.disconnected(lane: 0), at: .at(2.1))
        #expect(bundle.isLinked)
        #expect(sent(bundle.handle(chunk(5), at: .at(2.2))) == ["5 on 1 as 2"])
        _ = bundle.handle(.connected(lane: 0), at: .at(2.5))
        let back = bundle.handle(welcome(0), at: .at(2.53))
        #expect(sent(back) == ["1 on 0 as 1"])
        #expect(back.last == .lane(0, .opened))
        #expect(bundle.framesResent == 1)
    }

    @Test("nothing leaves while no lane is open; everything is refused together")
    func allLost() {
        var bundle = openBundle()
        _ = bundle.handle(chunk(1), at: .at(2))
        for lane: UInt16 in 0..<4 { _ = bundle.handle(.disconnected(lane: lane), at: .at(2.1)) }
        #expect(!bundle.isLinked)
        #expect(bundle.handle(chunk(2), at: .at(2.2)) == [])
        #expect(bundle.heldPayloads().map(\.rawValue) == [1, 2])
    }

    @Test("shares are whole chunks and one more, so exceed the window by less than two each")
    func shares() {
        #expect(CoordinationLimits.laneShare(of: 8 << 20, lanes: 1) == 8 << 20)
        #expect(CoordinationLimits.laneShare(of: 4 << 20, lanes: 4) == 5 << 18)
        #expect(CoordinationLimits.laneShare(of: 4 << 20, lanes: 0) == 4 << 20)
        #expect(CoordinationLimits.laneShare(of: 1 << 20, lanes: 16) == 2 << 18)
        #expect(CoordinationLimits.laneShare(of: 3_750_000, lanes: 4) == 5 << 18)
    }
}
