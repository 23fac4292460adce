import ClusterModel
import ExpertRouting

/// Adds up what routing comes to, layer after layer and step after step.
struct RoutingTally {
    /// Tokens on their way, of one layer; each counts once per device and once per foreign region.
    struct Visits {
        var devices = 0.0
        /// To devices of their own region.
        var inside: [Double]
        /// `[from][to]`.
        var across: [[Double]]
        init(regions: Int) {
            inside = Array(repeating: 0, count: regions)
            across = Array(repeating: inside, count: regions)
        }
    }

    var dropped: UInt64 = 0
    /// With `across: budget`: tokens of all layers that left their region for an expert, those that had to
    /// stay although they wanted to, and choices of routed tokens that changed with that.
    var crossed = 0.0
    var stayed = 0.0
    var changed: UInt64 = 0
    private let shape: RoutingShape
    private let tenth: UInt32
    private let steps: UInt32
    private var step: UInt32 = 1
    private var sums = ExpertSimulationResult(
        steps: 0, layers: 0, experts: 0, shared: 0, topK: 0, devices: [])
    private var hash = TraceHash()
    private var moved = 0
    private var slots = 0
    private var pairs = 0.0
    /// Seconds by region, of all steps.
    private var expertSeconds: [Double]
    private var imbalanceSeconds: [Double]
    private var insideSeconds: [Double]
    /// Activations by direction, all layers and steps.
    private var across: [[Double]]
    /// Cold experts of all layers now, and summed over steps.
    private var cold: Int
    private var coldSteps = 0
    /// `[from][to]`, all layers and placements.
    private var fetched: [[Int]]
    /// Sum over steps.
    private var usedShare = 0.0

    init(_ shape: RoutingShape, steps: UInt32) {
        self.shape = shape
        self.steps = max(1, steps)
        tenth = max(1, steps / 10)
        cold = shape.layers * shape.sites().owners.count { $0 != nil }
        expertSeconds = shape.devices.map { _ in 0 }
        imbalanceSeconds = expertSeconds
        insideSeconds = expertSeconds
        across = shape.devices.map { _ in shape.devices.map { _ in 0 } }
        fetched = shape.devices.map { _ in shape.devices.map { _ in 0 } }
    }

    // MARK: Adding

    /// - Parameter devices: load of each device by region.
    mutating func add(demand: [ExpertLoads], devices: [[Double]], _ visits: Visits) {
        let pool = Self.pool(demand, shape.weights)
        for loads in demand { for count in loads.tokens { hash.add(count) } }
        let violation = pool.maxViolation
        sums.maxViolation += violation
        sums.useEntropy += RoutingDivergence.normalisedEntropy(pool)
        let imbalance = devices.reduce(0) { $0 + Self.imbalance($1) } / Double(devices.count)
        sums.imbalance += imbalance
        if step <= tenth {
            sums.firstMaxViolation += violation
            sums.firstImbalance += imbalance
        }
        if step > steps - tenth {
            sums.lastMaxViolation += violation
            sums.lastImbalance += imbalance
        }
        for (index, a) in demand.enumerated() {
            for b in demand[(index + 1)...] {
                sums.jensenShannon += RoutingDivergence.jensenShannon(a, b)
                sums.jaccard += RoutingDivergence.jaccard(
                    mostUsed: shape.experts.topK, a, b)
                pairs += 1
            }
        }
        sums.devicesPerToken += visits.devices
        for region in devices.indices { addTime(region, devices[region], visits.inside[region]) }
        for from in across.indices {
            for to in across.indices { across[from][to] += visits.across[from][to] }
        }
    }

    /// Tokens of a region with more of them count more.
    static func pool(_ demand: [ExpertLoads], _ weights: [UInt64]) -> ExpertLoads {
        var pool = ExpertLoads(experts: demand[0].tokens.count)
        for (loads, weight) in zip(demand, weights) {
            pool.merge(ExpertLoads(tokens: loads.tokens.map { $0 * weight }))
        }
        return pool
    }

    private static func imbalance(_ loads: [Double]) -> Double {
        let mean = loads.reduce(0, +) / Double(loads.count)
        return mean > 0 ? (loads.max() ?? 0) / mean : 1
    }

    /// One layer of one region.
    private mutating func addTime(_ region: Int, _ loads: [Double], _ inside: Double) {
        let count = Double(loads.count)
        let mean = loads.reduce(0, +) / count
        let most = loads.max() ?? 0
        expertSeconds[region] += mean * shape.choiceSeconds
        imbalanceSeconds[region] += (most - mean) * shape.choiceSeconds
        insideSeconds[region] += max(inside / count, most) * shape.visitSeconds
    }

    // MARK: Budget

    mutating func addBudget(used: Double) { usedShare += used }

    mutating func owned(from before: [Int?], to after: [Int?]) {
        let moves = ExpertOwnership.fetched(from: before, to: after, regions: shape.devices.count)
        for from in fetched.indices {
            for to in fetched.indices { fetched[from][to] += moves[from][to] }
        }
        cold += after.count { $0 != nil } - before.count { $0 != nil }
        for owner in after { hash.add(UInt64(bitPattern: Int64(owner ?? -1))) }
    }

    mutating func placed(_ old: [Int], _ new: [Int]) {
        slots += new.count
        moved += zip(old, new).count { $0 != $1 }
        for expert in new { hash.add(UInt64(expert)) }
    }

