import Testing
import Training

@Suite("Placing experts by their loads")
struct SpreadStateTests {
    private func state(members: Int = 2) -> SpreadState {
        SpreadState(ExpertShape(count: 8, width: 16), layers: 2, plan: 1, members: members)
    }

    private func use(_ block: Int, hot: [Int]) -> [ExpertUse] {
        (0..<2).map { layer in
            let shares = (0..<8).map { layer == block && hot.contains($0) ? Float(0.4) : 0.1 }
            let sum = shares.reduce(0, +)
            return ExpertUse(shares: shares.map { $0 / sum }, dropped: 0)
        }
    }

    @Test("experts that run hot together are parted, in the block where they do")
    func parts() throws {
        let state = state()
        #expect(state.holders == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
        for _ in 0..<5 { state.add(use(0, hot: [0, 1])) }
        #expect(state.steps == 5)
        let placement = try #require(state.place().placement)
        #expect(placement.steps == 5)
        // (0.4 + 0.4 + 0.1 + 0.1) of 1.4 on one of two, in one of two blocks; then 0.7 each.
        #expect(abs(placement.before - (2 * 1.0 / 1.4 + 1) / 2) < 1e-6)
        #expect(abs(placement.after - 1) < 1e-6)
        #expect(state.holders[0][0] != state.holders[0][1])
        #expect(state.holders[1] == [0, 0, 0, 0, 1, 1, 1, 1])
        for block in state.holders {
            #expect((0..<2).map { member in block.count { $0 == member } } == [4, 4])
        }
        #expect(state.steps == 0)
    }

    @Test("loads that drift are followed, and every member decides alike")
    func drift() throws {
        let (a, b) = (state(members: 3), state(members: 3))
        var gains: [Double] = []
        for hot in [[0, 1], [2, 3], [6, 7], [0, 7]] {
            var reports: [ExpertSpreadReport] = []
            for state in [a, b] {
                for _ in 0..<3 { state.add(use(1, hot: hot)) }
                reports.append(state.place())
            }
            #expect(reports[0] == reports[1])
            let placement = try #require(reports[0].placement)
            #expect(placement.after <= placement.before)
            gains.append(placement.before - placement.after)
        }
        #expect(gains.contains { $0 > 0.1 })
    }

    @Test("what is in balance stays where it is")
    func stays() throws {
        let state = state()
        state.add(use(0, hot: []))
        let report = state.place()
        #expect(report.holders == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
        #expect(abs(try #require(report.placement).before - 1) < 1e-6)
    }
}
