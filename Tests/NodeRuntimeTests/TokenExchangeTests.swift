import ClusterModel
import Coordination
import Foundation
import NodeRuntime
import Synchronization
import Testing
import Training
import WireProtocol
import ZeroMQ

/// Members of a region, each with a thread; what one emits is put into the mailbox of another.
private final class Members: Sendable {
    let count: Int
    let mailboxes: [TokenMailbox]
    let failures = Mutex<[String]>([])
    let consumed = Mutex<Int>(0)
    let payloads = Mutex<Int>(0)
    let payloadBytes = Mutex<Int>(0)
    private let handles = Atomic<UInt64>(1)
    static let epoch = Epoch(rawValue: 3)

    init(_ count: Int, shuffled seed: UInt64? = nil) {
        self.count = count
        mailboxes = (0..<count).map { me in
            TokenMailbox(shuffled: seed.map { $0 &* 31 &+ UInt64(me) })
        }
        for mailbox in mailboxes { _ = mailbox.open(Self.epoch) }
    }

    private func group(_ me: Int) -> TokenGroup {
        TokenGroup(epoch: Self.epoch, members: (0..<count).map { WorkerID($0) }, me: me)
    }

    func exchange(_ me: Int, _ transform: TransformID) -> TokenExchange {
        TokenExchange(
            step: 1, group: group(me), transform: transform, mailbox: mailboxes[me],
            codec: TokenCodec(FramePool()), account: TimeAccount()
        ) { [self] in take($0, from: me) }
    }

    var said: [String] { failures.withLock { $0 } }
    var read: Int { consumed.withLock { $0 } }
    var sent: Int { payloads.withLock { $0 } }
    var bytes: Int { payloadBytes.withLock { $0 } }

    private func take(_ output: TrainerOutput, from me: Int) {
        switch output {
        case .tokens(let to, let epoch, let tokens, let bytes):
            payloadBytes.withLock { $0 += bytes?.count ?? 0 }
            payloads.withLock { $0 += bytes == nil ? 0 : 1 }
            let handle = bytes.map { _ in
                PayloadHandle(
                    rawValue: handles.wrappingAdd(1, ordering: .relaxed).newValue)
            }
            _ = mailboxes[Int(to.rawValue)].deliver(
                TokenMailbox.Arrival(
                    from: WorkerID(me), tokens: tokens, bytes: bytes, handle: handle), epoch)
        case .event(.consumed): consumed.withLock { $0 += 1 }
        case .event(.tokensRefused(let from, _, let what)):
            failures.withLock { $0.append("worker \(from.rawValue): \(what)") }
        case .event, .encoded, .gradient, .stateRead, .failed, .report, .codecUse:
            Issue.record("\(output)")
        }
    }
}

@Suite("Tokens between trainers") struct TokenExchangeTests {
    /// With so many tokens the rows for each of up to three peers take more than one frame, so that frames
    /// of one sender can change places.
    private static let manyTokens = 3_000

    /// Results of all members and the largest error.
    private func run(
        _ count: Int, _ transform: TransformID, tokens: Int = 700, topK: Int = 2,
        shuffled seed: UInt64? = nil
    ) -> (values: [[Float]], error: Float, members: Members) {
        let members = Members(count, shuffled: seed)
        let shape = DispatchRun.Shape(tokens: tokens, width: 64, experts: 8, topK: topK)
        let results = Mutex<[Int: ([Float], Float)]>([:])
        // Threads, because each waits for all others.
        let ended = DispatchSemaphore(value: 0)
        for me in 0..<count {
            Thread.detachNewThread {
                let run = DispatchRun(shape, seat: me, seats: count)
                let exchange = members.exchange(me, transform)
                do {
                    try run.exchange(exchange, begin: {}, end: {})
                } catch {
                    Issue.record("interrupted")
                }
                let values = run.withResult { span in span.indices.map { span[$0] } }
                results.withLock { $0[me] = (values, run.error) }
                ended.signal()
            }
        }
        for _ in 0..<count { ended.wait() }
        return results.withLock { results in
            (
                (0..<count).map { results[$0]?.0 ?? [] }, results.values.map(\.1).max() ?? 1,
                members
            )
        }
    }

