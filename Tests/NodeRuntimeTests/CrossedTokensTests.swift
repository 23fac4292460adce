import ClusterModel
import NodeRuntime
import Testing
import Training

@Suite("Tokens that crossed") struct CrossedTokensTests {
    private func crossing(_ owners: [[Int?]]) -> TokenCrossing {
        TokenCrossing(owners: owners, region: 0, servers: [nil, 1], budgets: [0, 9])
    }

    @Test("a step counts once, and only where an expert has an owner")
    func counts() {
        var tokens = CrossedTokens()
        var counts = CrossingCounts(wanted: [3, 1], crossed: [0, 2])
        (counts.stayed, counts.changed) = (1, 1)
        tokens.note(counts, 1, crossing([[nil, nil]]), tokens: 8)
        #expect(tokens.total == nil)
        tokens.note(counts, 2, crossing([[nil, 1]]), tokens: 8)
        tokens.note(counts, 2, crossing([[nil, 1]]), tokens: 8)
        tokens.note(counts, 3, nil, tokens: 8)
        tokens.note(counts, 3, crossing([[nil, 1]]), tokens: 8)
        var expected = RunEvent.TokensCrossed(regions: 2)
        (expected.steps, expected.tokens, expected.crossed) = (2, 16, [0, 4])
        (expected.stayed, expected.changed) = (2, 2)
        #expect(tokens.total == expected)
    }
}
