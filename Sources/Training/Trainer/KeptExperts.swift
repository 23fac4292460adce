import TrainingKernels

/// The experts that a worker keeps for its region under `keep: holder`: weights, gradients and moments of an
/// expert are with the worker that computes it, from one outer round to the next. Everybody else has its
/// weights as the last round left them, and no moments.
///
/// When experts are placed anew their weights and moments go to who computes them from then on, before
/// the step that needs them (Protocols/longhaul-1.md, section 7.12). Whoever is told to hold an expert that
/// nobody brings begins from the last round, with moments of zero.
final class KeptExperts {
    /// Of the model's vectors: what an expert has of each.
    struct Vectors {
        var weights: Floats
        var firstMoment: Floats
        var secondMoment: Floats
        /// The weights of the last round.
        var lastRound: Floats

        var moving: [Floats] { [weights, firstMoment, secondMoment] }
    }

    /// By block and expert: its elements, which lie together.
    let ranges: [[Range<Int>]]
    /// All other trained elements.
    let rest: [Range<Int>]
    /// By block and expert, those whose last weights and moments are here, as of the last optimiser step;
    /// nil: a start, at which all workers have the same.
    private(set) var held: [[Bool]]?
    /// The same of the step that is computed now.
    private var next: [[Bool]] = []
    private let width: Int
    /// Rows of one vector of an expert; all experts are alike.
    private let rowsOfVector: Int

    /// - Parameters:
    ///   - width: values of a row that moves.
    ///   - trained: elements before those that no gradient trains.
    init(_ tensors: [TensorSpec], layers: Int, experts: Int, width: Int, trained: Int) {
        self.width = width
        var found = Array(repeating: Array(repeating: 0..<0, count: experts), count: layers)
        for tensor in tensors {
            guard let layer = tensor.layer, let expert = tensor.routedExpert else { continue }
            let known = found[layer][expert]
            precondition(known.isEmpty || known.upperBound == tensor.range.lowerBound)
            found[layer][expert] =
                known.isEmpty ? tensor.range : known.lowerBound..<tensor.range.upperBound
        }
        ranges = found
        rowsOfVector = ((found.first?.first?.count ?? 0) + width - 1) / width
        var rest: [Range<Int>] = []
        var start = 0
        for range in found.flatMap({ $0 }) {
            if start < range.lowerBound { rest.append(start..<range.lowerBound) }
            start = range.upperBound
        }
        if start < trained { rest.append(start..<trained) }
        self.rest = rest
    }

    /// Elements of the experts held in the step that is computed.
    var heldRanges: [Range<Int>] {
        zip(ranges, next).flatMap { ranges, held in
            zip(ranges, held).compactMap { $1 ? $0 : nil }
        }
    }

    /// The step is taken: what is held for it is held.
    ///
    /// - Returns: elements of experts of which this worker may have something that it need not keep.
    func commit() -> [Range<Int>] {
        defer { held = next }
        guard held != next else { return [] }
        return zip(ranges, next).flatMap { ranges, next in
            zip(ranges, next).compactMap { $1 ? nil : $0 }
        }
    }

    /// By block and expert, those held in the step that is computed.
    var isNeeded: [[Bool]] { next }

    /// - Parameter held: as it was saved; nil: all workers have the same.
    func restore(_ held: [[Bool]]?) {
        self.held =
            held.flatMap { held in
                held.map(\.count) == ranges.map(\.count) ? held : nothing
            }
    }

    /// The state is a peer's: what its region keeps with its holders is not in it.
    func holdNothing() { held = nothing }

    private var nothing: [[Bool]] { ranges.map { $0.map { _ in false } } }

    // MARK: Moving

    private var rowsOfExpert: Int { 3 * rowsOfVector }

    /// Who computes which expert in the step that comes: sends those held here that others compute then, and
    /// waits for those that others have.
    ///
    /// - Returns: how many it holds now that nobody has brought.
    func move(
        to holders: [[Int]], _ members: any TokenTransport, _ vectors: Vectors
    ) throws(TokensInterrupted) -> Int {
        next = holders.map { $0.map { $0 == members.me } }
        let batch = TokenBatch(kind: .state, width: width, words: 2)
        for offset in 1..<members.memberCount {
            let member = (members.me + offset) % members.memberCount
            send(leaving(to: member, holders), to: member, batch, members, vectors)
        }
        var rows = Array(repeating: 0, count: holders.reduce(0) { $0 + $1.count })
        _ = try members.receive(batch, capacity: rows.count * rowsOfExpert) { part, words, values in
            for row in 0..<part.rows.count {
                install(
                    Int(words[2 * row]), Int(words[2 * row + 1]),
                    values.extracting(row * width..<(row + 1) * width), vectors, &rows)
            }
        }
        return settle(vectors) { rows[$0] == rowsOfExpert }
    }

