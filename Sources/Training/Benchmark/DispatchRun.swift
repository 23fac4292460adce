import ClusterModel
import ExpertRouting
import TrainingKernels

/// Tokens to experts and back with nothing in between: `longhaul bench dispatch`. Every member has tokens of
/// its own and some experts; expert e multiplies by e + 1, so that the result is known. A row needs no other
/// row for that: it is multiplied where it has come, and its answer is made where it leaves.
///
/// Used from one thread.
package final class DispatchRun {
    /// What is exchanged; equal on every member.
    package struct Shape: Sendable {
        package var tokens: Int
        package var width: Int
        package var experts: Int
        package var topK: Int
        package init(tokens: Int, width: Int, experts: Int, topK: Int) {
            self.tokens = tokens
            self.width = width
            self.experts = experts
            self.topK = topK
        }
    }

    private let shape: Shape
    private let choices: [Int32]
    private let weights: [Float]
    private let own: SharedFloats
    private let result: SharedFloats
    /// Where a token's answers wait for each other, because a sum of three or more depends on their order.
    private let answers: SharedFloats?
    /// By token, whether one of its answers is in the result.
    private var isBegun: [Bool]
    private var plan: SpreadPlan

    package init(_ shape: Shape, seat: Int, seats: Int) {
        self.shape = shape
        var generator = SeededGenerator(seed: UInt64(seat) &+ 1)
        var choices: [Int32] = []
        for _ in 0..<shape.tokens {
            var chosen: [Int32] = []
            while chosen.count < shape.topK {
                let expert = Int32(generator.next() % UInt64(shape.experts))
                if !chosen.contains(expert) { chosen.append(expert) }
            }
            choices += chosen
        }
        self.choices = choices
        weights = choices.indices.map { 1 / Float(2 << ($0 % shape.topK)) }
        own = SharedFloats(count: shape.tokens * shape.width)
        for index in 0..<own.count { own.floats[index] = Float((index + seat) % 61 - 30) }
        answers =
            min(seats, shape.topK) > 2
            ? SharedFloats(count: seats * shape.tokens * shape.width) : nil
        isBegun = Array(repeating: false, count: shape.tokens)
        result = SharedFloats(count: shape.tokens * shape.width)
        plan = SpreadPlan(
            holders: (0..<shape.experts).map { $0 * seats / shape.experts }, topK: shape.topK,
            members: seats, capacity: shape.tokens)
    }

    /// A barrier, then one dispatch and its answers between `begin` and `end`.
    package func exchange(
        _ members: any TokenTransport, begin: () -> Void, end: () -> Void
    ) throws(TokensInterrupted) {
        try meet(members)
        begin()
        plan.build(choices, admitted: nil, tokenCount: shape.tokens)
        dispatch(members)
        computeOwn(members.me)
        try answer(members)
        try combine(members)
        end()
    }

    private func batch(_ exchange: Int, isAnswer: Bool, words: Int) -> TokenBatch {
        TokenBatch(
            exchange: exchange, isAnswer: isAnswer, width: shape.width, words: words, passes: 1,
            tokens: shape.tokens)
    }

    /// Nobody is ahead of anybody by more than a message.
    private func meet(_ members: any TokenTransport) throws(TokensInterrupted) {
        for isAnswer in [false, true] {
            let batch = batch(0, isAnswer: isAnswer, words: 0)
            for member in others(members) {
                members.send(batch, to: member, part: 0..<0, total: 0, words: []) { _, _ in }
            }
            _ = try members.receive(batch, capacity: shape.tokens) { _, _, _ in }
        }
    }

    /// Beginning with the member after this one, so that not all turn to the same.
    private func others(_ members: any TokenTransport) -> [Int] {
        (1..<members.memberCount).map { (members.me + $0) % members.memberCount }
    }

    private var dispatched: TokenBatch {
        batch(1, isAnswer: false, words: SpreadPlan.wordCount(topK: shape.topK))
    }

    private func dispatch(_ members: any TokenTransport) {
        for member in others(members) {
            let words = plan.words(to: member, choices, weights, admitted: nil)
            members.send(
                dispatched, to: member, rows: plan.sent[member], of: own.floats, words: words)
        }
    }

    /// This member's own rows are read where they are, and what comes of them is an answer already.
    private func computeOwn(_ me: Int) {
        let words = plan.words(to: me, choices, weights, admitted: nil)
        for index in isBegun.indices { isBegun[index] = false }
        for (row, token) in plan.sent[me].enumerated() {
            let token = Int(token)
            let target =
                answers.map { answers in
                    answers.floats.part(
                        (me * shape.tokens + row) * shape.width, shape.width)
                } ?? result.floats.part(token * shape.width, shape.width)
            compute(
                own.floats.part(token * shape.width, shape.width), row, words.span, into: target)
            isBegun[token] = true
        }
    }

    /// Others' rows: the answers leave while further rows come.
    private func answer(_ members: any TokenTransport) throws(TokensInterrupted) {
        let batch = batch(1, isAnswer: true, words: 0)
        _ = try members.receive(dispatched, capacity: shape.tokens) { part, words, values in
            members.send(
                batch, to: part.member, part: part.rows, total: part.total, words: []
            ) { range, target in
                let first = range.lowerBound - part.rows.lowerBound
                values.withFloats { values in
                    target.withFloats { target in
                        for row in 0..<range.count {
                            compute(
                                values.part((first + row) * shape.width, shape.width), first + row,
                                words, into: target.part(row * shape.width, shape.width))
                        }
                    }
                }
            }
        }
    }

    /// sum over a row's experts here of weight (expert + 1) row, in the order of its choices.
    private func compute(_ from: Floats, _ row: Int, _ words: Span<UInt32>, into to: Floats) {
        var isFirst = true
        for slot in 2 * row * shape.topK..<(2 * row + 1) * shape.topK
        where words[slot] != SpreadPlan.absent {
            let weight = Float(bitPattern: words[slot + shape.topK])
            let factor = Lanes(repeating: weight * Float(words[slot] + 1))
            if isFirst {
                for column in stride(from: 0, to: from.count, by: laneCount) {
                    to.store(from.lanes(at: column) * factor, at: column)
                }
            } else {
                for column in stride(from: 0, to: from.count, by: laneCount) {
                    to.store(to.lanes(at: column) + from.lanes(at: column) * factor, at: column)
                }
            }
            isFirst = false
        }
    }

    /// A token has one answer from each member that holds any of its experts.
    private func combine(_ members: any TokenTransport) throws(TokensInterrupted) {
        let batch = batch(1, isAnswer: true, words: 0)
        guard let answers else {
            // Of two answers it does not matter which comes first: a + b is b + a, to the bit.
            _ = try members.receive(batch, capacity: shape.tokens) { part, _, values in
                values.withFloats { add($0, tokens: plan.sent[part.member][part.rows]) }
            }
            return
        }
        var none: [UInt32] = []
        _ = try members.receive(
            batch, capacity: shape.tokens, into: answers, words: &none)
        result.floats.fill(with: 0)
        ExpertRows.addRows(
            answers.floats, rows: plan.answers, topK: shape.topK, width: shape.width, from: 0,
            to: result.floats)
    }

    private func add(_ rows: Floats, tokens: ArraySlice<Int32>) {
        for (row, token) in tokens.enumerated() {
            let token = Int(token)
            let from = rows.part(row * shape.width, shape.width)
            let to = result.floats.part(token * shape.width, shape.width)
            if isBegun[token] { RowKernels.add(from, to: to) } else { to.copy(from: from) }
            isBegun[token] = true
        }
    }

    package func withResult<R>(_ body: (Span<Float>) -> R) -> R {
        result.withSpan(0..<result.count, body)
    }

    /// Largest deviation from the known result, as a share of its largest value.
    package var error: Float {
        var (worst, largest): (Float, Float) = (0, 0)
        for token in 0..<shape.tokens {
            var factor: Float = 0
            for slot in token * shape.topK..<(token + 1) * shape.topK {
                factor += weights[slot] * Float(choices[slot] + 1)
            }
            for index in token * shape.width..<(token + 1) * shape.width {
                let expected = factor * own.floats[index]
                worst = max(worst, abs(result.floats[index] - expected))
                largest = max(largest, abs(expected))
            }
        }
        return worst / largest
    }

    /// Choices of experts that other members hold.
    package func choicesAway(from me: Int) -> Int {
        choices.count { plan.holders[Int($0)] != me }
    }

    /// By member: rows that leave for its experts; none for this one's own. After an exchange.
    package func rowsAway(from me: Int) -> [Int] {
        plan.sent.indices.map { $0 == me ? 0 : plan.sent[$0].count }
    }
}
