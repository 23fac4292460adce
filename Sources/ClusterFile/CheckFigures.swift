internal import ClusterModel

extension CheckReport {
    /// The plan that `file` comes to. Pure: the same file, the same figures.
    package init(_ file: ClusterFile, path: String) {
        let configuration = file.configuration
        let topology = file.topology
        let schedule = configuration.schedule
        let context = UInt64(configuration.model.context)
        let local = LocalSteps.perSeat(schedule, topology)
        let regions = topology.regions.enumerated().map { index, region in
            let seat = topology.seats.firstIndex { $0.region == RegionID(index) } ?? 0
            return Region(region, context: context, stepsPerRound: local[seat])
        }
        let tokensPerStep = regions.reduce(0) { $0 + $1.tokensPerStep }
        let traffic = TrafficPlan(file)
        let rounds = configuration.steps / schedule.syncEvery
        var links = Self.links(topology, traffic: traffic, rounds: UInt64(rounds))
        let step =
            regions.allSatisfy { $0.stepSeconds != nil }
            ? regions.compactMap(\.stepSeconds).max() : nil
        let absent = Self.whyNoPrediction(topology, step: step)
        links = Self.withTokens(links, file)
        if let step {
            links = Self.withCodecs(links, file, traffic: traffic, step: step)
        }
        self.init(
            file: path, name: configuration.name, seed: configuration.seed,
            seedIsGiven: file.seedIsGiven, parameterCount: configuration.model.parameterCount,
            model: configuration.model, steps: configuration.steps,
            warmupSteps: configuration.training.warmupSteps, tokensPerStep: tokensPerStep,
            tokens: tokensPerStep * UInt64(configuration.steps),
            dataPath: configuration.data.path,
            coordinatorRegion: topology.regions[topology.coordinatorRegion.index].name,
            regions: regions, devices: Self.devices(topology),
            innerSchedule: schedule.inner.rawValue,
            outerSchedule: schedule.outer.rawValue,
            replicas: schedule.inner == .everyStep ? regions.count : topology.seats.count,
            syncEverySteps: schedule.syncEvery, outerLearningRate: schedule.outerLearningRate,
            outerMomentum: schedule.outerMomentum, rounds: rounds,
            fragments: schedule.fragments,
            wireInside: "\(configuration.wire.insideRegion)",
            wireBetween: configuration.wire.choosesBetween == true
                ? "auto" : "\(configuration.wire.betweenRegions)",
            bytesPerValueBetween: traffic.bytesPerValue,
            bytesPerRound: links.reduce(0) { $0 + $1.bytesPerRound }, links: links,
            streaming: Self.streaming(file, links: links, step: step),
            experts: Self.experts(file, regions, links),
            decoupled: Self.decoupled(file, regions: regions),
            prediction: absent == nil
                ? Self.predict(file, links: links, regions: regions) : nil,
            predictionAbsent: absent,
            similarity: Self.similarity(links, step: step, syncEvery: schedule.syncEvery),
            fullScaleSimilarity: SimilarityRatios.FullScale.ratios,
            notes: Self.notes(file, regions: regions))
    }

    private static func experts(
        _ file: ClusterFile, _ regions: [Region], _ links: [Link]
    ) -> ExpertTraffic? {
        let configuration = file.configuration
        guard let experts = configuration.model.experts, regions.count > 1,
            configuration.schedule.outer != .everyStep
        else { return nil }
        return ExpertTraffic(
            model: configuration.model, experts: experts,
            syncEvery: configuration.schedule.syncEvery,
            bytesPerRound: links.reduce(0) { $0 + $1.bytesPerRound },
            tokensPerStep: regions.map(\.tokensPerStep), workers: regions.map(\.workers))
    }

    private static func devices(_ topology: Topology) -> [DeviceUse] {
        var uses: [DeviceUse] = []
        for device in topology.seats.compactMap(\.worker.device) {
            if let index = uses.firstIndex(where: { $0.device == device }) {
                uses[index].workers += 1
            } else {
                uses.append(DeviceUse(device: device, workers: 1))
            }
        }
        return uses
    }

