import ClusterModel
import Compression
import Testing

/// What is withheld goes out later, also across a change of transform (decision 15).
@Suite struct SliceResidueTests {
    private static let count = 1_000
    private let encoder = ChunkEncoder()
    private let decoder = ChunkDecoder()

    private func values(_ round: Int) -> [Float] {
        var generator = SeededGenerator(seed: UInt64(round))
        return (0..<Self.count).map { _ in
            Float(Int64(generator.integer(below: 2_000_001)) - 1_000_000) / 1_000_000
        }
    }

    /// What the receiver gets of `round`.
    private func send(
        _ residues: inout SliceResidues, round: UInt32, epoch: UInt32 = 1,
        _ transform: TransformID, chunks: [Range<UInt64>] = [0..<UInt64(count)],
        position: Int = 0
    ) throws -> [Float] {
        let contribution = values(Int(round))
        var bytes = [UInt8](
            repeating: 0, count: ChunkFormat.encodedSizeBound(transform, elements: Self.count))
        var output = bytes.mutableSpan
        let departure = SliceResidues.Departure(
            fragment: FragmentID(0), slice: 1, round: round, epoch: Epoch(rawValue: epoch))
        let withheld = try residues.encode(
            contribution.span, chunk: position, of: departure, transform: transform, with: encoder,
            into: &output, chunks: { chunks })
        let extent =
            try withheld
            ?? encoder.encode(contribution.span, transform: transform, into: &output)
        var decoded = [Float](repeating: 0, count: Self.count)
        var target = decoded.mutableSpan
        try decoder.decode(
            bytes.span.extracting(0..<extent.byteCount), transform: transform,
            stage: extent.stage, into: &target)
        return decoded
    }

    /// Largest difference between what was contributed and what arrived, over all rounds together.
    private func debt(_ sent: [UInt32], _ received: [[Float]]) -> Float {
        (0..<Self.count).map { index in
            let owed = sent.reduce(Float(0)) { $0 + values(Int($1))[index] }
            return abs(owed - received.reduce(Float(0)) { $0 + $1[index] })
        }.max() ?? 0
    }

    @Test func aChangeOfTransformKeepsWhatWasWithheld() throws {
        var residues = SliceResidues()
        var received = [try send(&residues, round: 1, .int4)]
        let coarse = debt([1], received)
        #expect(coarse > 0.02)
        // Another epoch, another transform, the same slice.
        received.append(try send(&residues, round: 2, epoch: 2, .int8))
        #expect(debt([1, 2], received) < coarse / 4)
        received.append(try send(&residues, round: 3, epoch: 2, .fp32))
        #expect(debt([1, 2, 3], received) < 1e-5)
        let lost = residues.takeLost()
        #expect(lost == nil)
        // Nothing is owed any more.
        received.append(try send(&residues, round: 4, epoch: 3, .fp32))
        #expect(debt([1, 2, 3, 4], received) < 1e-5)
    }

    @Test func whoMissesARoundOfItsEpochGoesOn() throws {
        var residues = SliceResidues()
        var received = [try send(&residues, round: 1, .int4)]
        received.append(try send(&residues, round: 4, .fp32))
        let lost = residues.takeLost()
        #expect(lost == nil)
        #expect(debt([1, 4], received) < 1e-5)
    }

    /// A chunk of an expert that rounds leave out owes what it owed when it leaves again.
    @Test func aChunkThatWaitsKeepsWhatWasWithheld() throws {
        var residues = SliceResidues()
        let count = UInt64(Self.count)
        let chunks = [0..<count, count..<2 * count]
        var received: [[Float]] = []
        for (round, position, transform) in [
            (UInt32(1), 0, TransformID.int4), (1, 1, .int4), (2, 0, .int8), (3, 0, .int8),
            (4, 1, .fp32),
        ] {
            let sent = try send(
                &residues, round: round, epoch: round, transform, chunks: chunks, position: position
            )
            if position == 1 { received.append(sent) }
        }
        #expect(debt([1, 4], received) < 1e-5)
        let lost = residues.takeLost()
        #expect(lost == nil)
    }

