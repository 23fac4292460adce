internal import ClusterModel

/// The figures themselves, once all events are in.
extension SummaryBuilder {
    /// - Throws: ``RunSummaryError`` when the run's start was not among the events.
    package func summary() throws(RunSummaryError) -> RunSummary {
        guard let start else { throw .noStart(events: eventCount) }
        let window = trainingWindow
        let training = window.end - window.start
        let ordered = workers.sorted { $0.key < $1.key }
        let tallies = ordered.map(\.value)
        let curves = CurveBuilder(tallies)
        let linkFigures = links(start, training: training)
        let outer = linkFigures.filter { !$0.isInsideRegion }
        let loss = lossFigures(curves, tallies, regions: start.topology.regions)
        let busiest = outer.map { Double($0.relayBytes ?? $0.laneBytes) }.max()
        let perRound = busiest.flatMap {
            rounds.outerCount > 0 ? $0 / Double(rounds.outerCount) : nil
        }
        let roundFigures = rounds.finish(bytesPerRoundBusiest: perRound)
        let seats = start.topology.seats.map(\.worker)
        let poolFigures = pool(window, tallies: tallies, links: outer)
        return RunSummary(
            formatVersion: RunSummary.formatVersion, identity: identity(start),
            setup: RunSummary.Setup(start), outcome: outcome,
            pool: poolFigures,
            regions: regions(start.topology, tallies, training: training, loss: loss),
            workers: ordered.map { workerFigures($0.key, $0.value, seats) },
            metering: metering(start.topology),
            links: linkFigures, tensorClasses: classes.figures,
            experts: expertFigures(
                start, curves, tokens: poolFigures.tokens,
                laneBytes: poolFigures.bytesBetweenRegionsLanes),
            relayed: relayed.figures { name(of: $0) }, loss: loss, rounds: roundFigures,
            counts: log.counts,
            incidents: log.incidents.sorted { $0.seconds < $1.seconds },
            peakMemory: memory.sorted { $0.key < $1.key }
                .map { .init(process: $0.key, peakBytes: $0.value) },
            similarity: similarity(
                start, links: outer, rounds: roundFigures, training: training, tallies: tallies),
            fullScaleSimilarity: SimilarityRatios.FullScale.ratios,
            definitions: RunSummary.Definition.all)
    }

    private func identity(_ start: RunEvent.RunStarted) -> RunSummary.Identity {
        RunSummary.Identity(
            run: hexadecimal(start.run.rawValue), name: start.configuration.name,
            version: start.version, command: start.command, seed: start.configuration.seed,
            machine: start.machine, kernels: kernels, curve: start.curve,
            emulated: start.emulated, emulation: start.emulation,
            simulated: start.simulated,
            coordinatorStarts: coordinatorStarts)
    }

    private var outcome: RunSummary.Outcome {
        guard let end else {
            return .init(
                isComplete: false, exitCode: nil,
                reason:
                    "the log stops at \(Figures.duration(lastSeconds)) without the run's end: the "
                    + "run is still going on, or its coordinator was killed; all figures are up to "
                    + "there", models: models)
        }
        return .init(isComplete: true, exitCode: end.code, reason: end.reason, models: models)
    }

    /// From the start of the first step, which the budgets tell, to the last step or commit.
    private var trainingWindow: (start: Double, end: Double) {
        let steps = workers.values.flatMap { $0.steps.values.map(\.seconds) }
        let end = max(steps.max() ?? 0, rounds.lastSeconds ?? 0)
        let start =
            workers.values.compactMap(\.startSeconds).min() ?? epochStart ?? steps.min() ?? end
        return (min(start, end), end)
    }

    private func pool(
        _ window: (start: Double, end: Double), tallies: [WorkerTally],
        links outer: [RunSummary.Link]
    ) -> RunSummary.Pool {
        let tokens = tallies.reduce(0) { saturatingSum($0, $1.tokens) }
        let relay = outer.compactMap(\.relayBytes)
        return RunSummary.Pool(
            wallSeconds: lastSeconds - (firstSeconds ?? 0), trainingStartSeconds: window.start,
            trainingSeconds: window.end - window.start,
            lastStep: tallies.map(\.lastStep).max() ?? 0, tokens: tokens,
            repeatedTokens: tallies.reduce(0) { saturatingSum($0, $1.repeatedTokens) },
            tokensPerSecond: ratio(Double(tokens), window.end - window.start),
            computeUtilisation: utilisation(tallies),
            steadyTokensPerSecond: steadyRate,
            steadyComputeUtilisation: steadyUtilisation,
            bytesBetweenRegionsRelay: relay.isEmpty ? nil : relay.reduce(0, saturatingSum),
            bytesBetweenRegionsLanes: outer.reduce(0) { saturatingSum($0, $1.laneBytes) },
            coreShare: coreShare(tallies))
    }

    private func coreShare(_ tallies: [WorkerTally]) -> Double? {
        guard let cores = start?.sharedCores, cores > 0 else { return nil }
        let shares = tallies.compactMap { $0.budget?.total }.map { budget in
            ratio(budget.coreSeconds, budget.wall.seconds) ?? 0
        }
        return shares.isEmpty ? nil : shares.reduce(0, +) / Double(cores)
    }

    /// Sum of compute / sum of wall over the trainer threads.
    private func utilisation(_ tallies: [WorkerTally]) -> Double? {
        let budgets = tallies.compactMap { $0.budget?.total }
        let wall = budgets.reduce(0) { $0 + $1.wall.seconds }
        return ratio(budgets.reduce(0) { $0 + $1.compute.seconds }, wall)
    }