    private static func links(
        _ topology: Topology, traffic: TrafficPlan, rounds: UInt64
    ) -> [Link] {
        var links: [Link] = []
        for from in topology.regions.indices {
            for to in topology.regions.indices where to != from {
                let link = topology.link(between: RegionID(from), and: RegionID(to))
                let bytes = traffic.bytesPerRound(from: from, to: to)
                let own = link?.parameters(from: RegionID(from))
                let back = link?.parameters(from: RegionID(to))
                let rate = own.flatMap { $0.bitsPerSecond > 0 ? $0.bitsPerSecond : nil }
                let oneWay = own.map { Double($0.oneWayNanoseconds) / 1e9 }
                links.append(
                    Link(
                        from: topology.regions[from].name, to: topology.regions[to].name,
                        distanceKilometres: link.flatMap {
                            $0.distanceKilometres > 0 ? $0.distanceKilometres : nil
                        },
                        oneWaySeconds: oneWay,
                        roundTripSeconds: back.flatMap { back in
                            oneWay.map { $0 + Double(back.oneWayNanoseconds) / 1e9 }
                        },
                        rateBitsPerSecond: rate,
                        jitterSeconds: own.map { Double($0.jitterNanoseconds) / 1e9 },
                        queueBytes: own?.queueLimitBytes, bytesPerRound: bytes,
                        bytes: bytes * rounds,
                        transferSeconds: rate.map { Double(bytes) * 8 / Double($0) }))
            }
        }
        return links
    }

    /// For each direction the transform that would fit, whatever is configured.
    private static func withCodecs(
        _ links: [Link], _ file: ClusterFile, traffic: TrafficPlan, step: Double
    ) -> [Link] {
        links.map { link in
            var link = link
            guard link.rateBitsPerSecond != nil, link.roundTripSeconds != nil,
                let from = file.topology.region(named: link.from),
                let to = file.topology.region(named: link.to)
            else { return link }
            link.codec = traffic.codec(from: from.index, to: to.index, step: step)
            return link
        }
    }

    private static func whyNoPrediction(_ topology: Topology, step: Double?) -> String? {
        if topology.regions.count > 1, topology.links.isEmpty {
            return "no `links` are described: the network is the real one"
        }
        return step == nil ? "a worker has no nominal `step`: it goes as fast as it can" : nil
    }

    private static func predict(
        _ file: ClusterFile, links: [Link], regions: [Region]
    ) -> Prediction {
        let schedule = file.configuration.schedule
        if let decoupled = decoupled(file, regions: regions) {
            return predict(decoupled: decoupled, file, regions: regions)
        }
        let steps = Double(schedule.syncEvery)
        let transfer = links.compactMap(\.transferSeconds).max() ?? 0
        let roundTrip = links.compactMap(\.roundTripSeconds).max() ?? 0
        // The replica that takes longest for its steps sets the pace, and has the least to hide behind.
        let busy = regions.map { Double($0.stepsPerRound) * ($0.stepSeconds ?? 0) }.max() ?? 0
        let streaming = Self.streaming(
            file, links: links, step: regions.compactMap(\.stepSeconds).min())
        let blocked = streaming?.blockedSeconds ?? (transfer + roundTrip)
        let tokenWait = tokenWait(file, links)
        let steady = busy + steps * (tokenWait ?? 0)
        let between = max(steady + blocked, streaming == nil ? 0 : transfer)
        let seats = file.topology.seats
        let local = LocalSteps.perSeat(schedule, file.topology)
        let compute = zip(seats, local).reduce(0) {
            $0 + $1.0.worker.nominalStep.seconds * Double($1.1)
        }
        let tokens = regions.reduce(0) { $0 + Double($1.tokensPerStep) * Double($1.stepsPerRound) }
        return Prediction(
            secondsBetweenRounds: between, blockedSeconds: between - steady,
            tokenWaitSeconds: tokenWait,
            computeUtilisation: compute / (Double(seats.count) * between),
            tokensPerSecond: tokens / between,
            wallSeconds: between * Double(file.configuration.steps) / steps)
    }

    /// With the time between rounds of undisturbed compute, as the full-scale figures have it.
    private static func similarity(
        _ links: [Link], step: Double?, syncEvery: UInt32
    ) -> SimilarityRatios {
        guard let step, step > 0 else {
            return SimilarityRatios(linkFill: nil, roundTripPerStep: nil)
        }
        return SimilarityRatios(
            linkFill: links.compactMap(\.transferSeconds).max().map {
                $0 / (Double(syncEvery) * step)
            },
            roundTripPerStep: links.compactMap(\.roundTripSeconds).max().map { $0 / step })
    }

