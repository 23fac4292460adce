internal import ClusterModel

/// Links and the similarity ratios of a run.
extension SummaryBuilder {
    func links(_ start: RunEvent.RunStarted, training: Double) -> [RunSummary.Link] {
        var directions = links.directions
        for link in start.topology.links {
            directions.insert(Direction(from: link.a, to: link.b))
            directions.insert(Direction(from: link.b, to: link.a))
        }
        return directions.sorted { a, b in
            let (insideA, insideB) = (a.from == a.to, b.from == b.to)
            return insideA == insideB ? a < b : insideB
        }.map { figures($0, start, training: training) }
    }

    private func figures(
        _ direction: Direction, _ start: RunEvent.RunStarted, training: Double
    ) -> RunSummary.Link {
        let isInside = direction.from == direction.to
        let link =
            isInside ? nil : start.topology.link(between: direction.from, and: direction.to)
        let relay = links.relayCount(direction)
        let lanes = links.laneCount(direction)
        let rate = link.flatMap { $0.rate > 0 ? $0.rate : nil }
        let series = links.series(direction)
        let mean = training > 0 ? Double(relay?.bytes ?? lanes.bytes) * 8 / training : nil
        return RunSummary.Link(
            from: regionName(direction.from), to: regionName(direction.to),
            distanceKilometres: link.flatMap {
                $0.distanceKilometres > 0 ? $0.distanceKilometres : nil
            },
            rateBitsPerSecond: rate, oneWaySeconds: link?.oneWayDelay.seconds,
            roundTripSeconds: link.map { 2 * $0.oneWayDelay.seconds }, relayBytes: relay?.bytes,
            relayFlows: relay?.flows, peakQueueBytes: links.peakQueue(direction),
            lanesPerPair: links.lanesPerPair(direction).map { Int($0.lanes) },
            lanesBecause: links.lanesPerPair(direction)?.because,
            laneBytes: lanes.bytes, laneFrames: lanes.frames, resentFrames: lanes.resent,
            values: lanes.values, encodedBytes: lanes.encodedBytes,
            bitsPerValue: lanes.values > 0
                ? Double(lanes.encodedBytes) * 8 / Double(lanes.values) : nil,
            meanBitsPerSecond: mean,
            meanUse: mean.flatMap { mean in rate.map { mean / Double($0) } },
            series: series.samples, seriesSource: series.source)
    }

    /// Measured: bytes per committed round of the direction that is fullest, time between rounds,
    /// and mean step time.
    func similarity(
        _ start: RunEvent.RunStarted, links outer: [RunSummary.Link], rounds: RunSummary.Rounds,
        training: Double, tallies: [WorkerTally]
    ) -> SimilarityRatios {
        var fill: Double?
        if rounds.committed > 0, training > 0 {
            // bytes per round / (rate x time between rounds) = bytes / (rate x training time)
            fill = outer.compactMap { link -> Double? in
                guard let rate = link.rateBitsPerSecond else { return nil }
                return Double(link.relayBytes ?? link.laneBytes) * 8 / (Double(rate) * training)
            }.max()
        }
        let lastStep = tallies.map(\.lastStep).max() ?? 0
        let compute = tallies.compactMap { tally -> Double? in
            guard let budget = tally.budget?.total, tally.lastStep > 0 else { return nil }
            return budget.compute.seconds / Double(tally.lastStep)
        }
        let step =
            compute.isEmpty
            ? (lastStep > 0 ? training / Double(lastStep) : nil)
            : compute.reduce(0, +) / Double(compute.count)
        let roundTrip = outer.compactMap(\.roundTripSeconds).max()
        var perStep: Double?
        if let roundTrip, let step, step > 0 { perStep = roundTrip / step }
        return SimilarityRatios(linkFill: fill, roundTripPerStep: perStep)
    }
}

extension RunSummary.Setup {
    init(_ start: RunEvent.RunStarted) {
        let configuration = start.configuration
        let regions = start.topology.regions
        let coordinator = start.topology.coordinatorRegion.index
        self.init(
            steps: configuration.steps, parameterCount: start.parameterCount,
            width: configuration.model.width, layers: configuration.model.layers,
            heads: configuration.model.heads, contextTokens: configuration.model.context,
            innerSchedule: configuration.schedule.inner.rawValue,
            outerSchedule: configuration.schedule.outer.rawValue,
            syncEverySteps: configuration.schedule.syncEvery,
            outerLearningRate: configuration.schedule.outerLearningRate,
            outerMomentum: configuration.schedule.outerMomentum,
            overlaps: OverlapChoice(
                configuration, start.topology, values: start.parameterCount
            ).map { OverlapChoice.lines($0.replicas) },
            wireInside: "\(configuration.wire.insideRegion)",
            wireBetween: configuration.wire.choosesBetween == true
                ? "auto" : "\(configuration.wire.betweenRegions)",
            coordinatorRegion: regions.indices.contains(coordinator)
                ? regions[coordinator].name : "",
            dataPath: configuration.model.synthetic == nil ? configuration.data.path : "none",
            synthetic: configuration.model.synthetic == nil ? nil : true)
    }
}
