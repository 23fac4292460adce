import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Tokens as the machines see them: from one trainer to another of the same region and plan.
@Suite struct TokenTests {
    private static func tokens(_ rows: UInt32) -> Tokens {
        Tokens(
            step: 1, exchange: 0, kind: .dispatch, transform: .fp32, width: 8, words: 0,
            passes: 1, tokens: 8, first: 0, rows: rows, total: rows)
    }

    private static func holdsTrainers(_ delivery: TestCluster.Delivery) -> Bool {
        if case .trainer = delivery.channel { true } else { false }
    }

    @Test func `rows reach the peer's trainer once, and their bytes are let go on both sides`()
        throws
    {
        var cluster = TestCluster.started(holds: Self.holdsTrainers)
        let epoch = try #require(cluster.round(0).plan?.epoch)
        cluster.sendTokens(from: 0, to: 1, epoch, Self.tokens(2), bytes: 64)
        cluster.sendTokens(from: 0, to: 1, epoch, Self.tokens(0), bytes: 0)
        cluster.settle()
        #expect(cluster.tokensTaken.map(\.2) == [Self.tokens(2), Self.tokens(0)])
        #expect(cluster.tokensTaken.allSatisfy { $0.by == WorkerID(1) && $0.from == WorkerID(0) })
        // Acknowledged: the sender holds nothing; the receiver does until its trainer has read it.
        #expect(cluster.node(0).pool.isEmpty && cluster.node(1).pool.count == 1)
        let handle = try #require(cluster.tokensTaken[0].payload)
        cluster.give(.trainer(.consumed(handle)), to: WorkerID(1))
        #expect(cluster.node(1).pool.isEmpty)
        #expect(cluster.violations == [])
    }

    @Test func `rows that no trainer reads stop at the lane's credit`() throws {
        let plan = Fixtures.plan()
        var worker = LoneWorker(plan)
        _ = worker.greeted(by: 1)
        let most = CoordinationLimits.laneWindowBytes
        let size: UInt64 = 1 << 18
        var taken: UInt64 = 0
        for number in 1...(most / size + 1) {
            let effects = worker.frame(
                worker.accepted(1), .tokens(Self.tokens(2)), sequence: number, epoch: 1,
                payload: number, bytes: Int(size))
            let isTaken = effects.contains { if case .tokens = $0 { true } else { false } }
            guard isTaken else {
                #expect(effects.violations.first?.hasPrefix("sent past the credit") == true)
                #expect(effects.released == [number])
                break
            }
            taken += size
        }
        #expect(taken == most)
    }

    @Test func `rows of a plan that is over go nowhere`() throws {
        var cluster = TestCluster.started(holds: Self.holdsTrainers)
        cluster.sendTokens(from: 0, to: 1, Epoch(rawValue: 77), Self.tokens(2), bytes: 64)
        cluster.settle()
        #expect(cluster.tokensTaken.isEmpty && cluster.node(0).pool.isEmpty)
        #expect(cluster.violations == [])
    }

    @Test func `rows from another region are a violation of the sender`() throws {
        var cluster = TestCluster.started(holds: Self.holdsTrainers)
        let epoch = try #require(cluster.round(0).plan?.epoch)
        cluster.sendTokens(from: 0, to: 2, epoch, Self.tokens(2), bytes: 64)
        cluster.settle()
        #expect(cluster.tokensTaken.isEmpty)
        #expect(cluster.violations.count == 1)
        #expect(cluster.violations.first?.contains("another region") == true)
        #expect(cluster.node(2).pool.isEmpty)
    }

    @Test func `rows that the trainer refuses make their sender a suspect, under their plan only`()
        throws
    {
        let cluster = TestCluster.started(holds: Self.holdsTrainers)
        let epoch = try #require(cluster.round(0).plan?.epoch)
        let bad = WorkerID(1)
        var machine = cluster.node(0).machine
        let late = machine.handle(
            .trainer(.tokensRefused(from: bad, epoch: Epoch(rawValue: 77), what: "misfits")),
            at: cluster.now)
        #expect(late.violations == [])
        let effects = machine.handle(
            .trainer(.tokensRefused(from: bad, epoch: epoch, what: "misfits")), at: cluster.now)
        #expect(effects.violations == ["misfits"])
        let suspects = effects.compactMap { effect -> Suspect? in
            if case .control(.suspect(let suspect)) = effect { suspect } else { nil }
        }
        #expect(suspects.map(\.rank) == [Rank(1)])
        #expect(suspects.map(\.reason) == [.unreachable])
        #expect(machine.phase == .member && machine.round.stage == .computing(step: 1))
    }

    @Test func `a step that was given up is computed again under the plan in force`() throws {
        var cluster = TestCluster.started(holds: Self.holdsTrainers)
        #expect(cluster.round(0).stage == .computing(step: 1))
        let orders = cluster.computeOrders(of: 0)
        cluster.give(.trainer(.interrupted(step: 1)), to: WorkerID(0))
        #expect(cluster.round(0).stage == .computing(step: 1))
        #expect(cluster.computeOrders(of: 0) == orders + 1)
        cluster.give(.trainer(.interrupted(step: 9)), to: WorkerID(0))
        #expect(cluster.round(0).stage == .computing(step: 1))
        #expect(cluster.violations.count == 1)
    }
}

extension TestCluster {
    fileprivate mutating func sendTokens(
        from: Int, to: Int, _ epoch: Epoch, _ tokens: Tokens, bytes: Int
    ) {
        let worker = WorkerID(from)
        var payload: EncodedPayload?
        if bytes > 0 {
            let handle = PayloadHandle(rawValue: nodes[worker]!.nextHandle)
            nodes[worker]!.nextHandle += 1
            nodes[worker]!.pool[handle] = (contents: 1, bytes: bytes)
            payload = EncodedPayload(
                handle: handle, bytes: bytes, elements: 16, transform: .fp32, stage: .stored)
        }
        give(.tokens(to: WorkerID(to), epoch: epoch, tokens, payload), to: worker)
    }

    fileprivate func computeOrders(of seat: Int) -> Int {
        queue.count {
            guard $0.channel == .trainer(WorkerID(seat)),
                case .order(.compute(step: 1, samples: _)) = $0.content
            else { return false }
            return true
        }
    }
}