    /// Who cannot be dialled, and over whom such workers reach each other.
    private static func dialNotes(_ topology: Topology) -> [String] {
        let seats = topology.seats
        let hidden = seats.filter { $0.worker.dialsOut == true }.map(\.worker.name)
        guard !hidden.isEmpty else { return [] }
        func name(_ id: WorkerID) -> String { seats[Int(id.rawValue)].worker.name }
        guard hidden.count < seats.count || seats.count == 1 else {
            return [
                "Nobody can be dialled: all \(seats.count) workers have `dial_out`. The run will not "
                    + "start; one of them needs a port that others reach."
            ]
        }
        let pairs = topology.relayedPairs.compactMap { pair in
            pair.relay.map { "\(name(pair.a)) - \(name(pair.b)) via \(name($0))" }
        }
        let shown = pairs.prefix(8).joined(separator: ", ")
        let more = pairs.count > 8 ? " and \(pairs.count - 8) more" : ""
        return [
            "Only dial out: \(hidden.joined(separator: ", "))."
                + (pairs.isEmpty ? "" : " Relayed: \(shown)\(more); those bytes cross twice.")
        ]
    }

    private static func notes(_ file: ClusterFile, regions: [Region]) -> [String] {
        let seats = file.topology.seats
        var notes: [String] = []
        if file.topology.regions.count > 1 {
            notes.append(
                file.topology.links.isEmpty
                    ? "Nothing is emulated: regions reach each other over the real network."
                    : file.emulation == .packet
                        ? "Links are emulated: packets between regions cross a forwarder with this "
                            + "rate and delay; TCP's headers count."
                        : "Links are emulated: bytes between regions pass a relay with this rate "
                            + "and delay."
            )
            let changing = file.topology.links.filter { !($0.changes ?? []).isEmpty }.count
            if changing > 0 {
                notes.append(
                    "\(changing) of \(file.topology.links.count) links change while they run; the "
                        + "figures are those of their own parameters.")
            }
        }
        if let note = expertRoundsNote(file.configuration) { notes.append(note) }
        let paced = seats.filter { $0.worker.nominalStep > .zero }.map(\.worker)
        if !paced.isEmpty {
            notes.append(
                "Speed is emulated for \(paced.count) of \(seats.count) workers: a step ends at "
                    + "the later of its real end and its nominal time.")
        }
        if file.configuration.schedule.localSteps == .measured {
            notes.append(
                file.configuration.schedule.adapts
                    ? "H of each region is that of the nominal steps at first; measured ones change it "
                        + "within two rounds."
                    : "`adapt: never` (or a seed): H of each region stays that of the nominal steps."
            )
        }
        if file.configuration.schedule.localSteps == .equal,
            let fastest = paced.map(\.nominalStep).min(),
            let slowest = paced.map(\.nominalStep).max(),
            fastest < slowest
        {
            let share = 1 - fastest.seconds / slowest.seconds
            notes.append(
                file.configuration.schedule.outer == .decoupled
                    ? "Step times differ: the fastest worker has taken all its steps after "
                        + "\(Figures.percent(1 - share)) of the time; `local_steps: nominal` gives the "
                        + "slower ones fewer."
                    : "Step times differ: the fastest worker waits \(Figures.percent(share)) of the time "
                        + "for the slowest; a larger batch for it would use that.")
        }
        for region in file.topology.regions {
            guard let text = region.text else { continue }
            notes.append(
                "\(region.name) draws from \(Figures.percent(text.from)) to "
                    + "\(Figures.percent(text.to)) of the training text only; validation is the "
                    + "whole run's.")
        }
        notes += dialNotes(file.topology)
        notes += spreadNotes(file)
        notes += crossingNotes(file)
        if !file.seedIsGiven {
            notes.append(
                "No `seed`: every run draws its own; this one drew "
                    + "\(file.configuration.seed).")
        }
        return notes
    }
}

extension CheckReport.Region {
    fileprivate init(_ region: Topology.Region, context: UInt64, stepsPerRound: UInt32) {
        let samples = region.workers.reduce(0) { $0 + $1.microBatch }
        let steps = region.workers.map(\.nominalStep)
        self.init(
            name: region.name, workers: region.workers.count, samplesPerStep: samples,
            tokensPerStep: UInt64(samples) * context, stepsPerRound: stepsPerRound,
            stepSeconds: steps.contains(.zero) ? nil : steps.max()?.seconds)
    }
}
