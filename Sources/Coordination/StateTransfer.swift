package import ClusterModel
package import WireProtocol

/// A joiner's progress in taking over a state: pieces of every item from every holder of an equal one, a
/// few asked for ahead at each, whoever has answered asked for the next.
///
/// The member that the plan names (the *reference*) says what the state is; others count as sources of an
/// item when they describe the same one. What is installed survives a change of plan as long as the new
/// reference describes the same item, so a source that dies costs what it had not sent yet
/// (Protocols/longhaul-1.md, 8.4).
package struct StateTransfer: Equatable, Sendable {
    /// Elements of one piece: a chunk.
    package static let pieceElements = UInt64(CollectiveGeometry.chunkElements)
    /// Items in the order in which they are fetched; the index only says how much there is.
    package static let items: [StateItem] = [
        .index, .parameters, .outerCopy, .outerMomentum, .firstMoment, .secondMoment,
    ]

    /// What a holder says of an item; two holders that say the same hold the same.
    struct Description: Equatable, Sendable {
        var total: UInt64
        var round: UInt32
        var step: UInt64
        var digest: UInt64

        init(_ chunk: StateChunk) {
            total = chunk.total
            round = chunk.round
            step = chunk.step
            digest = chunk.digest
        }
    }

    package struct Source: Equatable, Sendable {
        package let worker: WorkerID
        /// Pieces it may be asked for ahead of its answers.
        let ahead: Int
        var isAsked = false
        var outstanding = 0
        /// By place in ``StateTransfer/items``.
        var described: [Description?]
        var bytes: UInt64 = 0

        package init(_ worker: WorkerID, ahead: Int) {
            self.worker = worker
            self.ahead = ahead
            described = Array(repeating: nil, count: StateTransfer.items.count)
        }
    }

    private enum Piece: Equatable, Sendable {
        case missing
        case asked(WorkerID)
        case installed
    }

    /// One item's pieces, and what they are pieces of.
    private struct Item: Equatable, Sendable {
        var held: Description?
        var pieces: [Piece] = []
        /// No piece before it is missing.
        var next = 0
        var installed = 0
    }

    private(set) var reference: WorkerID
    /// The reference belongs to another replica: what it has trained since it last contributed is its own to
    /// contribute, so its live parameters are left out and the outer copy stands for them.
    private(set) var beginsFromOuterCopy: Bool
    /// Reference first, then by rank.
    private(set) var sources: [Source]
    private var items = StateTransfer.items.map { _ in Item() }
    /// What the reference describes under the plan in force, by item.
    private var wanted: [Description?]
    /// The trainer has been asked to check what is installed, under the plan in force.
    var isHandedOver = false

    /// When the reference's first description came.
    private(set) var began: Instant?
    /// Sources of earlier plans, for the account.
    private var earlier: [(worker: WorkerID, bytes: UInt64)] = []
    /// Bytes that were in place when a plan changed, and stayed.
    package private(set) var resumedBytes: UInt64 = 0

    package init(reference: WorkerID, sources: [Source], beginsFromOuterCopy: Bool = false) {
        self.reference = reference
        self.beginsFromOuterCopy = beginsFromOuterCopy
        self.sources = sources
        wanted = StateTransfer.items.map { _ in nil }
    }

    package static func == (a: Self, b: Self) -> Bool {
        a.reference == b.reference && a.sources == b.sources && a.items == b.items
            && a.wanted == b.wanted && a.isHandedOver == b.isHandedOver
            && a.beginsFromOuterCopy == b.beginsFromOuterCopy
    }

    /// A new plan: what was asked for will not come, what is installed may be worth keeping.
    package mutating func restart(
        reference: WorkerID, sources: [Source], beginsFromOuterCopy: Bool = false
    ) {
        self.beginsFromOuterCopy = beginsFromOuterCopy
        earlier += self.sources.filter { $0.bytes > 0 }.map { ($0.worker, $0.bytes) }
        self.reference = reference
        self.sources = sources
        wanted = StateTransfer.items.map { _ in nil }
        isHandedOver = false
        for place in items.indices {
            for piece in items[place].pieces.indices {
                if case .asked = items[place].pieces[piece] {
                    items[place].pieces[piece] = .missing
                }
            }
            items[place].next = 0
        }
    }

    /// The requests a source hears first; empty the second time.
    package mutating func greet(_ source: WorkerID) -> [StateRequest] {
        guard let index = sources.firstIndex(where: { $0.worker == source }),
            !sources[index].isAsked
        else { return [] }
        sources[index].isAsked = true
        return Self.items.map { StateRequest(item: $0, start: 0, count: 0) }
    }

    /// A source's description of an item; false if it is no source.
    package mutating func describe(
        _ chunk: StateChunk, by worker: WorkerID, at now: Instant
    ) -> Bool {
        guard let index = sources.firstIndex(where: { $0.worker == worker }),
            let place = Self.items.firstIndex(of: chunk.item)
        else { return false }
        let description = Description(chunk)
        sources[index].described[place] = description
        guard worker == reference else { return true }
        began = began ?? now
        wanted[place] = description
        if isLeftOut(place) {
            // Pieces in place are lost: the trainer puts the outer copy there.
            items[place] = Item()
        } else if items[place].held == description {
            resumedBytes += 4 * installedElements(place)
        } else {
            let count =
                chunk.item == .index
                ? 0 : (description.total + Self.pieceElements - 1) / Self.pieceElements
            items[place] = Item(
                held: description, pieces: Array(repeating: .missing, count: Int(count)))
        }
        return true
    }

    private func isLeftOut(_ place: Int) -> Bool {
        beginsFromOuterCopy && Self.items[place] == .parameters
    }

    /// What to ask whom now: one piece of the first item that lacks some to each source in turn, until
    /// all have as much as they may be asked for.
    package mutating func requests() -> [(to: WorkerID, StateRequest)] {
        var found: [(to: WorkerID, StateRequest)] = []
        var hasAsked = true
        while hasAsked {
            hasAsked = false
            for index in sources.indices {
                guard let request = nextRequest(index) else { continue }
                found.append((sources[index].worker, request))
                hasAsked = true
            }
        }
        return found
    }

    private mutating func nextRequest(_ index: Int) -> StateRequest? {
        let source = sources[index]
        guard source.outstanding < source.ahead else { return nil }
        for place in items.indices {
            guard let description = wanted[place], source.described[place] == description,
                let piece = firstMissing(place)
            else { continue }
            items[place].pieces[piece] = .asked(source.worker)
            sources[index].outstanding += 1
            let range = Self.range(of: piece, total: description.total)
            return StateRequest(
                item: Self.items[place], start: range.lowerBound, count: UInt32(range.count))
        }
        return nil
    }

    private mutating func firstMissing(_ place: Int) -> Int? {
        while items[place].next < items[place].pieces.count {
            if items[place].pieces[items[place].next] == .missing { return items[place].next }
            items[place].next += 1
        }
        return nil
    }

    private static func range(of piece: Int, total: UInt64) -> Range<UInt64> {
        let start = UInt64(piece) * pieceElements
        return start..<min(start + pieceElements, total)
    }

    private func installedElements(_ place: Int) -> UInt64 {
        guard let total = items[place].held?.total else { return 0 }
        var elements: UInt64 = 0
        for piece in items[place].pieces.indices where items[place].pieces[piece] == .installed {
            elements += UInt64(Self.range(of: piece, total: total).count)
        }
        return elements
    }

    /// Whether `chunk` is a piece that `worker` was asked for, of the item that is wanted; it counts as
    /// installed then.
    package mutating func take(_ chunk: StateChunk, from worker: WorkerID) -> Bool {
        guard let index = sources.firstIndex(where: { $0.worker == worker }),
            let place = Self.items.firstIndex(of: chunk.item),
            let description = wanted[place], Description(chunk) == description
        else { return false }
        let piece = Int(chunk.start / Self.pieceElements)
        guard items[place].pieces.indices.contains(piece),
            items[place].pieces[piece] == .asked(worker),
            Self.range(of: piece, total: description.total)
                == chunk.start..<chunk.start + UInt64(chunk.count)
        else { return false }
        items[place].pieces[piece] = .installed
        items[place].installed += 1
        sources[index].outstanding -= 1
        sources[index].bytes += 4 * UInt64(chunk.count)
        return true
    }

    /// Everything the reference describes is here.
    package var isComplete: Bool {
        items.indices.allSatisfy { place in
            wanted[place] != nil && items[place].installed == items[place].pieces.count
        }
    }

    /// What the trainer must find in place; nil before the reference has described everything.
    package func handover(planVersion: UInt32) -> TrainerOrder.Handover? {
        guard let index = wanted[0] else { return nil }
        var digests: [TrainerOrder.Handover.Item] = []
        for place in items.indices.dropFirst() {
            guard let description = wanted[place] else { return nil }
            if description.total > 0, !isLeftOut(place) {
                digests.append(
                    TrainerOrder.Handover.Item(
                        item: Self.items[place], digest: description.digest))
            }
        }
        return TrainerOrder.Handover(
            planVersion: planVersion, step: UInt32(clamping: index.step), round: index.round,
            digest: index.digest, items: digests, beginsFromOuterCopy: beginsFromOuterCopy)
    }

    /// Bytes taken from each source, in the order in which they were first asked.
    package var account: [(worker: WorkerID, bytes: UInt64)] {
        var sums: [(worker: WorkerID, bytes: UInt64)] = []
        for (worker, bytes) in earlier + sources.map({ ($0.worker, $0.bytes) }) where bytes > 0 {
            if let known = sums.firstIndex(where: { $0.worker == worker }) {
                sums[known].bytes += bytes
            } else {
                sums.append((worker, bytes))
            }
        }
        return sums
    }
}
