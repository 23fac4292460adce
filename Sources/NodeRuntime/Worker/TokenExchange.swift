package import ClusterModel
import Compression
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
    package var crossing: TokenCrossing? { group.crossing }
    /// Nanoseconds spent on waiting for others.
    private(set) var waited: Int64 = 0

    /// Of what is no token nothing may be rounded.
    private func transform(of batch: TokenBatch) -> TransformID {
        switch batch.kind {
        case .dispatch, .answer: transform
        case .state, .norm: .fp32
        }
    }

    package func send(
        _ batch: TokenBatch, to member: Int, part: Range<Int>, total: Int, words: [UInt32],
        make: (Range<Int>, inout MutableSpan<Float>) -> Void
    ) {
        precondition(
            0 <= part.lowerBound && part.upperBound <= total && part.isEmpty == (total == 0)
                && words.count == part.count * batch.words,
            "rows \(part) of \(total) with \(words.count) words")
        account.enter(.encode)
        defer { account.enter(.compute) }
        let transform = transform(of: batch)
        let perFrame = Tokens.rowsPerFrame(transform, width: batch.width, words: batch.words)
        var first = part.lowerBound
        repeat {
            let rows = first..<min(first + perFrame, part.upperBound)
            let tokens = Tokens(
                step: step, exchange: UInt32(batch.exchange),
                kind: Tokens.Kind(batch.kind), transform: transform,
                width: UInt16(batch.width), words: UInt16(batch.words),
                passes: UInt16(batch.passes), tokens: UInt32(batch.tokens), first: UInt32(first),
                rows: UInt32(rows.count), total: UInt32(total))
            var bytes: PayloadBytes?
            if !rows.isEmpty {
                let start = (first - part.lowerBound) * batch.words
                bytes = codec.encode(
                    tokens, words: words.span.extracting(start..<start + rows.count * batch.words)
                ) { make(rows, &$0) }
            }
            emit(.tokens(to: group.members[member], group.epoch, tokens, bytes))
            first = rows.upperBound
        } while first < part.upperBound
    }

    package func receive(
        _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
    ) throws(TokensInterrupted) -> [TokenArrivals] {
        try receive(batch, capacity) { part, tokens, bytes throws(ChunkError) in
            guard let bytes else { return }
            try codec.decode(
                tokens, bytes, at: part.member * capacity + part.rows.lowerBound, into: values,
                words: &words)
        }
    }

    package func receive(
        _ batch: TokenBatch, capacity: Int,
        take: (TokenPart, _ words: Span<UInt32>, _ values: Span<Float>) -> Void
    ) throws(TokensInterrupted) -> [TokenArrivals] {
        try receive(batch, capacity) { part, tokens, bytes throws(ChunkError) in
            guard let bytes else { return take(part, Span(), Span()) }
            try codec.withRows(tokens, bytes) { words, values in
                account.enter(.compute)
                take(part, words, values)
                account.enter(.decode)
            }
        }
    }

    /// A part of one member, as its frame has it.
    private typealias Taker = (TokenPart, Tokens, PayloadBytes?) throws(ChunkError) -> Void

    /// A peer whose rows are refused is waited for until a plan comes without it: the loop thread is told.
    private func receive(
        _ batch: TokenBatch, _ capacity: Int, _ take: Taker
    ) throws(TokensInterrupted) -> [TokenArrivals] {
        var parts = group.members.map { _ in Part() }
        let half = TokenMailbox.Half(
            step: step, exchange: UInt32(batch.exchange),
            kind: Tokens.Kind(batch.kind))
        defer {
            mailbox.waits(nil)
            account.enter(.compute)
        }
        let began = MonotonicClock.now()
        while true {
            let missing = parts.indices.filter { $0 != group.me && !parts[$0].isWhole }
            guard !missing.isEmpty else { return parts.map(\.found) }
            mailbox.waits(
                TokenMailbox.Wait(
                    step: step, exchange: UInt32(batch.exchange), kind: half.kind,
                    members: missing.map { group.members[$0] }, since: began))
            account.enter(.wait)
            let paused = MonotonicClock.now()
            let more = mailbox.take(group.epoch, half)
            waited += MonotonicClock.now() - paused
            guard let arrivals = more else { throw TokensInterrupted() }
            account.enter(.decode)
            for arrival in arrivals { accept(arrival, batch, capacity, take, &parts) }
        }
    }

    private func accept(
        _ arrival: TokenMailbox.Arrival, _ batch: TokenBatch, _ capacity: Int, _ take: Taker,
        _ parts: inout [Part]
    ) {
        let tokens = arrival.tokens
        defer {
            if let handle = arrival.handle { emit(.event(.consumed(handle))) }
        }
        guard let member = group.members.firstIndex(of: arrival.from), member != group.me,
            tokens.transform == transform(of: batch), Int(tokens.width) == batch.width,
            Int(tokens.words) == batch.words, Int(tokens.total) <= capacity,
            Int(tokens.first) + Int(tokens.rows) <= Int(tokens.total)
        else { return refuse(arrival, "tokens do not fit the model: \(tokens)") }
        guard parts[member].lacks(tokens) else {
            return refuse(arrival, "tokens it has sent already, or not announced: \(tokens)")
        }
        let first = Int(tokens.first)
        let part = TokenPart(
            member: member, rows: first..<first + Int(tokens.rows), total: Int(tokens.total))
        do {
            try take(part, tokens, arrival.bytes)
        } catch {
            return refuse(arrival, "tokens do not decode: \(error)")
        }
        parts[member].add(tokens)
    }

    private func refuse(_ arrival: TokenMailbox.Arrival, _ what: String) {
        emit(.event(.tokensRefused(from: arrival.from, epoch: group.epoch, what: what)))
    }
}

extension Tokens.Kind {
    fileprivate init(_ kind: TokenBatch.Kind) {
        self =
            switch kind {
            case .dispatch: .dispatch
            case .answer: .combine
            case .state: .state
            case .norm: .norm
            }
    }
}

extension TokenExchange {
    /// What has come from one member in one half of an exchange: each row once.
    fileprivate struct Part {
        private(set) var found = TokenArrivals()
        private var isAnnounced = false
        /// By row, whether it is here.
        private var isHere: [Bool] = []
        private var left = 0

        var isWhole: Bool { isAnnounced && left == 0 }

        /// - Precondition: the rows are within the total.
        func lacks(_ tokens: Tokens) -> Bool {
            guard isAnnounced else { return tokens.rows > 0 || tokens.total == 0 }
            guard tokens.rows > 0, isHere.count == Int(tokens.total) else { return false }
            let first = Int(tokens.first)
            return !isHere[first..<first + Int(tokens.rows)].contains(true)
        }

        /// - Precondition: it lacks them.
        mutating func add(_ tokens: Tokens) {
            if !isAnnounced {
                isAnnounced = true
                found.rows = Int(tokens.total)
                found.passes = Int(tokens.passes)
                found.tokens = Int(tokens.tokens)
                left = Int(tokens.total)
                isHere = [Bool](repeating: false, count: left)
            }
            let first = Int(tokens.first)
            for row in first..<first + Int(tokens.rows) { isHere[row] = true }
            left -= Int(tokens.rows)
        }
    }
}
