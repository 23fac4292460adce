internal import ClusterModel

extension CheckReport {
    /// What a decoupled schedule comes to: who offers how often, and when rounds are closed.
    package struct Decoupled: Codable, Equatable, Sendable {
        package var quorum: Int
        package var replicas: Int
        package var graceFactor: Double
        package var graceMostSeconds: Double
        /// What a contribution keeps of its weight for each round it missed.
        package var staleness: Double
        package var paces: [Pace]

        package struct Pace: Codable, Equatable, Sendable {
            package var region: String
            package var stepsPerOffer: UInt32
            package var lastStep: UInt32
            /// Absent without step times.
            package var secondsPerOffer: Double?
            package var secondsOfTraining: Double?
        }

        package static let model =
            "Nobody waits for a round: each replica offers what it has trained, trains on, and takes in "
            + "means between two steps. What is late is merged in a later round. Transfers count as "
            + "nothing here as long as they are shorter than the time between two rounds."
    }

    static func decoupled(_ file: ClusterFile, regions: [Region]) -> Decoupled? {
        let schedule = file.configuration.schedule
        guard schedule.outer == .decoupled, let rules = schedule.closing else { return nil }
        let rounds = file.configuration.steps / schedule.syncEvery
        return Decoupled(
            quorum: rules.quorum,
            replicas: schedule.inner == .everyStep ? regions.count : file.topology.seats.count,
            graceFactor: Double(rules.graceFactor) / 1_000,
            graceMostSeconds: rules.graceMost.seconds,
            staleness: Double(rules.lateWeight) / 1_000,
            paces: regions.map { region in
                let last =
                    region.stepsPerRound == schedule.syncEvery
                    ? file.configuration.steps : rounds * region.stepsPerRound
                return Decoupled.Pace(
                    region: region.name, stepsPerOffer: region.stepsPerRound, lastStep: last,
                    secondsPerOffer: region.stepSeconds.map { $0 * Double(region.stepsPerRound) },
                    secondsOfTraining: region.stepSeconds.map { $0 * Double(last) })
            })
    }

    /// Every region at its own pace; the run is as long as the slowest region's.
    static func predict(decoupled: Decoupled, _ file: ClusterFile, regions: [Region]) -> Prediction
    {
        let wall = decoupled.paces.compactMap(\.secondsOfTraining).max() ?? 0
        let compute = zip(decoupled.paces, regions).reduce(0) {
            $0 + ($1.0.secondsOfTraining ?? 0) * Double($1.1.workers)
        }
        let tokens = zip(decoupled.paces, regions).reduce(0) {
            $0 + Double($1.1.tokensPerStep) * Double($1.0.lastStep)
        }
        return Prediction(
            secondsBetweenRounds: decoupled.paces.compactMap(\.secondsPerOffer).min() ?? 0,
            blockedSeconds: 0,
            computeUtilisation: compute / (Double(file.topology.seats.count) * wall),
            tokensPerSecond: tokens / wall, wallSeconds: wall)
    }
}

extension CheckReport.Decoupled {
    var text: String {
        TextTable.render(
            ["region", "offers every", "which takes", "last step", "trains for"],
            paces.map { pace in
                [
                    pace.region, "\(pace.stepsPerOffer) steps",
                    pace.secondsPerOffer.map(Figures.duration) ?? Figures.absent,
                    "\(pace.lastStep)",
                    pace.secondsOfTraining.map(Figures.duration) ?? Figures.absent,
                ]
            }) + "\n" + TextTable.wrapped(rules + " " + Self.model)
    }

    /// As in the file: `3`, `0.5`.
    private static func decimal(_ value: Double) -> String {
        ClosingRules.decimal(UInt32((value * 1_000).rounded()))
    }

    private var rules: String {
        if quorum == replicas {
            return "A round is closed when all \(replicas) replicas have offered."
        }
        return
            "A round is closed when all \(replicas) replicas have offered, or \(quorum) of them and "
            + "the grace is over: median + \(Self.decimal(graceFactor)) x MAD of what the "
            + "others have been late by, at most \(Figures.duration(graceMostSeconds)). Who is late "
            + "keeps \(Self.decimal(staleness)) of its weight for each round it missed."
    }
}
