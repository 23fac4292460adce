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

    init(_ shape: RoutingShape, steps: UInt32) {
        self.shape = shape
        self.steps = max(1, steps)
        tenth = max(1, steps / 10)
        expertSeconds = shape.devices.map { _ in 0 }
        imbalanceSeconds = expertSeconds
        insideSeconds = expertSeconds
        across = shape.devices.map { _ in shape.devices.map { _ in 0 } }
    }

    // MARK: Adding

    /// - Parameter devices: load of each device by region.
    mutating func add(demand: [ExpertLoads], devices: [[Double]], _ visits: Visits) {
        var pool = demand[0]
        for loads in demand.dropFirst() { pool.merge(loads) }
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

    private static func imbalance(_ loads: [Double]) -> Double {
        let mean = loads.reduce(0, +) / Double(loads.count)
        return mean > 0 ? (loads.max() ?? 0) / mean : 1
    }

    /// One layer of one region: forwards 2, backwards 4 operations for each weight a token passes.
    private mutating func addTime(_ region: Int, _ loads: [Double], _ inside: Double) {
        let count = Double(loads.count)
        let mean = loads.reduce(0, +) / count
        let most = loads.max() ?? 0
        let width = Double(shape.configuration.model.width)
        let perChoice = 6 * 2 * Double(shape.experts.width) * width
        let speed = shape.scenario.teraflops * 1e12
        expertSeconds[region] += mean * perChoice / speed
        imbalanceSeconds[region] += (most - mean) * perChoice / speed
        let bytes =
            ExpertTraffic.crossings * ExpertTraffic.activationBytes * width
            * max(inside / count, most)
        insideSeconds[region] += bytes * 8 / Double(shape.scenario.insideRate)
    }

    mutating func placed(_ old: [Int], _ new: [Int]) {
        slots += new.count
        moved += zip(old, new).count { $0 != $1 }
        for expert in new { hash.add(UInt64(expert)) }
    }

    mutating func endPlacement() { sums.placements += 1 }

    mutating func endStep() { step += 1 }

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
        var hash = hash
        hash.add(dropped)
        result.traceHash = hash.value
        return result
    }

    /// Bytes between regions, and the time split of the slowest region and the fullest link.
    private func addTraffic(
        _ result: inout ExpertSimulationResult, _ tokens: Double, _ steps: Double
    ) {
        let regions = shape.devices.count
        let model = shape.configuration.model
        let activation = ExpertTraffic.activationBytes * Double(model.width)
        let all = across.reduce(0) { $0 + $1.reduce(0, +) }
        result.activationBytesPerToken = all * ExpertTraffic.crossings * activation / tokens
        // An expert of one region only is averaged with nobody.
        let own = Double(model.layers * shape.experts.count) * Double(model.expertElements)
        let averaged =
            Double(model.parameterCount) - (shape.scenario.across == .never ? 0 : own)
        let perDirection =
            2 * averaged / Double(regions)
            * shape.configuration.wire.betweenRegions.storedBytesPerValue
        let every = Double(shape.configuration.schedule.syncEvery)
        let directions = Double(regions * (regions - 1))
        result.parameterBytesPerToken = perDirection * directions / every / (tokens / steps)
        var (tokenSeconds, roundSeconds) = (0.0, 0.0)
        for from in 0..<regions {
            for to in 0..<regions where to != from {
                guard let link = shape.topology.link(between: RegionID(from), and: RegionID(to))
                else { continue }
                let parameters = link.parameters(from: RegionID(from))
                let rate =
                    parameters.bitsPerSecond > 0 ? Double(parameters.bitsPerSecond) : 1e12
                let delay = 2 * link.oneWayDelay.seconds
                // Dispatch and the gradient of what came back one way, combination and the other the other.
                let crossing =
                    ExpertTraffic.crossings / 2 * activation * (across[from][to] + across[to][from])
                // Out and back for each layer, forwards and backwards.
                let waits = crossing > 0 ? 2 * Double(shape.layers) * delay : 0
                tokenSeconds = max(tokenSeconds, crossing / steps * 8 / rate + waits)
                roundSeconds = max(roundSeconds, (perDirection * 8 / rate + delay) / every)
            }
        }
        result.time = slowest(steps)
        result.time.acrossSeconds = tokenSeconds
        result.time.roundSeconds = roundSeconds
    }

    private func slowest(_ steps: Double) -> ExpertSimulationResult.TimeSplit {
        let model = shape.configuration.model
        let width = Double(model.width)
        let weights =
            4 * width * width + 2 * Double(shape.experts.shared * shape.experts.width) * width
            + Double(shape.experts.count) * width
        let times = shape.devices.indices.map { region in
            ExpertSimulationResult.TimeSplit(
                denseSeconds: shape.tokens[region] / Double(shape.devices[region])
                    * Double(shape.layers) * 6 * weights / (shape.scenario.teraflops * 1e12),
                expertSeconds: expertSeconds[region] / steps,
                imbalanceSeconds: imbalanceSeconds[region] / steps,
                insideSeconds: insideSeconds[region] / steps)
        }
        return times.max { $0.total < $1.total } ?? .init()
    }
}
