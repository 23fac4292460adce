package import ClusterModel
import Coordination
package import Training
import WireProtocol
import ZeroMQ

/// The tokens of one computation of one step, on the trainer's thread: rows become frames for the loop
/// thread to send, frames of others become rows.
package final class TokenExchange: TokenTransport {
    private let step: UInt32
    private let group: TokenGroup
    private let transform: TransformID
    private let mailbox: TokenMailbox
    private let codec: TokenCodec
    private let account: TimeAccount
    private let emit: (TrainerOutput) -> Void
    /// Came ahead of what was waited for.
    private var early: [TokenMailbox.Arrival] = []

    package init(
        step: UInt32, group: TokenGroup, transform: TransformID, mailbox: TokenMailbox,
        codec: TokenCodec, account: TimeAccount, emit: @escaping (TrainerOutput) -> Void
    ) {
        self.step = step
        self.group = group
        self.transform = transform
        self.mailbox = mailbox
        self.codec = codec
        self.account = account
        self.emit = emit
    }

    package var memberCount: Int { group.members.count }
    package var me: Int { group.me }
    package var plan: UInt32 { group.epoch.rawValue }
    /// Nanoseconds spent on waiting for others.
    private(set) var waited: Int64 = 0

    package func send(
        _ batch: TokenBatch, to member: Int, rows: TokenRows, of values: Span<Float>,
        words: [UInt32]
    ) {
        account.enter(.encode)
        defer { account.enter(.compute) }
        let perFrame = Tokens.rowsPerFrame(transform, width: batch.width, words: batch.words)
        let total = rows.count
        var first = 0
        repeat {
            let count = min(perFrame, total - first)
            let tokens = Tokens(
                step: step, exchange: UInt32(batch.exchange),
                kind: batch.isAnswer ? .combine : .dispatch, transform: transform,
                width: UInt16(batch.width), words: UInt16(batch.words),
                passes: UInt16(batch.passes), tokens: UInt32(batch.tokens), first: UInt32(first),
                rows: UInt32(count), total: UInt32(total))
            let bytes =
                count == 0
                ? nil : codec.encode(tokens, rows: rows, of: values, words: words)
            emit(.tokens(to: group.members[member], group.epoch, tokens, bytes))
            first += count
        } while first < total
    }

    package func receive(
        _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
    ) throws(TokensInterrupted) -> [TokenArrivals] {
        var found = group.members.map { _ in TokenArrivals() }
        var left = group.members.map { _ in -1 }
        left[group.me] = 0
        defer {
            mailbox.waits(nil)
            account.enter(.compute)
        }
        let began = MonotonicClock.now()
        var arrivals = early
        early = []
        while true {
            account.enter(.decode)
            for arrival in arrivals {
                guard matches(arrival.tokens, batch) else {
                    early.append(arrival)
                    continue
                }
                try take(arrival, batch, capacity, values, &words, &found, &left)
            }
            guard left.contains(where: { $0 != 0 }) else { return found }
            say(batch, left, since: began)
            account.enter(.wait)
            let paused = MonotonicClock.now()
            let more = mailbox.take(group.epoch)
            waited += MonotonicClock.now() - paused
            guard let more else { throw TokensInterrupted() }
            arrivals = more
        }
    }

    /// Payloads that nobody reads any more.
    package func finish() {
        for arrival in early { release(arrival) }
        early = []
    }

    private func say(_ batch: TokenBatch, _ left: [Int], since began: Int64) {
        mailbox.waits(
            TokenMailbox.Wait(
                step: step, exchange: UInt32(batch.exchange),
                members: left.indices.filter { left[$0] != 0 }.map { group.members[$0] },
                since: began))
    }

    private func matches(_ tokens: Tokens, _ batch: TokenBatch) -> Bool {
        tokens.step == step && Int(tokens.exchange) == batch.exchange
            && (tokens.kind == .combine) == batch.isAnswer
    }

    private func take(
        _ arrival: TokenMailbox.Arrival, _ batch: TokenBatch, _ capacity: Int,
        _ values: SharedFloats, _ words: inout [UInt32], _ found: inout [TokenArrivals],
        _ left: inout [Int]
    ) throws(TokensInterrupted) {
        let tokens = arrival.tokens
        guard let member = group.members.firstIndex(of: arrival.from), member != group.me,
            Int(tokens.width) == batch.width, Int(tokens.words) == batch.words,
            Int(tokens.total) <= capacity,
            Int(tokens.first) + Int(tokens.rows) <= Int(tokens.total)
        else { return try blame(arrival, "tokens do not fit the model: \(tokens)") }
        if left[member] < 0 {
            left[member] = Int(tokens.total)
            found[member].rows = Int(tokens.total)
            found[member].passes = Int(tokens.passes)
            found[member].tokens = Int(tokens.tokens)
        }
        guard found[member].rows == Int(tokens.total), Int(tokens.rows) <= left[member] else {
            return try blame(arrival, "more tokens than it had announced: \(tokens)")
        }
        left[member] -= Int(tokens.rows)
        if let bytes = arrival.bytes {
            let start = member * capacity + Int(tokens.first)
            do {
                try codec.decode(tokens, bytes, at: start, into: values, words: &words)
            } catch {
                return try blame(arrival, "tokens do not decode: \(error)")
            }
        }
        release(arrival)
    }

    private func blame(
        _ arrival: TokenMailbox.Arrival, _ what: String
    ) throws(TokensInterrupted) {
        release(arrival)
        emit(.failed("worker \(arrival.from.rawValue): \(what)"))
        throw TokensInterrupted()
    }

    private func release(_ arrival: TokenMailbox.Arrival) {
        if let handle = arrival.handle { emit(.event(.consumed(handle))) }
    }
}
