import NodeRuntime
import Testing

/// What the share of a link is counted from: bytes of several series while all of them run.
@Suite("Marks of exchanges") struct ExchangeMarksTests {
    private func marks(_ pairs: [(Double, UInt64)]) -> [ExchangeResult.Mark] {
        pairs.map { ExchangeResult.Mark(time: $0.0, bytesAcross: $0.1) }
    }

    @Test("only the time in which all series are under way counts")
    func together() {
        let early = marks([(1, 100), (2, 300), (3, 300), (5, 700)])
        let late = marks([(2.5, 0), (4, 600), (7, 900)])
        #expect([early, late].together == 2.5...5)
        #expect([early].together == 1...5)
        #expect([early, marks([(5, 0), (9, 1)])].together == nil)
        #expect([early, []].together == nil)
    }

    @Test("bytes between two marks are in proportion to time, and none are made up outside")
    func bytes() {
        let series = marks([(1, 100), (2, 300), (3, 300), (5, 700)])
        #expect(series.bytesAcross(within: 1...5) == 600)
        #expect(series.bytesAcross(within: 1.5...4) == 300)
        #expect(series.bytesAcross(within: 2...3) == 0)
        #expect(series.bytesAcross(within: 0...9) == 600)
        #expect(marks([]).bytesAcross(within: 0...9) == 0)
    }
}
