import ClusterModel
import Testing

@Suite struct OwnerSharesTests {
    private func weights(
        _ rates: [[UInt64]], members: [Int], replicas: [Int]? = nil
    ) -> [Double] {
        let found = OwnerShares.memberWeights(
            members: members, replicas: replicas ?? members.map { min($0, 1) }
        ) { rates[$0][$1] }
        let owned = zip(found, members).map { Double($0) * Double($1) }
        let all = owned.reduce(0, +)
        return owned.map { $0 / all }
    }

    private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
        zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 }
    }

    /// Beijing, Chengdu, Guangzhou of Cluster/three-regions.yaml: 50, 30 and 10 Mbit/s. The pair with 10
    /// shares a quarter, the pair with 30 three quarters; their sum is everything.
    @Test func theRegionBehindTheSlowestLinksOwnsNothing() {
        let rates: [[UInt64]] = [[0, 50, 30], [50, 0, 10], [30, 10, 0]]
        #expect(isClose(weights(rates, members: [2, 1, 1]), [0.75, 0.25, 0]))
    }

    /// f_k = 1 - 2 r_ij / sum of rates, where none is negative.
    @Test func threeRegionsOfSimilarLinks() {
        let rates: [[UInt64]] = [[0, 40, 30], [40, 0, 20], [30, 20, 0]]
        let expected = [1 - 40.0 / 90, 1 - 60.0 / 90, 1 - 80.0 / 90]
        #expect(isClose(weights(rates, members: [2, 2, 2]), expected))
    }

    @Test func nothingChangesWhereNothingIsGained() {
        // Two regions send each other the same whatever the split; equal links want equal parts.
        #expect(isClose(weights([[0, 9], [9, 0]], members: [3, 1]), [0.75, 0.25]))
        let even: [[UInt64]] = [[0, 7, 7], [7, 0, 7], [7, 7, 0]]
        #expect(isClose(weights(even, members: [2, 2, 2]), [1 / 3.0, 1 / 3.0, 1 / 3.0]))
        let unlimited = [[UInt64]](repeating: [0, 0, 0], count: 3)
        #expect(isClose(weights(unlimited, members: [4, 1, 1]), [4 / 6.0, 1 / 6.0, 1 / 6.0]))
    }

    @Test func aRegionWithoutMembersOwnsNothingAndCountsForNothing() {
        let rates: [[UInt64]] = [[0, 1, 9, 9], [1, 0, 1, 1], [9, 1, 0, 9], [9, 1, 9, 0]]
        #expect(isClose(weights(rates, members: [2, 0, 2, 2]), [1 / 3.0, 0, 1 / 3.0, 1 / 3.0]))
    }

    /// Against a search over a grid: no split has a slowest link that is faster by more than the threshold
    /// below which shares stay equal.
    @Test func noOtherSplitIsFaster() {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<30 {
            let members = (0..<3).map { _ in 1 + Int(generator.integer(below: 3)) }
            let replicas = generator.integer(below: 2) == 0 ? [1, 1, 1] : members
            var rates = [[UInt64]](repeating: [0, 0, 0], count: 3)
            for i in 0..<3 {
                for j in (i + 1)..<3 {
                    rates[i][j] = 1 + generator.integer(below: 40)
                    rates[j][i] = rates[i][j]
                }
            }
            func slowest(_ f: [Double]) -> Double {
                var worst = 0.0
                for i in 0..<3 {
                    for j in (i + 1)..<3 {
                        let values = Double(replicas[i]) * f[j] + Double(replicas[j]) * f[i]
                        worst = max(worst, values / Double(rates[i][j]))
                    }
                }
                return worst
            }
            let found = slowest(weights(rates, members: members, replicas: replicas))
            var best = Double.infinity
            for a in 0...50 {
                for b in 0...(50 - a) {
                    best = min(
                        best,
                        slowest([Double(a) / 50, Double(b) / 50, Double(50 - a - b) / 50]))
                }
            }
            #expect(found <= 1.05001 * best)
        }
    }
}
