import ClusterModel
import ExpertRouting
import TrainingKernels

/// Tokens to experts and back with nothing in between: `longhaul bench dispatch`. Every member has tokens of
/// its own and some experts; expert e multiplies by e + 1, so that the result is known.
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
    private let rows: SharedFloats
    private let sums: SharedFloats
    private let answers: SharedFloats
    private let result: SharedFloats
    private var words: [UInt32]
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
        rows = SharedFloats(count: seats * shape.tokens * shape.width)
        sums = SharedFloats(count: seats * shape.tokens * shape.width)
        answers = SharedFloats(count: seats * shape.tokens * shape.width)
        result = SharedFloats(count: shape.tokens * shape.width)
        words = Array(repeating: 0, count: seats * shape.tokens * 2 * shape.topK)
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
        var found = try dispatch(members)
        found[members.me].rows = plan.sent[members.me].count
        compute(found, me: members.me)
        try combine(members, found)
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
                own.floats.withSpan {
                    members.send(batch, to: member, rows: .range(0..<0), of: $0, words: [])
                }
            }
            _ = try members.receive(
                batch, capacity: shape.tokens, into: rows, words: &words)
        }
    }

    /// Beginning with the member after this one, so that not all turn to the same.
    private func others(_ members: any TokenTransport) -> [Int] {
        (1..<members.memberCount).map { (members.me + $0) % members.memberCount }
    }

    private func dispatch(
        _ members: any TokenTransport
    ) throws(TokensInterrupted) -> [TokenArrivals] {
        let batch = batch(1, isAnswer: false, words: SpreadPlan.wordCount(topK: shape.topK))
        for member in others(members) {
            let words = plan.words(to: member, choices, weights, admitted: nil)
            own.floats.withSpan {
                members.send(
                    batch, to: member, rows: .list(plan.sent[member]), of: $0, words: words)
            }
        }
        let mine = plan.words(to: members.me, choices, weights, admitted: nil)
        let start = members.me * shape.tokens
        words.replaceSubrange(
            start * batch.words..<start * batch.words + mine.count, with: mine)
        return try members.receive(batch, capacity: shape.tokens, into: rows, words: &words)
    }

    /// sum over a row's experts here of weight (expert + 1) row, in the order of its choices. This member's
    /// own rows are read where they are, and their sums are answers already.
    private func compute(_ found: [TokenArrivals], me: Int) {
        let perRow = SpreadPlan.wordCount(topK: shape.topK)
        for (member, arrivals) in found.enumerated() {
            let start = member * shape.tokens
            let target = member == me ? answers : sums
            for row in start..<start + arrivals.rows {
                let from =
                    member == me
                    ? own.floats.part(
                        Int(plan.sent[me][row - start]) * shape.width, shape.width)
                    : rows.floats.part(row * shape.width, shape.width)
                let to = target.floats.part(row * shape.width, shape.width)
                var isFirst = true
                for choice in 0..<shape.topK {
                    let expert = words[row * perRow + choice]
                    guard expert != SpreadPlan.absent else { continue }
                    let weight = Float(bitPattern: words[row * perRow + shape.topK + choice])
                    let factor = Lanes(repeating: weight * Float(expert + 1))
                    for column in stride(from: 0, to: shape.width, by: laneCount) {
                        let product = from.lanes(at: column) * factor
                        to.store(isFirst ? product : to.lanes(at: column) + product, at: column)
                    }
                    isFirst = false
                }
            }
        }
    }

    private func combine(
        _ members: any TokenTransport, _ found: [TokenArrivals]
    ) throws(TokensInterrupted) {
        let batch = batch(1, isAnswer: true, words: 0)
        for member in others(members) {
            let start = member * shape.tokens
            sums.floats.withSpan {
                members.send(
                    batch, to: member, rows: .range(start..<start + found[member].rows), of: $0,
                    words: [])
            }
        }
        var none: [UInt32] = []
        _ = try members.receive(batch, capacity: shape.tokens, into: answers, words: &none)
        result.floats.fill(with: 0)
        ExpertRows.addRows(
            answers.floats, rows: plan.answers, topK: shape.topK, width: shape.width,
            to: result.floats)
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