    /// Rounds in which nothing of a slice is due, one of them begun again, and plans that follow in place.
    @Test func aSliceThatIsPassedOverKeepsWhatWasWithheld() throws {
        var residues = SliceResidues()
        let chunks = [0..<UInt64(Self.count)]
        func passOver(_ slices: [Range<UInt64>], round: UInt32, epoch: UInt32) {
            residues.passOver(
                SliceResidues.Departure(
                    fragment: FragmentID(0), slice: 1, round: round, epoch: Epoch(rawValue: epoch)),
                chunks: { slices })
        }
        var received = [try send(&residues, round: 1, .int4, chunks: chunks)]
        for (round, epoch) in [(UInt32(2), UInt32(1)), (2, 2), (3, 3)] {
            passOver(chunks, round: round, epoch: epoch)
        }
        received.append(try send(&residues, round: 4, epoch: 4, .fp32, chunks: chunks))
        #expect(debt([1, 4], received) < 1e-5)
        var lost = residues.takeLost()
        #expect(lost == nil)
        // Somebody else may have sent it between: epochs 6 and 7, or a slice of other chunks.
        _ = try send(&residues, round: 5, epoch: 5, .int4, chunks: chunks)
        passOver([1..<2], round: 6, epoch: 6)
        passOver(chunks, round: 7, epoch: 7)
        _ = try send(&residues, round: 8, epoch: 7, .int4, chunks: chunks)
        lost = residues.takeLost()
        #expect(lost ?? 0 > 0.1)
    }

    /// An expert that another region contributes has moved by what that one sent: the other chunk owes on.
    @Test func whatAnotherRegionContributesIsDroppedAndSaid() throws {
        var residues = SliceResidues()
        let count = UInt64(Self.count)
        let chunks = [0..<count, count..<2 * count]
        var received: [[Float]] = []
        for position in 0...1 {
            received.append(
                try send(&residues, round: 1, .int4, chunks: chunks, position: position))
        }
        let away = SliceResidues.Departure(
            fragment: FragmentID(0), slice: 1, round: 2, epoch: Epoch(rawValue: 2))
        residues.handOver(1, of: away, range: chunks[0])
        var lost = residues.takeLost()
        #expect(lost == nil, "a slice of other chunks")
        residues.handOver(1, of: away, range: chunks[1])
        lost = residues.takeLost()
        #expect(lost ?? 0 > 0.1)
        residues.handOver(1, of: away, range: chunks[1])
        lost = residues.takeLost()
        #expect(lost == nil, "said once")
        received.append(try send(&residues, round: 2, epoch: 2, .fp32, chunks: chunks))
        #expect(debt([1, 2], [received[0], received[2]]) < 1e-5)
        // It is contributed here again, as if for the first time.
        let back = try send(
            &residues, round: 3, epoch: 3, .fp32, chunks: chunks, position: 1)
        #expect(back == values(3))
    }

    /// A plan leaves out of a round what its first attempt has sent in vain.
    @Test func anAttemptThatIsPassedOverAfterwardsIsDropped() throws {
        var residues = SliceResidues()
        let chunks = [0..<UInt64(Self.count)]
        _ = try send(&residues, round: 1, .int4, chunks: chunks)
        let again = SliceResidues.Departure(
            fragment: FragmentID(0), slice: 1, round: 1, epoch: Epoch(rawValue: 2))
        residues.passOver(again, chunks: { chunks })
        let lost = residues.takeLost()
        #expect(lost ?? 0 > 0.1)
        let next = try send(&residues, round: 2, epoch: 2, .fp32, chunks: chunks)
        #expect(next == values(2))
    }

    /// Of a round begun again only what went out in vain is dropped.
    @Test func aChunkThatWaitsKeepsWhatWasWithheldWhenItsRoundBeginsAgain() throws {
        var residues = SliceResidues()
        let count = UInt64(Self.count)
        let chunks = [0..<count, count..<2 * count]
        var received: [[Float]] = []
        for (round, epoch, position, transform) in [
            (UInt32(1), UInt32(1), 0, TransformID.int4), (1, 1, 1, .int4), (2, 1, 0, .int8),
            (2, 2, 0, .int8), (3, 2, 1, .fp32),
        ] {
            let sent = try send(
                &residues, round: round, epoch: epoch, transform, chunks: chunks, position: position
            )
            if position == 1 { received.append(sent) }
        }
        #expect(debt([1, 3], received) < 1e-5)
        let lost = residues.takeLost()
        #expect(lost ?? 0 > 0)
    }

    @Test func whatMeetsOtherValuesIsDroppedAndSaid() throws {
        for wrong in ["range", "skipped", "again"] {
            var residues = SliceResidues()
            _ = try send(&residues, round: 1, .int4)
            let before = residues.takeLost()
            #expect(before == nil)
            let count = UInt64(Self.count)
            let received =
                switch wrong {
                case "range":
                    try send(&residues, round: 2, epoch: 2, .int4, chunks: [7..<7 + count])
                case "skipped": try send(&residues, round: 3, epoch: 2, .int4)
                default: try send(&residues, round: 1, epoch: 2, .int4)
                }
            let lost = residues.takeLost()
            #expect(lost ?? 0 > 0.1)
            let more = residues.takeLost()
            #expect(more == nil)
            // As if it were the first.
            var fresh = SliceResidues()
            let round: UInt32 = wrong == "range" ? 2 : wrong == "skipped" ? 3 : 1
            let alone = try send(&fresh, round: round, .int4)
            #expect(received == alone)
        }
    }
}
