import ExpertRouting
import TrainingKernels

/// The experts of all blocks spread over the members of a region, or of all regions, while one step is
/// computed.
///
/// Every member takes part in the same exchanges, in the same order: two for each block and pass, forwards
/// and backwards. Who has fewer passes than another serves its experts in the other's.
///
/// ```
/// exchange  2 L p + l          rows of pass p, block l     ->  weighted sums of each member's experts
///           2 L p + 2 L - 1 - l  gradients of those sums   ->  gradients of the rows, and of the weights
/// ```
final class ExpertSpread {
    let memory: SpreadMemory
    let transport: any TokenTransport
    /// Own passes and tokens of this step.
    let passes: Int
    let tokens: Int
    /// Where some experts are computed in one region only.
    let home: HomeGate?
    /// What the others said of theirs in the first exchange.
    private(set) var partners: [TokenArrivals]
    private(set) var pass = 0
    /// A plan came, or the end: nothing is computed on, and the step begins again.
    private(set) var isInterrupted = false

    init(
        _ memory: SpreadMemory, _ transport: any TokenTransport, passes: Int, tokens: Int,
        home: HomeGate? = nil
    ) {
        self.home = home
        self.memory = memory
        self.transport = transport
        self.passes = passes
        self.tokens = tokens
        partners = Array(repeating: TokenArrivals(), count: transport.memberCount)
        partners[transport.me].passes = passes
        partners[transport.me].tokens = tokens
    }

    var me: Int { transport.me }
    var capacity: Int { memory.capacity }
    /// Of the member with the most.
    var passesOfAll: Int { partners.map(\.passes).max() ?? passes }

    func nextPass() { pass += 1 }

    /// Beginning with the member after this one, so that not all turn to the same.
    private var others: [Int] {
        (1..<transport.memberCount).map { (me + $0) % transport.memberCount }
    }

    private func batch(_ block: SpreadBlock, isBackward: Bool, isAnswer: Bool) -> TokenBatch {
        let layers = memory.blocks.count
        let place = isBackward ? 2 * layers - 1 - block.layer : block.layer
        let words: Int
        switch (isBackward, isAnswer) {
        case (false, false): words = SpreadPlan.wordCount(topK: memory.topK)
        case (true, true): words = memory.topK
        case (false, true), (true, false): words = 0
        }
        return TokenBatch(
            exchange: 2 * layers * pass + place, isAnswer: isAnswer, width: memory.width,
            words: words, passes: passes, tokens: tokens)
    }

    // MARK: Rows there and back

    /// Sends the rows of `source` that the block's plan names, and puts this member's own in their place.
    func dispatch(_ block: SpreadBlock, isBackward: Bool, _ source: Floats) {
        guard !isInterrupted else { return }
        let batch = batch(block, isBackward: isBackward, isAnswer: false)
        for member in others {
            let words = isBackward ? [] : block.words(to: member)
            transport.send(
                batch, to: member, rows: block.plan.sent[member], of: source, words: words)
        }
        let width = memory.width
        for (row, token) in block.plan.sent[me].enumerated() {
            memory.rows.floats.part((me * capacity + row) * width, width)
                .copy(from: source.part(Int(token) * width, width))
        }
        if !isBackward {
            let own = block.words(to: me)
            let start = me * capacity * batch.words
            memory.words.replaceSubrange(start..<start + own.count, with: own)
        }
    }

    /// Waits for the rows of all others; their number by member, this one's own among them.
    func gather(_ block: SpreadBlock, isBackward: Bool) -> [Int] {
        guard !isInterrupted else { return partners.map { _ in 0 } }
        let batch = batch(block, isBackward: isBackward, isAnswer: false)
        do {
            let found = try transport.receive(
                batch, capacity: capacity, into: memory.rows, words: &memory.words)
            if batch.exchange == 0 {
                for member in others { partners[member] = found[member] }
            }
            var counts = found.map(\.rows)
            counts[me] = block.plan.sent[me].count
            return counts
        } catch {
            isInterrupted = true
            return partners.map { _ in 0 }
        }
    }

