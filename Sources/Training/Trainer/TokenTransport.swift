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

    /// Sends rows to a member; returns before they are there.
    ///
    /// - Parameters:
    ///   - values: rows of `batch.width`.
    ///   - rows: which of them, in this order.
    ///   - words: `batch.words` for each row.
    func send(
        _ batch: TokenBatch, to member: Int, rows: TokenRows, of values: Span<Float>,
        words: [UInt32]
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
}

extension TokenTransport {
    package var crossing: TokenCrossing? { nil }
}

/// One half of an exchange of tokens: on their way to experts, or the answers.
package struct TokenBatch: Equatable, Sendable {
    /// Counts the exchanges of a step, from 0.
    package var exchange: Int
    package var isAnswer: Bool
    package var width: Int
    /// u32 of a row besides its values.
    package var words: Int
    /// What the sender says of its step: passes, and tokens.
    package var passes: Int
    package var tokens: Int

    package init(
        exchange: Int, isAnswer: Bool, width: Int, words: Int, passes: Int, tokens: Int
    ) {
        self.exchange = exchange
        self.isAnswer = isAnswer
        self.width = width
        self.words = words
        self.passes = passes
        self.tokens = tokens
    }
}

package enum TokenRows: Sendable {
    case list([Int32])
    case range(Range<Int>)

    package var count: Int {
        switch self {
        case .list(let rows): rows.count
        case .range(let rows): rows.count
        }
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
