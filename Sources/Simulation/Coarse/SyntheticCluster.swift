package import ClusterModel

/// Clusters of any size for measurements of scale: unlike regions, unlike workers, unlike links, the
/// same for the same arguments.
package enum SyntheticCluster {
    /// - Parameters:
    ///   - workers: of the whole pool; regions get between half and one and a half of their share.
    ///   - rate: bits per second of a link; each has between half of it and one and a half.
    ///   - distance: kilometres between two regions, on average; 7.5 us per km of it, for a route
    ///     longer than the fibre.
    package static func topology(
        workers: Int, regions: Int, rate: UInt64, distance: Double, seed: UInt64
    ) -> Topology {
        precondition(regions > 0 && workers >= regions)
        var dice = SeededGenerator(seed: seed ^ 0x7379_6e74)
        let sizes = sizes(workers, regions, &dice)
        let made = sizes.enumerated().map { region, count in
            // One generation of machines in each region.
            let step = 150 + Int64(dice.integer(below: 101))
            return Topology.Region(
                name: "region-\(region + 1)",
                workers: (0..<count).map { index in
                    Topology.Worker(
                        name: "region-\(region + 1)-\(index + 1)",
                        microBatch: 2 + Int(dice.integer(below: 7)),
                        nominalStep: .milliseconds(step))
                })
        }
        var links: [Topology.Link] = []
        for a in 0..<regions {
            for b in a + 1..<max(a + 1, regions) {
                let kilometres = distance * (0.5 + Double(dice.uniform()))
                let share = 0.5 + Double(dice.uniform())
                links.append(
                    Topology.Link(
                        a: RegionID(a), b: RegionID(b), distanceKilometres: kilometres,
                        oneWayDelay: Interval(seconds: kilometres * 7.5e-6),
                        rate: UInt64(Double(rate) * share), jitter: .zero, queueBytes: 4 << 20))
            }
        }
        return Topology(regions: made, links: links, coordinatorRegion: RegionID(0))
    }

    /// At least one each, `workers` together.
    private static func sizes(
        _ workers: Int, _ regions: Int, _ dice: inout SeededGenerator
    ) -> [Int] {
        let weights = (0..<regions).map { _ in 0.5 + Double(dice.uniform()) }
        let sum = weights.reduce(0, +)
        var taken = 0
        var weight = 0.0
        return weights.enumerated().map { region, own in
            weight += own
            let left = regions - 1 - region
            let upTo = region == regions - 1 ? workers : Int(Double(workers) * weight / sum)
            let size = max(1, min(upTo - taken, workers - taken - left))
            taken += size
            return size
        }
    }

    /// DiLoCo every `syncEvery` steps over regions that share every step; 86 million parameters.
    package static func configuration(
        seed: UInt64, rounds: UInt32, syncEvery: UInt32 = 10
    ) -> RunConfiguration {
        RunConfiguration(
            name: "synthetic", seed: seed, steps: rounds * syncEvery,
            model: RunConfiguration.Model(
                width: 768, layers: 12, heads: 12, context: 512, tiedHead: false),
            training: .standard,
            schedule: RunConfiguration.Schedule(
                inner: .everyStep, outer: .diloco, syncEvery: syncEvery, outerLearningRate: 0.7,
                outerMomentum: 0.9),
            wire: RunConfiguration.Wire(insideRegion: .bf16, betweenRegions: .int8),
            deadlines: .standard, data: .gcide)
    }
}
