import ClusterModel
import Testing

/// The pure rules by which plans follow rates.
struct AdaptationTests {
    // MARK: Micro-batches

    @Test(arguments: [
        (8, [1.0, 1.0], [4, 4]), (8, [3.0, 1.0], [6, 2]), (10, [1.0, 0.6, 0.35], [5, 3, 2]),
        // The slowest one gets one sample, whatever that costs.
        (4, [100.0, 100, 100, 1], [1, 1, 1, 1]), (5, [100.0, 100, 100, 1], [2, 1, 1, 1]),
        (7, [1.0], [7]),
    ])
    func samplesGoWhereTheyAreDoneFirst(total: Int, rates: [Double], expected: [Int]) {
        #expect(MicroBatches.split(total, rates: rates) == expected)
    }

    /// Against every split of small cases.
    @Test func noSplitIsFaster() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<200 {
            let rates = (0..<3).map { _ in 0.05 + Double(generator.uniform()) }
            let total = 3 + Int(generator.integer(below: 12))
            let parts = MicroBatches.split(total, rates: rates)
            #expect(parts.reduce(0, +) == total && parts.allSatisfy { $0 >= 1 })
            var best = Double.infinity
            for a in 1...(total - 2) {
                for b in 1...(total - a - 1) {
                    best = min(best, MicroBatches.seconds([a, b, total - a - b], rates: rates))
                }
            }
            let found = MicroBatches.seconds(parts, rates: rates)
            #expect(found <= best * (1 + 1e-12), "\(rates) \(total): \(parts)")
        }
    }

    // MARK: The codec of a link

    private func codec(_ rate: UInt64, available: Double, most: TransformID = .fp32) -> LinkCodec {
        LinkCodec(
            values: 1_000_000, bitsPerSecond: rate, roundTripSeconds: 0.03, available: available,
            most: most)
    }

    @Test func theMostPreciseThatFitsIsTaken() {
        // A million values: 32, 16, 8.125 and 4.125 Mbit and 30 ms.
        #expect(codec(100_000_000, available: 0.36).transform == .fp32)
        #expect(codec(100_000_000, available: 0.34).transform == .bf16)
        #expect(codec(100_000_000, available: 0.18).transform == .int8)
        #expect(codec(100_000_000, available: 0.10).transform == .int4)
        let none = codec(100_000_000, available: 0.05)
        #expect(none.transform == .int4 && !none.fits)
        #expect(none.reason.contains("even int4 takes 71.3 ms"))
        #expect(codec(0, available: 0).transform == .fp32)
        #expect(codec(100_000_000, available: 9, most: .int8).transform == .int8)
        #expect(codec(100_000_000, available: 0.18).reason.contains("bf16 would take 190 ms"))
    }

    /// The case of the issue: a link falls from 200 to 20 Mbit/s.
    @Test func aSlowerLinkWantsASmallerTransform() {
        #expect(codec(200_000_000, available: 0.25).transform == .fp32)
        #expect(codec(20_000_000, available: 0.25).transform == .int4)
    }
}
