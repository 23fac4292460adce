internal import ClusterModel

/// What `across: budget` lets cross in a step, by the file's rates and steps.
struct CrossingPlan {
    private let file: ClusterFile
    private let experts: RunConfiguration.Model.Experts
    private let crossing: RunConfiguration.Model.Experts.Crossing
    private let traffic: TrafficPlan
    /// Of a visit.
    private let visit: (there: Double, back: Double)

    /// Nil where every region computes all experts.
    init?(_ file: ClusterFile) {
        guard let experts = file.configuration.model.experts, let crossing = experts.crossing else {
            return nil
        }
        self.file = file
        self.experts = experts
        self.crossing = crossing
        traffic = TrafficPlan(file)
        visit = experts.visitBytes(width: file.configuration.model.width)
    }

    /// Tokens that may leave region `from` for region `to`, over all blocks; nil where it follows from what
    /// is measured.
    func budget(from: Int, to: Int) -> UInt32? {
        if let tokens = crossing.tokens { return tokens }
        guard let step = LinkTime.step(file.topology),
            file.topology.link(between: RegionID(from), and: RegionID(to)) != nil
        else { return nil }
        func rate(_ from: Int, _ to: Int) -> Double {
            TokenPrice.rate(file.topology, from: RegionID(from), to: RegionID(to))
        }
        return TokenPrice(
            rates: (rate(from, to), rate(to, from)), share: crossing.budget, step: step,
            roundBytes: (
                Double(traffic.bytesPerRound(from: from, to: to)),
                Double(traffic.bytesPerRound(from: to, to: from))
            ), syncEvery: Double(file.configuration.schedule.syncEvery), bytes: visit
        ).tokens(samples: (samples(from), samples(to)))
    }

    /// No token may leave its region, and none waits for another; nil where budgets are not known.
    var letsNothingCross: Bool? {
        var isNothing = true
        for from in file.topology.regions.indices {
            for to in file.topology.regions.indices where to != from {
                guard let budget = budget(from: from, to: to) else { return nil }
                if budget > 0 { isNothing = false }
            }
        }
        return isNothing
    }

    /// What leaves region `from` for region `to` in a step, at most: its own tokens, and answers to the other
    /// region's. Nil where budgets are not known.
    func bytesPerStep(from: Int, to: Int) -> Double? {
        guard let there = visits(from, to), let back = visits(to, from) else { return nil }
        return there * visit.there + back * visit.back
    }

    /// A budget is a limit: each token could visit in each layer.
    private func visits(_ from: Int, _ to: Int) -> Double? {
        let model = file.configuration.model
        let most = samples(from) * Double(model.context * model.layers)
        return budget(from: from, to: to).map { min(Double($0), most) }
    }

    /// Bytes that a round carries less from region `from` to region `to` once experts have owners, because
    /// only these contribute them: where their number is given, owners in proportion to workers.
    func savedPerRound(from: Int, to: Int) -> Double? {
        guard let owned = crossing.owned else { return nil }
        let owners = ExpertOwnership.parts(
            devices: file.topology.regions.map(\.workers.count), experts: owned)
        let others = Double(owners.count { $0 != from })
        let model = file.configuration.model
        let values = others * Double(model.layers) * Double(model.expertElements)
        let perValue =
            Double(traffic.bytesPerRound(from: from, to: to))
            / max(1, traffic.valuesPerRound(from: from, to: to))
        return values * traffic.shares[to] * perValue
    }

    private func samples(_ region: Int) -> Double {
        file.topology.regions[region].workers.reduce(0) { $0 + Double($1.microBatch) }
    }

    /// Of a step: out and back in each layer, forwards and backwards, for each pass of the worker that has
    /// most.
    var roundTrips: Int {
        let model = file.configuration.model
        let most = RunConfiguration.Model.sequencesPerPass(context: model.context, hasExperts: true)
        let batch = file.topology.seats.map(\.worker.microBatch).max() ?? 0
        return 2 * model.layers * ((batch + most - 1) / most)
    }

