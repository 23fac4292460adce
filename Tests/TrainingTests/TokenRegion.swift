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
    /// Nobody gets anything from this exchange on.
    var endsAt = Int.max

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
        let plan: UInt32 = 1
        var memberCount: Int { region.count }
        var crossing: TokenCrossing? {
            region.crossings.isEmpty ? nil : region.crossings[me]
        }

        init(_ region: TokenRegion, _ me: Int) {
            self.region = region
            self.me = me
        }

        func send(
            _ batch: TokenBatch, to member: Int, rows: TokenRows, of values: Span<Float>,
            words: [UInt32]
        ) {
            let list: [Int] =
                switch rows {
                case .list(let rows): rows.map { Int($0) }
                case .range(let range): Array(range)
                }
            #expect(words.count == list.count * batch.words)
            var copied: [Float] = []
            for row in list {
                for index in row * batch.width..<(row + 1) * batch.width {
                    copied.append(values[index])
                }
            }
            region.rowsSent += list.count
            region.parcels[[me, member], default: []].append(
                Parcel(batch: batch, values: copied, words: words))
            region.turn.broadcast()
        }

        func receive(
            _ batch: TokenBatch, capacity: Int, into values: SharedFloats, words: inout [UInt32]
        ) throws(TokensInterrupted) -> [TokenArrivals] {
            var found = (0..<memberCount).map { _ in TokenArrivals() }
            for member in 0..<memberCount where member != me {
                if batch.exchange >= region.endsAt { throw TokensInterrupted() }
                while region.parcels[[member, me]]?.isEmpty ?? true { region.turn.wait() }
                guard let parcel = region.parcels[[member, me]]?.removeFirst() else { continue }
                #expect(parcel.batch.exchange == batch.exchange)
                #expect(parcel.batch.isAnswer == batch.isAnswer)
                #expect(parcel.batch.words == batch.words)
                found[member].rows = parcel.values.count / batch.width
                found[member].passes = parcel.batch.passes
                found[member].tokens = parcel.batch.tokens
                let start = member * capacity * batch.width
                values.withMutableSpan(start..<start + parcel.values.count) { target in
                    for index in 0..<target.count { target[index] = parcel.values[index] }
                }
                for (index, word) in parcel.words.enumerated() {
                    words[member * capacity * batch.words + index] = word
                }
            }
            return found
        }
    }
}
