package import ClusterModel

/// What lossy transforms have withheld, by fragment and slice: it goes out with the slice's next round.
///
/// A residue is made of values, not of an encoding, so it is kept when a plan changes the transform of a
/// link; a slice that then goes out as fp32 takes it along and leaves none. It is dropped when it would
/// meet other values than those it was withheld from: the slice has other chunks, somebody else has sent
/// it meanwhile, another region alone contributes its chunk (7.10: it moves the expert), or its chunk is
/// contributed to a round a second time (what was withheld belongs to bytes that nobody applied). Chunks
/// that a round passes over for everybody (protocol, 7.9) keep theirs.
package struct SliceResidues: Sendable {
    /// A slice on its way out.
    package struct Departure: Equatable, Sendable {
        package var fragment: FragmentID
        package var slice: Int
        package var round: UInt32
        package var epoch: Epoch
        package init(fragment: FragmentID, slice: Int, round: UInt32, epoch: Epoch) {
            self.fragment = fragment
            self.slice = slice
            self.round = round
            self.epoch = epoch
        }

        /// Whether nobody can have sent the slice between `last` and this: within one epoch nobody else
        /// sends it, and a replica that missed rounds goes on.
        fileprivate func follows(_ last: Departure) -> Bool {
            last.epoch == epoch ? last.round < round : last.round + 1 == round
        }
    }

    private struct Entry: Sendable {
        var feedback: ErrorFeedback
        /// Elements of its chunks.
        var chunks: [Range<UInt64>]
        /// The last one, also if it passed over all chunks.
        var departure: Departure
        /// Chunks that went out with it.
        var sent: Set<Int> = []
    }

    private struct Key: Hashable {
        let fragment: FragmentID
        let slice: Int
    }

    /// Asked, never iterated.
    private var entries: [Key: Entry] = [:]
    /// Square of the norm of what was dropped and not reported yet.
    private var lost = 0.0

    package init() {}

    /// The norm of what was dropped since the last call; nil: nothing.
    package mutating func takeLost() -> Double? {
        defer { lost = 0 }
        return lost > 0 ? lost.squareRoot() : nil
    }

    /// For the record: that so much was dropped.
    package static func note(_ norm: Double, source: String) -> RunEvent {
        .note(
            source: source,
            text: "a slice or an expert changed hands, or a slice left again: a residue of norm "
                + "\(norm) was dropped")
    }

    /// Whether what was withheld goes out with this departure, or something may be withheld from it.
    package func mayChange(_ departure: Departure, transform: TransformID) -> Bool {
        transform != .fp32
            || entries[Key(fragment: departure.fragment, slice: departure.slice)] != nil
    }

    /// Encodes a chunk with what was withheld from it last time; nil where nothing ever was.
    ///
    /// - Parameter chunks: elements of all chunks of the slice, in order.
    package mutating func encode(
        _ values: Span<Float>, chunk: Int, of departure: Departure, transform: TransformID,
        with encoder: ChunkEncoder, into output: inout MutableSpan<UInt8>,
        chunks: () -> [Range<UInt64>]
    ) throws(ChunkError) -> EncodedExtent? {
        let key = Key(fragment: departure.fragment, slice: departure.slice)
        if transform == .fp32, entries[key] == nil { return nil }
        if entries[key]?.departure != departure || entries[key]?.sent.isEmpty ?? true {
            renew(key, departure, transform, chunks())
        }
        entries[key]?.sent.insert(chunk)
        return try entries[key]?.feedback.encode(
            chunk: chunk, of: values, transform: transform, with: encoder, into: &output)
    }

    /// A round in which this worker would send the slice, but for nothing of it being due: what was
    /// withheld waits for the next one.
    ///
    /// - Parameter chunks: elements of all chunks of the slice, in order.
    package mutating func passOver(_ departure: Departure, chunks: () -> [Range<UInt64>]) {
        let key = Key(fragment: departure.fragment, slice: departure.slice)
        guard let entry = entries[key], entry.chunks == chunks() else { return }
        // What another order of this departure has sent is not passed over.
        guard entry.departure != departure || entry.sent.isEmpty else { return }
        goOn(key, entry, departure)
    }

    /// Another region alone contributes this chunk to the round: its values move by what that one sends, so
    /// what was withheld here would meet others than those it was withheld from.
    ///
    /// - Parameter range: elements of the chunk.
    package mutating func handOver(_ chunk: Int, of departure: Departure, range: Range<UInt64>) {
        let key = Key(fragment: departure.fragment, slice: departure.slice)
        // A slice of other chunks is dropped when it leaves.
        guard let entry = entries[key], entry.chunks.indices.contains(chunk),
            entry.chunks[chunk] == range
        else { return }
        drop(chunk, of: key)
    }

    private mutating func drop(_ chunk: Int, of key: Key) {
        let norm = entries[key]?.feedback.drop(chunk: chunk) ?? 0
        lost += norm * norm
    }

    /// False: somebody else may have sent the slice since.
    @discardableResult
    private mutating func goOn(_ key: Key, _ entry: Entry, _ departure: Departure) -> Bool {
        let isAgain = entry.departure.round == departure.round
        guard isAgain || departure.follows(entry.departure) else { return false }
        if isAgain { for chunk in entry.sent.sorted() { drop(chunk, of: key) } }
        entries[key]?.departure = departure
        entries[key]?.sent = []
        return true
    }

    /// The slice leaves for the first time in this round and epoch.
    private mutating func renew(
        _ key: Key, _ departure: Departure, _ transform: TransformID, _ chunks: [Range<UInt64>]
    ) {
        if let entry = entries[key] {
            if entry.chunks == chunks, goOn(key, entry, departure) { return }
            lost += entry.feedback.norm * entry.feedback.norm
        }
        entries[key] =
            transform == .fp32
            ? nil
            : Entry(
                feedback: ErrorFeedback(chunks: chunks.map(\.count)), chunks: chunks,
                departure: departure)
    }
}