    @Test(
        "sums are right, and a frame's worth of bytes is what the rule says", arguments: [2, 3, 4])
    func sums(_ count: Int) {
        let found = run(count, .fp32, tokens: Self.manyTokens)
        #expect(found.error < 1e-6)
        #expect(found.members.said == [])
        // Every payload is read once; a row goes there with four words and back without.
        let bytes = found.members.bytes
        #expect(bytes % (2 * 64 * 4 + 16) == 0 && bytes > 0)
        #expect(found.members.read == found.members.sent)
        // There and back, all of them cut in two or more.
        #expect(found.members.sent >= 4 * count * (count - 1))
    }

    /// With top-2 answers are added as they come, with top-3 as choices name them.
    @Test("no sum depends on the order in which frames come", arguments: [2, 3])
    func order(_ topK: Int) {
        let straight = run(4, .fp32, tokens: Self.manyTokens, topK: topK)
        #expect(straight.error < 1e-6 && straight.members.said == [])
        for seed: UInt64 in [1, 2, 3, 4] {
            let shuffled = run(4, .fp32, tokens: Self.manyTokens, topK: topK, shuffled: seed)
            #expect(shuffled.values == straight.values)
        }
    }

    @Test("rows are lent where they lie, or decoded where they lie askew", arguments: 0..<5)
    func lent(_ offset: Int) throws {
        let words: [UInt32] = [7, 8, 9, 10]
        let values = (0..<16).map { Float($0) - 3.5 }
        var bytes = [UInt8](repeating: 0xAA, count: offset)
        for word in words + values.map(\.bitPattern) {
            for byte in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * byte))) }
        }
        var tokens = Self.tokens(first: 1, rows: 2, total: 3)
        tokens.words = 2
        let members = Members(2)
        let held = HeldMessage(try Message(copying: bytes))
        let whole = PayloadBytes(
            in: held, range: offset..<bytes.count, transform: .fp32, stage: .stored)
        let short = PayloadBytes(
            in: held, range: offset..<bytes.count - 4, transform: .fp32, stage: .stored)
        var last = tokens
        (last.first, last.rows) = (0, 1)
        let end = PayloadBytes(
            in: held, range: offset..<offset + 40, transform: .fp32, stage: .stored)
        for (number, (tokens, payload)) in [(tokens, short), (tokens, whole), (last, end)]
            .enumerated()
        {
            _ = members.mailboxes[0].deliver(
                TokenMailbox.Arrival(
                    from: WorkerID(1), tokens: tokens, bytes: payload,
                    handle: PayloadHandle(rawValue: UInt64(number) + 1)), Members.epoch)
        }
        let batch = TokenBatch(
            exchange: 0, isAnswer: false, width: 8, words: 2, passes: 1, tokens: 3)
        var parts: [TokenPart] = []
        var taken: [UInt32] = []
        let found = try members.exchange(0, .fp32).receive(batch, capacity: 4) {
            part, words, values in
            parts.append(part)
            for index in words.indices { taken.append(words[index]) }
            for index in values.indices { taken.append(values[index].bitPattern) }
        }
        #expect(found.map(\.rows) == [0, 3])
        #expect(
            parts == [
                TokenPart(member: 1, rows: 1..<3, total: 3),
                TokenPart(member: 1, rows: 0..<1, total: 3),
            ])
        let bits = words + values.map(\.bitPattern)
        #expect(taken == bits + bits[..<10])
        // The one with a byte less was refused, and read all the same.
        #expect(members.said.count == 1 && members.read == 3)
    }

    @Test("who sends nothing is one empty part")
    func nothing() throws {
        let members = Members(2)
        _ = members.mailboxes[0].deliver(
            Self.arrival(Self.tokens(first: 0, rows: 0, total: 0)), Members.epoch)
        let batch = TokenBatch(
            exchange: 0, isAnswer: false, width: 8, words: 0, passes: 1, tokens: 1)
        var parts: [TokenPart] = []
        _ = try members.exchange(0, .fp32).receive(batch, capacity: 4) { part, words, values in
            parts.append(part)
            #expect(words.isEmpty && values.isEmpty)
        }
        #expect(parts == [TokenPart(member: 1, rows: 0..<0, total: 0)])
    }

    @Test(
        "bytes may be fewer",
        arguments: [(TransformID.bf16, Float(0.02)), (.fp16, 0.003), (.int8, 0.03)])
    func formats(_ transform: TransformID, _ bound: Float) {
        let found = run(2, transform)
        #expect(found.error < bound, "\(found.error)")
        let straight = run(2, .fp32)
        let bytes = found.members.bytes
        #expect(bytes * 10 < straight.members.bytes * 6)
    }

    @Test("a new plan ends a wait, which names whom it was for")
    func interruption() throws {
        let members = Members(2)
        let ended = DispatchSemaphore(value: 0)
        let wasInterrupted = Mutex(false)
        Thread.detachNewThread {
            let exchange = members.exchange(0, .fp32)
            var words: [UInt32] = []
            let batch = TokenBatch(
                exchange: 5, isAnswer: false, width: 8, words: 0, passes: 1, tokens: 1)
            do {
                _ = try exchange.receive(
                    batch, capacity: 4, into: SharedFloats(count: 64), words: &words)
            } catch {
                wasInterrupted.withLock { $0 = true }
            }
            ended.signal()
        }
        while members.mailboxes[0].wait == nil { usleep(1_000) }
        let wait = try #require(members.mailboxes[0].wait)
        #expect(wait.members == [WorkerID(1)] && wait.exchange == 5 && wait.step == 1)
        #expect(members.mailboxes[0].open(Epoch(rawValue: 4)).isEmpty)
        ended.wait()
        let ending = wasInterrupted.withLock { $0 }
        #expect(ending)
        #expect(members.mailboxes[0].wait == nil)
    }

    @Test("what came under the plan before is given back, and what comes late is refused")
    func flush() {
        let members = Members(2)
        func arrival(_ handle: UInt64) -> TokenMailbox.Arrival {
            TokenMailbox.Arrival(
                from: WorkerID(1), tokens: Self.tokens(first: 0, rows: 1, total: 1),
                bytes: PayloadBytes(
                    made: [UInt8](repeating: 0, count: 32), transform: .fp32, stage: .stored),
                handle: PayloadHandle(rawValue: handle))
        }
        let mailbox = members.mailboxes[0]
        #expect(mailbox.deliver(arrival(1), Members.epoch) == .kept)
        #expect(mailbox.deliver(arrival(2), Members.epoch) == .kept)
        #expect(mailbox.open(Epoch(rawValue: 4)) == [1, 2].map { PayloadHandle(rawValue: $0) })
        #expect(mailbox.deliver(arrival(3), Members.epoch) == .unwanted)
        #expect(mailbox.take(Members.epoch, Self.half(0)) == nil)
        mailbox.close()
        #expect(mailbox.deliver(arrival(4), Epoch(rawValue: 4)) == .unwanted)
    }

    private static func half(_ exchange: UInt32) -> TokenMailbox.Half {
        TokenMailbox.Half(step: 1, exchange: exchange, kind: .dispatch)
    }

    private static func tokens(
        exchange: UInt32 = 0, transform: TransformID = .fp32, width: UInt16 = 8, first: UInt32,
        rows: UInt32, total: UInt32
    ) -> Tokens {
        Tokens(
            step: 1, exchange: exchange, kind: .dispatch, transform: transform, width: width,
            words: 0, passes: 1, tokens: 1, first: first, rows: rows, total: total)
    }

    private static func arrival(
        _ tokens: Tokens, from peer: Int = 1, handle: UInt64 = 9
    ) -> TokenMailbox.Arrival {
        let count = Int(tokens.rows) * Int(tokens.width) * 4
        return TokenMailbox.Arrival(
            from: WorkerID(peer), tokens: tokens,
            bytes: count == 0
                ? nil
                : PayloadBytes(
                    made: [UInt8](repeating: 0, count: count), transform: .fp32, stage: .stored),
            handle: count == 0 ? nil : PayloadHandle(rawValue: handle))
    }

    /// Member 0 of two receives dispatches of `exchange` with room for four rows.
    private func receive(
        _ exchange: TokenExchange, _ number: Int = 0
    ) throws -> [TokenArrivals] {
        let batch = TokenBatch(
            exchange: number, isAnswer: false, width: 8, words: 0, passes: 1, tokens: 1)
        var words: [UInt32] = []
        return try exchange.receive(
            batch, capacity: 4, into: SharedFloats(count: 64), words: &words)
    }

    @Test("rows that fit nothing are refused and name their sender; right ones are still taken")
    func misfits() throws {
        let bad: [Tokens] = [
            Self.tokens(width: 16, first: 0, rows: 1, total: 1),
            Self.tokens(transform: .bf16, first: 0, rows: 1, total: 1),
            Self.tokens(first: 0, rows: 1, total: 99),
            Self.tokens(first: 3, rows: 2, total: 4),
            Self.tokens(first: 0, rows: 0, total: 4),
        ]
        for tokens in bad {
            let members = Members(2)
            let mailbox = members.mailboxes[0]
            let right = Self.tokens(first: 0, rows: 1, total: 1)
            _ = mailbox.deliver(Self.arrival(tokens), Members.epoch)
            _ = mailbox.deliver(Self.arrival(right), Members.epoch)
            let found = try receive(members.exchange(0, .fp32))
            #expect(found.map(\.rows) == [0, 1])
            #expect(members.said.count == 1)
            #expect(members.said.first?.hasPrefix("worker 1: ") == true)
            #expect(members.read == (tokens.rows == 0 ? 1 : 2))
        }
    }

    @Test("as many rows as announced are not all of them if some came twice")
    func overlaps() throws {
        let members = Members(2)
        for first: UInt32 in [0, 1, 0, 2] {
            let tokens = Self.tokens(first: first, rows: 2, total: 4)
            _ = members.mailboxes[0].deliver(Self.arrival(tokens), Members.epoch)
        }
        let found = try receive(members.exchange(0, .fp32))
        #expect(found.map(\.rows) == [0, 4])
        #expect(members.said.count == 2)
        #expect(members.said.allSatisfy { $0.contains("sent already") })
        #expect(members.read == 4)
    }

    @Test("what is ahead stays until its turn, or until the plan is over")
    func ahead() throws {
        let members = Members(2)
        let mailbox = members.mailboxes[0]
        for number: UInt32 in [2, 1, 0] {
            let tokens = Self.tokens(exchange: number, first: 0, rows: 1, total: 1)
            _ = mailbox.deliver(
                Self.arrival(tokens, handle: UInt64(number) + 1), Members.epoch)
        }
        let exchange = members.exchange(0, .fp32)
        let first = try receive(exchange, 0)
        let second = try receive(exchange, 1)
        #expect(first.map(\.rows) == [0, 1] && second.map(\.rows) == [0, 1])
        #expect(members.read == 2 && members.said == [])
        #expect(mailbox.open(Epoch(rawValue: 4)) == [PayloadHandle(rawValue: 3)])
    }

    @Test("a peer may have so many frames unread, and others are not held back by it")
    func limit() {
        let mailbox = Members(3).mailboxes[0]
        let empty = Self.tokens(first: 0, rows: 0, total: 0)
        for _ in 0..<TokenMailbox.arrivalsPerPeer {
            let delivery = mailbox.deliver(Self.arrival(empty), Members.epoch)
            #expect(delivery == .kept)
        }
        #expect(mailbox.deliver(Self.arrival(empty), Members.epoch) == .tooMany)
        #expect(mailbox.deliver(Self.arrival(empty, from: 2), Members.epoch) == .kept)
        let taken = mailbox.take(Members.epoch, Self.half(0))
        #expect(taken?.count == TokenMailbox.arrivalsPerPeer + 1)
        #expect(mailbox.deliver(Self.arrival(empty), Members.epoch) == .kept)
    }
}