    /// Sends the answers, made where they leave, and adds what the others answer to `target`.
    ///
    /// - Parameters:
    ///   - words: of an answer, `[row][choice]`; backwards.
    ///   - make: writes the answers to a member's rows from `first` on, as many as the floats have room for;
    ///     rows are counted as in `memory.rows`.
    func answer(
        _ block: SpreadBlock, isBackward: Bool, counts: [Int], words: Floats? = nil,
        addTo target: Floats, make: (_ member: Int, _ first: Int, Floats) -> Void
    ) {
        guard !isInterrupted else { return }
        let batch = batch(block, isBackward: isBackward, isAnswer: true)
        let width = memory.width
        for member in others {
            let rows = member * capacity..<member * capacity + counts[member]
            let bits = words.map { words in
                (rows.lowerBound * batch.words..<rows.upperBound * batch.words).map {
                    words[$0].bitPattern
                }
            }
            transport.send(
                batch, to: member, part: 0..<rows.count, total: rows.count, words: bits ?? []
            ) { part, target in
                target.withFloats { make(member, rows.lowerBound + part.lowerBound, $0) }
            }
        }
        make(
            me, me * capacity,
            memory.answers.floats.part(me * capacity * width, counts[me] * width))
        if let words {
            let start = me * capacity * batch.words
            for index in start..<start + counts[me] * batch.words {
                memory.words[index] = words[index].bitPattern
            }
        }
        do {
            _ = try transport.receive(
                batch, capacity: capacity, into: memory.answers, words: &memory.words)
        } catch {
            isInterrupted = true
            return
        }
        guard target.count > 0 else { return }
        ExpertRows.addRows(
            memory.answers.floats, rows: block.plan.answers, topK: memory.topK, width: width,
            from: 0, to: target)
    }

    /// Of this member in what all train on in the step; known after the first exchange.
    var shareOfTokens: Float {
        Float(Double(tokens) / Double(partners.reduce(0) { $0 + $1.tokens }))
    }

    /// A member's gradients are of the mean over its own tokens; those of weights have to be of the mean
    /// over this one's, since that is what they are weighted by in the region's mean.
    func scale(of member: Int) -> Float {
        let theirs = partners[member].tokens
        return theirs == tokens ? 1 : Float(theirs) / Float(tokens)
    }
}

/// What stays between steps: memory that all blocks share, and what each keeps from forwards to backwards.
package final class SpreadMemory {
    let topK: Int
    let width: Int
    /// Rows of one member in one exchange at most: the tokens of a pass.
    let capacity: Int
    let members: Int
    let blocks: [SpreadBlock]
    /// Members x capacity rows: of tokens, then of their sums' gradients.
    let rows: SharedFloats
    /// What the others' experts made of this member's tokens.
    let answers: SharedFloats
    var words: [UInt32]
    /// Members x capacity x topK.
    let weightGradient: Floats
    /// Gradients of the experts' rows, as many as there are.
    let rowGradient = GrowingFloats()
    let hiddenGradient = GrowingFloats()
    private let storage: FloatStorage

    /// - Parameter holders: by block, the member that holds each expert.
    init(_ experts: ExpertShape, width: Int, capacity: Int, members: Int, holders: [[Int]]) {
        topK = experts.topK
        self.width = width
        self.capacity = capacity
        self.members = members
        let rowCount = members * capacity
        blocks = holders.enumerated().map { layer, holders in
            SpreadBlock(
                layer: layer, experts, members: members, capacity: capacity, holders: holders)
        }
        rows = SharedFloats(count: rowCount * width)
        answers = SharedFloats(count: rowCount * width)
        words = Array(repeating: 0, count: rowCount * SpreadPlan.wordCount(topK: topK))
        storage = FloatStorage(count: rowCount * topK)
        weightGradient = storage.floats
    }

    /// Other holders from the next step on.
    func place(_ holders: [[Int]]) {
        for (block, holders) in zip(blocks, holders) { block.place(holders) }
    }
}

