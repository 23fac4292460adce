import Foundation
import Testing
import Training

/// Members of a region as threads of which one runs at a time (Debian's OpenBLAS does not bear two,
/// docs/footguns.md): whoever waits for rows lets another go on. Rows are copied, nothing is encoded.
final class TokenRegion: @unchecked Sendable {
    struct Parcel {
        var batch: TokenBatch
        var values: [Float]
        var words: [UInt32]
    }

    let count: Int
    private let turn = NSCondition()
    /// By sender and receiver.
    private var parcels: [[Int]: [Parcel]] = [:]
    private var rowsSent = 0
    /// By member, where some experts are computed in one region only; empty: nowhere.
    var crossings: [TokenCrossing] = []
    /// Epoch of the plan in force.
    var plan: UInt32 = 1
    /// Nobody gets anything from this exchange on.
    var endsAt = Int.max
    /// Nor any expert's weights.
    var endsAtState = false

    init(_ count: Int) { self.count = count }

    var rows: Int { rowsSent }

    /// Runs every member to its end.
    func run(_ body: @escaping @Sendable (Int, any TokenTransport) -> Void) {
        let ended = DispatchSemaphore(value: 0)
        for me in 0..<count {
            let thread = Thread { [self] in
                turn.lock()
                body(me, Member(self, me))
                turn.unlock()
                ended.signal()
            }
            thread.stackSize = 8 << 20
            thread.start()
        }
        for _ in 0..<count { ended.wait() }
    }

    private final class Member: TokenTransport {
        let region: TokenRegion
        let me: Int
        var plan: UInt32 { region.plan }
        var memberCount: Int { region.count }
        var crossing: TokenCrossing? {
            region.crossings.isEmpty ? nil : region.crossings[me]
        }

        init(_ region: TokenRegion, _ me: Int) {
            self.region = region
            self.me = me
        }

        func send(
            _ batch: TokenBatch, to member: Int, part: Range<Int>, total: Int, words: [UInt32],
            make: (Range<Int>, inout MutableSpan<Float>) -> Void
        ) {
            #expect(words.count == part.count * batch.words)
            #expect(part == 0..<total, "the trainer sends a batch at once")
            // In two ranges, as where rows take more than one frame.
            var made = [Float](repeating: .nan, count: part.count * batch.width)
            let half = part.count / 2
            for range in [0..<half, half..<part.count] where !range.isEmpty {
                var all = made.mutableSpan
                var rows = all._mutatingExtracting(
                    range.lowerBound * batch.width..<range.upperBound * batch.width)
                make(range, &rows)
            }
            region.rowsSent += part.count
            region.parcels[[me, member], default: []].append(
                Parcel(batch: batch, values: made, words: words))
            region.turn.broadcast()
        }

        func receive(
            _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
        ) throws(TokensInterrupted) -> [TokenArrivals] {
            try receive(batch, capacity: capacity) { part, given, rows in
                let start = part.member * capacity * batch.width
                values.withMutableSpan(start..<start + rows.count) { target in
                    for index in 0..<target.count { target[index] = rows[index] }
                }
                for index in given.indices {
                    words[part.member * capacity * batch.words + index] = given[index]
                }
            }
        }

        func receive(
            _ batch: TokenBatch, capacity: Int,
            take: (TokenPart, _ words: Span<UInt32>, _ values: Span<Float>) -> Void
        ) throws(TokensInterrupted) -> [TokenArrivals] {
            var found = (0..<memberCount).map { _ in TokenArrivals() }
            for member in 0..<memberCount where member != me {
                if batch.exchange >= region.endsAt || region.endsAtState && batch.kind == .state {
                    throw TokensInterrupted()
                }
                while region.parcels[[member, me]]?.isEmpty ?? true { region.turn.wait() }
                guard let parcel = region.parcels[[member, me]]?.removeFirst() else { continue }
                #expect(parcel.batch.exchange == batch.exchange)
                #expect(parcel.batch.kind == batch.kind)
                #expect(parcel.batch.words == batch.words)
                found[member].rows = parcel.values.count / batch.width
                found[member].passes = parcel.batch.passes
                found[member].tokens = parcel.batch.tokens
                take(
                    TokenPart(
                        member: member, rows: 0..<found[member].rows, total: found[member].rows),
                    parcel.words.span, parcel.values.span)
            }
            return found
        }
    }
}