    /// Of every worker, its steps after the first: where rounds block, whole rounds of them, else all. Nil if
    /// one has none, or where rounds block and their steps change as the run goes.
    private var steadyStretches: [(tally: WorkerTally, stretch: WorkerTally.Stretch)]? {
        guard let start else { return nil }
        let blocks =
            switch start.configuration.schedule.outer {
            case .localSGD, .diloco: true
            // Steps are alike. Events can be late behind bulk on a link: the longest stretch is best.
            case .everyStep, .streaming, .decoupled: false
            }
        guard !blocks || start.configuration.schedule.localSteps != .measured else { return nil }
        let paces = LocalSteps.perSeat(start.configuration.schedule, start.topology)
        let all = workers.sorted { $0.key < $1.key }
        let found = all.compactMap { id, tally in
            let seat = Int(id.rawValue)
            let every = blocks && paces.indices.contains(seat) ? paces[seat] : 1
            return tally.steadyStretch(every: every)
                .map { (tally, $0) }
        }
        return found.count == all.count ? found : nil
    }

    /// Tokens of those rounds, between the first beginning and the last end.
    private var steadyRate: Double? {
        guard let stretches = steadyStretches?.map(\.stretch),
            let first = stretches.map(\.seconds.lowerBound).min(),
            let last = stretches.map(\.seconds.upperBound).max()
        else { return nil }
        return ratio(stretches.reduce(0.0) { $0 + Double($1.tokens) }, last - first)
    }

    /// Compute of their steps, at each worker's mean per step, over their time.
    private var steadyUtilisation: Double? {
        guard let found = steadyStretches else { return nil }
        var compute = 0.0
        var wall = 0.0
        for (tally, stretch) in found {
            guard let total = tally.budget?.total, tally.repeatedTokens == 0 else { return nil }
            compute += total.compute.seconds * Double(stretch.steps) / Double(tally.steps.count)
            wall += stretch.seconds.upperBound - stretch.seconds.lowerBound
        }
        return ratio(compute, wall)
    }

    private func ratio(_ value: Double, _ base: Double) -> Double? {
        base > 0 ? value / base : nil
    }

    private func regions(
        _ topology: Topology, _ all: [WorkerTally], training: Double, loss: RunSummary.Loss
    ) -> [RunSummary.Region] {
        topology.regions.enumerated().map { index, region in
            let tallies = all.filter { $0.region == RegionID(index) }
            let tokens = tallies.reduce(0) { saturatingSum($0, $1.tokens) }
            let lastStep = tallies.map(\.lastStep).max() ?? 0
            return RunSummary.Region(
                name: region.name, workers: region.workers.count, tokens: tokens,
                tokensPerSecond: ratio(Double(tokens), training),
                computeUtilisation: utilisation(tallies),
                finalTrainingLoss: CurveBuilder.finalLoss(tallies, lastStep: lastStep),
                finalValidationLoss: topology.regions.count == 1
                    ? loss.finalValidationLoss
                    : loss.validation.first { $0.region == region.name }?.points.last?.loss)
        }
    }

    private func workerFigures(
        _ id: WorkerID, _ tally: WorkerTally, _ seats: [Topology.Worker]
    ) -> RunSummary.Worker {
        let seat = seats.indices.contains(Int(id.rawValue)) ? seats[Int(id.rawValue)] : nil
        let budget = tally.budget?.total
        return RunSummary.Worker(
            id: id.rawValue, name: tally.name, region: regionName(tally.region),
            microBatch: seat?.microBatch ?? 0, nominalStepSeconds: seat?.nominalStep.seconds ?? 0,
            incarnations: tally.incarnations.count, lastStep: tally.lastStep, tokens: tally.tokens,
            tokensPerSecond: ratio(Double(tally.tokens), budget?.wall.seconds ?? 0),
            computeUtilisation: utilisation([tally]),
            finalTrainingLoss: CurveBuilder.finalLoss([tally], lastStep: tally.lastStep),
            budget: budget.map { RunSummary.Budget($0) },
            state: tally.incarnations.isEmpty ? "never joined" : tally.state)
    }

    func regionName(_ id: RegionID) -> String {
        guard let regions = start?.topology.regions, regions.indices.contains(id.index) else {
            return "region \(id.rawValue)"
        }
        return regions[id.index].name
    }

    private func lossFigures(
        _ curves: CurveBuilder, _ tallies: [WorkerTally], regions: [Topology.Region]
    ) -> RunSummary.Loss {
        var training = [curves.training(region: nil, name: nil)]
        var validation = [curves.validation(tallies, name: nil)]
        if regions.count > 1 {
            for (index, region) in regions.enumerated() {
                let id = RegionID(index)
                let members = tallies.filter { $0.region == id }
                training.append(curves.training(region: id, name: region.name))
                validation.append(curves.validation(members, name: region.name))
            }
        }
        let lastStep = tallies.map(\.lastStep).max() ?? 0
        return RunSummary.Loss(
            finalTrainingLoss: CurveBuilder.finalLoss(tallies, lastStep: lastStep),
            finalTrainingSteps: min(RunSummary.finalLossSteps, Int(lastStep)),
            finalValidationLoss: validation[0].points.last?.loss,
            finalValidationStep: validation[0].points.last?.step, training: training,
            validation: validation)
    }
}
