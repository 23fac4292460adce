/// Which tokens of a batch travel to which member of a region, whose experts are spread over its members:
/// a token once to each member that holds any of its experts, however many those are.
///
/// Answers are one sum a row. They lie by member, `capacity` rows apart, in the order in which the rows
/// went; `answers` adds them up in the order in which a token's choices name the members first.
package struct SpreadPlan: Sendable {
    package let topK: Int
    package let members: Int
    /// Rows of one member at most.
    package let capacity: Int
    /// Member that holds each expert.
    package let holders: [Int]
    /// By member: the tokens it gets, ascending.
    package private(set) var sent: [[Int32]]
    /// `[token][choice]`: row of an answer, member * capacity + place; -1 where a member was named before or
    /// the choice is dropped.
    package private(set) var answers: [Int32]
    /// Of the last batch.
    package private(set) var tokenCount = 0

    /// - Parameter capacity: tokens of a batch at most.
    package init(holders: [Int], topK: Int, members: Int, capacity: Int) {
        precondition(members > 0 && topK > 0 && capacity > 0)
        precondition(holders.allSatisfy { (0..<members).contains($0) }, "a holder is no member")
        self.holders = holders
        self.topK = topK
        self.members = members
        self.capacity = capacity
        sent = Array(repeating: [], count: members)
        answers = Array(repeating: -1, count: capacity * topK)
    }

    /// - Parameters:
    ///   - choices: experts by `[token][choice]`.
    ///   - admitted: as `DispatchPlan.rows`; -1 where a choice is dropped. Nil: none is.
    package mutating func build(_ choices: [Int32], admitted: [Int32]?, tokenCount: Int) {
        precondition(tokenCount <= capacity && choices.count >= tokenCount * topK, "tokens")
        self.tokenCount = tokenCount
        for member in 0..<members { sent[member].removeAll(keepingCapacity: true) }
        for token in 0..<tokenCount {
            for slot in token * topK..<(token + 1) * topK {
                answers[slot] = -1
                if let admitted, admitted[slot] < 0 { continue }
                let holder = holders[Int(choices[slot])]
                // Tokens come in order, so a member that was named has this one as its last.
                guard sent[holder].last != Int32(token) else { continue }
                answers[slot] = Int32(holder * capacity + sent[holder].count)
                sent[holder].append(Int32(token))
            }
        }
    }

    /// What goes with a row: its experts at the member (`absent` for others), then their weights.
    package static func wordCount(topK: Int) -> Int { 2 * topK }

    package static let absent = UInt32.max

    /// The words of all rows to `member`.
    package func words(
        to member: Int, _ choices: [Int32], _ weights: [Float], admitted: [Int32]?
    ) -> [UInt32] {
        var words: [UInt32] = []
        words.reserveCapacity(sent[member].count * 2 * topK)
        for token in sent[member] {
            let slots = Int(token) * topK..<(Int(token) + 1) * topK
            for slot in slots {
                let isHere = (admitted?[slot] ?? 0) >= 0 && holders[Int(choices[slot])] == member
                words.append(isHere ? UInt32(choices[slot]) : Self.absent)
            }
            for slot in slots { words.append(weights[slot].bitPattern) }
        }
        return words
    }

    /// Payload bytes that leave a member in one exchange, both ways: rows to others with their words, and
    /// as many values back. `bytes`: of a row's values on the wire.
    package static func bytes(rowsAway: Int, rowsHere: Int, topK: Int, bytes: Int) -> Int {
        rowsAway * (bytes + 8 * topK) + rowsHere * bytes
    }
}