    mutating func endPlacement() { sums.placements += 1 }

    mutating func endStep() {
        step += 1
        coldSteps += cold
    }

    // MARK: Result

    func result(steps: UInt32) -> ExpertSimulationResult {
        var result = sums
        let layerSteps = Double(shape.layers) * Double(steps)
        let regions = shape.devices.count
        result.steps = steps
        result.layers = shape.layers
        result.experts = shape.experts.count
        result.shared = shape.experts.shared
        result.topK = shape.experts.topK
        result.devices = shape.devices
        result.routedTokens =
            UInt64(shape.scenario.tokens * regions * shape.layers) * UInt64(steps)
        let tokens = shape.tokens.reduce(0, +) * Double(steps)
        result.tokens = UInt64(tokens)
        result.dropRate =
            Double(dropped) / (Double(result.routedTokens) * Double(shape.experts.topK))
        result.maxViolation /= layerSteps
        result.useEntropy /= layerSteps
        result.imbalance /= layerSteps
        let part = Double(shape.layers) * Double(tenth)
        result.firstMaxViolation /= part
        result.lastMaxViolation /= part
        result.firstImbalance /= part
        result.lastImbalance /= part
        result.jensenShannon /= max(1, pairs)
        result.jaccard = pairs > 0 ? result.jaccard / pairs : 1
        result.devicesPerToken /= tokens * Double(shape.layers)
        result.movedShare = slots > 0 ? Double(moved) / Double(slots) : 0
        addTraffic(&result, tokens, Double(steps))
        if shape.scenario.across == .budget { result.budget = budget(result, Double(steps)) }
        var hash = hash
        hash.add(dropped)
        result.traceHash = hash.value
        return result
    }

    /// Of an expert that a region fetches.
    private var expertBytes: Double {
        Double(shape.configuration.model.expertElements)
            * ExpertSimulationResult.Budget.fetchedBytesPerValue
    }

    private func budget(
        _ result: ExpertSimulationResult, _ steps: Double
    ) -> ExpertSimulationResult.Budget {
        let all = Double(result.tokens) * Double(shape.layers)
        let placements = Double(max(1, sums.placements))
        let moves = Double(fetched.reduce(0) { $0 + $1.reduce(0, +) })
        return ExpertSimulationResult.Budget(
            share: shape.scenario.budget, evenSeconds: shape.evenSeconds,
            tokensPerStep: RoutingBudget(shape).tokens, usedShare: usedShare / steps,
            crossedShare: crossed / all,
            stayedShare: stayed / all, changedChoices: changed,
            changedShare: Double(changed)
                / (Double(result.routedTokens) * Double(shape.experts.topK)),
            ownedExperts: Double(coldSteps) / (steps * Double(shape.layers)),
            fetchedExperts: moves / (placements * Double(shape.layers)),
            fetchedBytes: moves / placements * expertBytes)
    }

    /// Bytes between regions, and the time split of the slowest region and the fullest link.
    private func addTraffic(
        _ result: inout ExpertSimulationResult, _ tokens: Double, _ steps: Double
    ) {
        let visit = shape.visitBytes
        let all = across.reduce(0) { $0 + $1.reduce(0, +) }
        result.activationBytesPerToken = all * (visit.there + visit.back) / tokens
        let owned = Double(coldSteps) / (steps * Double(shape.layers))
        let every = Double(shape.configuration.schedule.syncEvery)
        result.time = slowest(steps)
        var parameters = 0.0
        for from in shape.devices.indices {
            for to in shape.devices.indices where to != from {
                parameters += shape.roundBytes(from, to, owned: owned)
                guard let link = shape.topology.link(between: RegionID(from), and: RegionID(to))
                else { continue }
                let rate = Double(link.parameters(from: RegionID(from)).bitsPerSecond)
                // Dispatch and the gradient of what came back one way, combination and the other the other.
                let crossing = visit.there * across[from][to] + visit.back * across[to][from]
                // Out and back for each layer, forwards and backwards.
                let waits =
                    crossing > 0 ? 2 * Double(shape.layers) * 2 * link.oneWayDelay.seconds : 0
                let seconds = (rate > 0 ? crossing / steps * 8 / rate : 0) + waits
                if seconds > result.time.acrossSeconds {
                    result.time.acrossSeconds = seconds
                    result.acrossWaitSeconds = waits
                }
                if rate > 0 {
                    let fetching = Double(fetched[from][to]) * expertBytes * 8 / rate / steps
                    result.time.fetchSeconds = max(result.time.fetchSeconds, fetching)
                }
                result.time.roundSeconds = max(
                    result.time.roundSeconds, shape.roundSeconds(from, to, owned: owned))
            }
        }
        result.parameterBytesPerToken = parameters / every / (tokens / steps)
    }

    private func slowest(_ steps: Double) -> ExpertSimulationResult.TimeSplit {
        let times = shape.devices.indices.map { region in
            ExpertSimulationResult.TimeSplit(
                denseSeconds: shape.denseSeconds(region),
                expertSeconds: expertSeconds[region] / steps,
                imbalanceSeconds: imbalanceSeconds[region] / steps,
                insideSeconds: insideSeconds[region] / steps)
        }
        return times.max { $0.total < $1.total } ?? .init()
    }
}