    /// Nobody else is left in the region.
    func holdAll(_ vectors: Vectors) -> Int {
        next = ranges.map { $0.map { _ in true } }
        return settle(vectors) { _ in false }
    }

    /// Numbers of the experts that are here and go to a member.
    private func leaving(to member: Int, _ holders: [[Int]]) -> [Int] {
        guard let held else { return [] }
        return zip(held.joined(), holders.joined()).enumerated().compactMap {
            $1.0 && $1.1 == member ? $0 : nil
        }
    }

    private func send(
        _ experts: [Int], to member: Int, _ batch: TokenBatch, _ members: any TokenTransport,
        _ vectors: Vectors
    ) {
        let count = experts.count * rowsOfExpert
        let words = experts.flatMap { expert in
            (0..<rowsOfExpert).flatMap { [UInt32(expert), UInt32($0)] }
        }
        members.send(batch, to: member, part: 0..<count, total: count, words: words) {
            part, target in
            target.withFloats { target in
                for (place, row) in part.enumerated() {
                    let values = values(experts[row / rowsOfExpert], row % rowsOfExpert, vectors)
                    let into = target.part(place * width, width)
                    into.part(0, values.count).copy(from: values)
                    into.part(values.count, width - values.count).fill(with: 0)
                }
            }
        }
    }

    /// A row of an expert: of its weights, then of its first moments, then of its second ones.
    private func values(_ expert: Int, _ row: Int, _ vectors: Vectors) -> Floats {
        let range = self.range(expert)
        let start = row % rowsOfVector * width
        let vector = vectors.moving[row / rowsOfVector]
        guard start < range.count else { return vector.part(0, 0) }
        return vector.part(range.lowerBound + start, min(width, range.count - start))
    }

    private func range(_ expert: Int) -> Range<Int> {
        let perBlock = ranges[0].count
        return ranges[expert / perBlock][expert % perBlock]
    }

    private func isNext(_ expert: Int) -> Bool {
        let perBlock = ranges[0].count
        return next[expert / perBlock][expert % perBlock]
    }

    /// Rows of what is not this worker's to hold count for nothing: it goes without them.
    private func install(
        _ expert: Int, _ row: Int, _ values: Span<Float>, _ vectors: Vectors, _ rows: inout [Int]
    ) {
        guard rows.indices.contains(expert), (0..<rowsOfExpert).contains(row), isNext(expert)
        else { return }
        let target = self.values(expert, row, vectors)
        target.copy(from: values.extracting(0..<target.count))
        rows[expert] += 1
    }

    /// What is to be held here, was not, and has not come whole begins from the last round.
    private func settle(_ vectors: Vectors, hasCome: (Int) -> Bool) -> Int {
        guard let held else { return 0 }
        var lost = 0
        for (expert, wasHeld) in held.joined().enumerated()
        where isNext(expert) && !wasHeld && !hasCome(expert) {
            lost += 1
            let range = range(expert)
            vectors.weights.part(range).copy(from: vectors.lastRound.part(range))
            vectors.firstMoment.part(range).fill(with: 0)
            vectors.secondMoment.part(range).fill(with: 0)
        }
        return lost
    }

    // MARK: The norm of the gradient

    /// The sum of squares of the gradients of all experts: each member says that of those it holds. The same
    /// bits at every member.
    func squaredNorm(
        _ gradients: Floats, _ members: any TokenTransport
    ) throws(TokensInterrupted) -> Double {
        let own = squaredNorm(gradients)
        let batch = TokenBatch(kind: .norm, width: 1, words: 2)
        let bits = own.bitPattern
        let words = [UInt32(truncatingIfNeeded: bits), UInt32(truncatingIfNeeded: bits >> 32)]
        for offset in 1..<members.memberCount {
            let member = (members.me + offset) % members.memberCount
            members.send(batch, to: member, part: 0..<1, total: 1, words: words) { _, target in
                target[0] = 0
            }
        }
        var sums = [Double](repeating: 0, count: members.memberCount)
        sums[members.me] = own
        _ = try members.receive(batch, capacity: 1) { part, words, _ in
            guard words.count == 2 else { return }
            sums[part.member] = Double(
                bitPattern: UInt64(words[1]) << 32 | UInt64(words[0]))
        }
        return sums.reduce(0, +)
    }

    /// Of the experts held here.
    func squaredNorm(_ gradients: Floats) -> Double { Self.squaredNorm(gradients, heldRanges) }

    static func squaredNorm(_ gradients: Floats, _ ranges: [Range<Int>]) -> Double {
        ranges.reduce(0) { sum, range in
            let norm = Double(gradientNorm(gradients.part(range)))
            return sum + norm * norm
        }
    }
}