    /// Of a step, over the longest link; nil where links are not described.
    var roundTripSeconds: Double? {
        guard letsNothingCross != true else { return 0 }
        let longest = file.topology.links.map { link in
            link.parameters(from: link.a).oneWayNanoseconds
                + link.parameters(from: link.b).oneWayNanoseconds
        }.max()
        return longest.map { Double(roundTrips) * Double($0) / 1e9 }
    }
}

extension CheckReport {
    /// What may cross in a step, by the file's rates and steps, and what that costs.
    static func crossingNotes(_ file: ClusterFile) -> [String] {
        guard let crossing = CrossingPlan(file),
            let experts = file.configuration.model.experts
        else { return [] }
        let regions = file.topology.regions
        var parts: [String] = []
        var saved: [String] = []
        for from in regions.indices {
            for to in regions.indices where to != from {
                if let bytes = crossing.savedPerRound(from: from, to: to) {
                    saved.append(
                        "\(regions[from].name) to \(regions[to].name) \(Figures.bytes(bytes))")
                }
                guard let tokens = crossing.budget(from: from, to: to),
                    let bytes = crossing.bytesPerStep(from: from, to: to)
                else { continue }
                parts.append(
                    "\(regions[from].name) to \(regions[to].name) "
                        + "\(Figures.grouped(UInt64(tokens))) (\(Figures.bytes(bytes)))")
            }
        }
        let cold =
            experts.crossing?.owned.map { "\($0)" }
            ?? "those that together have \(Figures.percent(RoutingScenario.coldShare)) of the choices"
        let owned =
            "Of each block's experts \(cold) are computed in one region only, once loads are known; "
        let kept =
            (saved.isEmpty
                ? "" : "A round then carries less: " + saved.joined(separator: ", ") + ". ")
            + "Every worker keeps all weights."
        guard crossing.letsNothingCross != true else {
            return [
                owned
                    + "no budget lets a token leave its region, so each region uses its own experts "
                    + "and waits for no other. " + kept
            ]
        }
        let wait = crossing.roundTripSeconds.map { " (\(Figures.duration($0)))" } ?? ""
        return [
            owned
                + "tokens of other regions go there as \(experts.tokenWire) while a step's budget "
                + "lasts, over all blocks: "
                + (parts.isEmpty
                    ? "it follows from the measured step"
                    : parts.joined(separator: ", ")
                        + "; in brackets what that direction then carries at most, with the answers to the "
                        + "other region's tokens")
                + ". Every step then waits \(crossing.roundTrips) round trips\(wait), and each region "
                + "for the others. " + kept
        ]
    }

    /// Bytes of tokens beside those of rounds.
    static func withTokens(_ links: [Link], _ file: ClusterFile) -> [Link] {
        guard let crossing = CrossingPlan(file) else { return links }
        return links.map { link in
            var link = link
            guard let from = file.topology.region(named: link.from),
                let to = file.topology.region(named: link.to)
            else { return link }
            link.tokenBytesPerStep = crossing.bytesPerStep(from: from.index, to: to.index)
            return link
        }
    }

    /// Seconds that every step waits for tokens of other regions at most, where experts have owners: round
    /// trips, and the fullest direction's tokens at its rate. Nil where none cross, or where links are not
    /// described.
    static func tokenWait(_ file: ClusterFile, _ links: [Link]) -> Double? {
        guard let crossing = CrossingPlan(file), crossing.letsNothingCross == false,
            let trips = crossing.roundTripSeconds
        else { return nil }
        let transfer = links.compactMap { link -> Double? in
            guard let bytes = link.tokenBytesPerStep, let rate = link.rateBitsPerSecond else {
                return nil
            }
            return bytes * 8 / Double(rate)
        }.max()
        return trips + (transfer ?? 0)
    }
}
