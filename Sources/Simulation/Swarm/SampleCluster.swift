package import ClusterModel

/// Small clusters for scenarios and swarm seeds.
package enum SampleCluster {
    /// `workers[r]` workers in region r, all pairs of regions linked alike.
    package static func topology(
        workers: [Int], oneWay: Interval = .milliseconds(15), rate: UInt64 = 1_000_000_000,
        jitter: Interval = .zero, step: Interval = .milliseconds(100), microBatches: [Int] = [2],
        queueBytes: Int? = nil
    ) -> Topology {
        var seat = 0
        let regions = workers.enumerated().map { region, count in
            Topology.Region(
                name: "r\(region)",
                workers: (0..<count).map { index in
                    defer { seat += 1 }
                    return Topology.Worker(
                        name: "r\(region)w\(index)",
                        microBatch: microBatches[seat % microBatches.count], nominalStep: step)
                })
        }
        var links: [Topology.Link] = []
        for a in workers.indices {
            for b in workers.indices where a < b {
                links.append(
                    Topology.Link(
                        a: RegionID(a), b: RegionID(b), distanceKilometres: 1_500,
                        oneWayDelay: oneWay, rate: rate, jitter: jitter,
                        queueBytes: queueBytes
                            ?? Topology.Link.usualQueueBytes(rate: rate, oneWayDelay: oneWay)))
            }
        }
        return Topology(regions: regions, links: links, coordinatorRegion: RegionID(0))
    }

    package static func configuration(
        seed: UInt64, steps: UInt32, inner: RunConfiguration.Schedule.Inner,
        outer: RunConfiguration.Schedule.Outer, syncEvery: UInt32, minimumWorkers: Int = 1,
        fragments: Int = 1, overlap: UInt32 = 0, experts: Int = 0
    ) -> RunConfiguration {
        var training = RunConfiguration.Training.standard
        training.learningRate = 0.01
        training.checkpointEvery = 1
        training.evaluateEvery = 4
        var deadlines = RunConfiguration.Deadlines.standard
        deadlines.minimumWorkers = minimumWorkers
        var model = RunConfiguration.Model.standard
        model.layers = max(model.layers, fragments)
        if experts > 0 { model.experts = .init(count: experts, width: 8) }
        let isMean = outer == .everyStep || outer == .localSGD
        return RunConfiguration(
            name: "simulated", seed: seed, steps: steps, model: model, training: training,
            schedule: RunConfiguration.Schedule(
                inner: inner, outer: outer, syncEvery: syncEvery,
                outerLearningRate: isMean ? 1 : 0.7, outerMomentum: isMean ? 0 : 0.9,
                fragments: fragments, overlap: overlap, blend: outer == .streaming ? 0.5 : 0,
                closing: outer == .decoupled
                    ? ClosingRules(
                        quorum: 1, graceFactor: 3_000, graceMost: .milliseconds(200),
                        lateWeight: 500) : nil),
            wire: RunConfiguration.Wire(insideRegion: .fp32, betweenRegions: .fp32),
            deadlines: deadlines, data: .gcide)
    }
}