/// One block's part of it.
final class SpreadBlock {
    let layer: Int
    /// Where this member's tokens go.
    var plan: SpreadPlan
    /// Rows of this member's experts, of everybody's tokens.
    var experts: DispatchPlan
    /// `[member x capacity + row][choice]`; -1 where an expert is elsewhere.
    private(set) var choices: [Int32]
    private(set) var weights: [Float]
    let inputs = GrowingFloats()
    let slope = GrowingFloats()
    let activated = GrowingFloats()
    let outputs = GrowingFloats()
    private var own: (choices: [Int32], weights: [Float], admitted: [Int32]) = ([], [], [])

    init(
        layer: Int, _ experts: ExpertShape, members: Int, capacity: Int, holders: [Int]
    ) {
        self.layer = layer
        plan = SpreadPlan(
            holders: holders, topK: experts.topK, members: members, capacity: capacity)
        self.experts = DispatchPlan(
            experts: experts.count, topK: experts.topK, capacity: members * capacity,
            alignment: ExpertActivations.rowAlignment)
        choices = Array(repeating: -1, count: members * capacity * experts.topK)
        weights = Array(repeating: 0, count: choices.count)
    }

    func place(_ holders: [Int]) {
        plan = SpreadPlan(
            holders: holders, topK: plan.topK, members: plan.members, capacity: plan.capacity)
    }

    /// This member's tokens, routed; `kept` nil: it has none in this pass.
    func route(_ kept: ExpertActivations?, tokens: Int) {
        own = kept.map { ($0.batch.experts, $0.batch.weights, $0.plan.rows) } ?? ([], [], [])
        plan.build(own.choices, admitted: kept == nil ? nil : own.admitted, tokenCount: tokens)
    }

    func words(to member: Int) -> [UInt32] {
        plan.words(to: member, own.choices, own.weights, admitted: own.admitted)
    }

    /// Orders what has come by expert.
    ///
    /// - Parameter counts: rows by member.
    func order(_ counts: [Int], words: [UInt32]) {
        let (topK, capacity) = (plan.topK, plan.capacity)
        for slot in choices.indices { choices[slot] = -1 }
        for (member, count) in counts.enumerated() {
            for row in member * capacity..<member * capacity + count {
                for choice in 0..<topK {
                    let word = words[row * 2 * topK + choice]
                    let weight = words[row * 2 * topK + topK + choice]
                    choices[row * topK + choice] = word == SpreadPlan.absent ? -1 : Int32(word)
                    weights[row * topK + choice] = Float(bitPattern: weight)
                }
            }
        }
        let rows = counts.count * capacity
        experts.build(choices, tokenCount: rows, sequence: rows, limit: nil)
    }

    /// The gradient of the weight of each of this member's own choices, from the words of the answers.
    func weightGradients(_ words: [UInt32], into gradient: Floats, tokens: Int) {
        let topK = plan.topK
        gradient.part(0, tokens * topK).fill(with: 0)
        for (member, sent) in plan.sent.enumerated() {
            for (row, token) in sent.enumerated() {
                for choice in 0..<topK {
                    let slot = Int(token) * topK + choice
                    guard own.admitted[slot] >= 0,
                        plan.holders[Int(own.choices[slot])] == member
                    else { continue }
                    let word = words[(member * plan.capacity + row) * topK + choice]
                    gradient[slot] = Float(bitPattern: word)
                }
            }
        }
    }
}

/// Floats whose number is known only when a batch is there; grows, and never shrinks.
final class GrowingFloats {
    private var storage = FloatStorage(count: 0)

    /// The first `count`; what was there before is lost when it grows.
    func take(_ count: Int) -> Floats {
        if storage.floats.count < count {
            storage = FloatStorage(count: count + count / 4)
        }
        return storage.floats.part(0, count)
    }
}
