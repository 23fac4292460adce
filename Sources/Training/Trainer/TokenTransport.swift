import TrainingKernels

/// How a trainer's tokens reach the experts that other members of its region hold. Used on the trainer's
/// thread; one object lasts for one computation of one step.
package protocol TokenTransport: AnyObject {
    /// Members of the region, this one included, in the order of ranks.
    var memberCount: Int { get }
    /// Which of them this one is.
    var me: Int { get }
    /// Another number for every membership.
    var plan: UInt32 { get }
    /// Where some experts are computed in one region only; the members are then those of all regions that
    /// tokens go to.
    var crossing: TokenCrossing? { get }

    /// Sends rows to a member, which are made where they leave; returns before they are there.
    ///
    /// - Parameters:
    ///   - part: which of the batch's rows to this member; every row is sent once, in parts of any order.
    ///   - total: rows of the batch to this member.
    ///   - words: `batch.words` for each row of the part.
    ///   - make: writes rows of `batch.width`, all those of the range it is given; called for ranges that
    ///     make up the part.
    func send(
        _ batch: TokenBatch, to member: Int, part: Range<Int>, total: Int, words: [UInt32],
        make: (Range<Int>, inout MutableSpan<Float>) -> Void
    )

    /// Waits for all rows of this batch from every other member.
    ///
    /// - Parameters:
    ///   - values: row r of member m becomes row m * capacity + r.
    ///   - words: the same with `batch.words` for each row.
    /// - Returns: by member, what it said; of this one itself nothing.
    /// - Throws: when the plan under which the step began is over.
    func receive(
        _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
    ) throws(TokensInterrupted) -> [TokenArrivals]

    /// The same, but hands rows on as they come, where they lie.
    ///
    /// - Parameter take: is given each row once, in no order; a member without any is one empty part. Words
    ///   and values are lent for the call.
    func receive(
        _ batch: TokenBatch, capacity: Int,
        take: (TokenPart, _ words: Span<UInt32>, _ values: Span<Float>) -> Void
    ) throws(TokensInterrupted) -> [TokenArrivals]
}

extension TokenTransport {
    package var crossing: TokenCrossing? { nil }

    /// Sends rows of `source`.
    ///
    /// - Parameter rows: which of them, in this order.
    func send(
        _ batch: TokenBatch, to member: Int, rows: [Int32], of source: Floats, words: [UInt32]
    ) {
        let width = batch.width
        send(batch, to: member, part: 0..<rows.count, total: rows.count, words: words) {
            part, target in
            target.withFloats { target in
                for (place, row) in rows[part].enumerated() {
                    target.part(place * width, width)
                        .copy(from: source.part(Int(row) * width, width))
                }
            }
        }
    }
}

/// One half of an exchange of tokens: on their way to experts, or the answers. Or, under `keep: holder`, what
/// goes to one who will hold an expert, or a norm.
package struct TokenBatch: Equatable, Sendable {
    package enum Kind: Sendable {
        case dispatch, answer
        /// Weights and moments of experts, before a step.
        case state
        /// Squared norm of the gradients of a member's experts, after its passes.
        case norm
    }

    package var kind: Kind
    /// Counts the exchanges of a step, from 0.
    package var exchange: Int
    package var width: Int
    /// u32 of a row besides its values.
    package var words: Int
    /// What the sender says of its step: passes, and tokens.
    package var passes: Int
    package var tokens: Int

    package init(
        exchange: Int, isAnswer: Bool, width: Int, words: Int, passes: Int, tokens: Int
    ) {
        kind = isAnswer ? .answer : .dispatch
        self.exchange = exchange
        self.width = width
        self.words = words
        self.passes = passes
        self.tokens = tokens
    }

    /// Of a kind that a step has once, and that is about no tokens.
    init(kind: Kind, width: Int, words: Int) {
        self.init(exchange: 0, isAnswer: false, width: width, words: words, passes: 0, tokens: 0)
        self.kind = kind
    }

    package var isAnswer: Bool { kind == .answer }
}

/// Rows of one member in one half of an exchange that came together.
package struct TokenPart: Equatable, Sendable {
    package var member: Int
    package var rows: Range<Int>
    /// Rows of that member in this half.
    package var total: Int

    package init(member: Int, rows: Range<Int>, total: Int) {
        self.member = member
        self.rows = rows
        self.total = total
    }
}

/// What came from one member in one half of an exchange.
package struct TokenArrivals: Equatable, Sendable {
    package var rows = 0
    package var passes = 0
    package var tokens = 0
    package init() {}
}

/// The step has to be computed again.
package struct TokensInterrupted: Error, Equatable {
    package init() {}
}
