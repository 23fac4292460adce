package import ClusterModel
import ExpertRouting

/// The gates, balancing, capacity and placement that ship, over tokens of a trace: no training, no frames.
/// Equal arguments give equal results in any process.
package struct ExpertSimulation {
    private let shape: RoutingShape
    private let scenario: RoutingScenario
    private let steps: UInt32
    private var trace: RoutingTrace
    private var batch: GateBatch
    private var plan: DispatchPlan
    private let limit: Int?
    /// `[region][layer]`; one region's where all share them.
    private var balancers: [[BiasBalancer]]
    /// By layer, with what they have served since the last placement, `[layer][region][expert]`.
    private var sites: [ExpertSites]
    private var served: [[[Double]]]
    private var tally: RoutingTally
    private var logits: [Float]
    /// By choice of a token: where it went.
    private var visited: [Int] = []

    /// Why it cannot be; nil if it can.
    package static func whyNot(
        _ topology: Topology, _ configuration: RunConfiguration, _ scenario: RoutingScenario
    ) -> String? {
        guard let experts = configuration.model.experts else { return "the model has no experts" }
        if experts.balance == .quantile {
            return "routing is simulated under `balance: bias` and `none`, not `quantile`"
        }
        let shape = RoutingShape(topology, configuration, experts, scenario)
        if let objection = shape.sites().objection(topology.regions.map(\.name)) {
            return objection
        }
        if scenario.across == .limited {
            let sizes = shape.sites().held.map(\.count).sorted()
            if sizes.prefix(scenario.regionsKept).reduce(0, +) < experts.topK {
                return "\(scenario.regionsKept) regions may have fewer experts than the "
                    + "\(experts.topK) a token uses"
            }
        }
        return nil
    }

    /// - Precondition: nothing speaks against it (``whyNot(_:_:_:)``).
    package init(
        _ topology: Topology, _ configuration: RunConfiguration, _ scenario: RoutingScenario,
        recorded: RoutingTrace.Recorded? = nil
    ) {
        guard let experts = configuration.model.experts else { preconditionFailure("no experts") }
        let shape = RoutingShape(topology, configuration, experts, scenario)
        self.shape = shape
        self.scenario = scenario
        steps = configuration.steps
        let regions = topology.regions.count
        trace = RoutingTrace(
            scenario, experts: experts.count, layers: configuration.model.layers, regions: regions,
            seed: configuration.seed, recorded: recorded)
        batch = GateBatch(gate: shape.gate(), capacity: scenario.tokens)
        plan = DispatchPlan(
            experts: experts.count, topK: experts.topK, capacity: scenario.tokens)
        limit = ExpertCapacity.rows(
            topK: experts.topK, factor: experts.capacity, tokens: scenario.tokens,
            experts: experts.count)
        let rate = experts.balance == .bias && recorded == nil ? Float(experts.balanceRate) : 0
        let balancer = BiasBalancer(experts: experts.count, rate: rate)
        balancers = Array(
            repeating: Array(repeating: balancer, count: configuration.model.layers),
            count: scenario.across == .never ? regions : 1)
        sites = Array(repeating: shape.sites(), count: configuration.model.layers)
        served = Array(
            repeating: Array(repeating: Array(repeating: 0, count: experts.count), count: regions),
            count: configuration.model.layers)
        tally = RoutingTally(shape, steps: configuration.steps)
        logits = Array(repeating: 0, count: scenario.tokens * experts.count)
    }

    /// - Parameter progress: called after each step.
    package mutating func run(progress: (UInt32) -> Void = { _ in }) -> ExpertSimulationResult {
        for step in 1...max(1, steps) {
            if step > 1 { trace.advance(to: step) }
            for layer in 0..<shape.layers { route(step, layer) }
            tally.endStep()
            if scenario.placeEvery > 0, step % scenario.placeEvery == 0, step < steps { place() }
            progress(step)
        }
        return tally.result(steps: max(1, steps))
    }

    // MARK: A layer of a step

    private mutating func route(_ step: UInt32, _ layer: Int) {
        let regions = shape.devices.count
        let holders = sites[layer].holders()
        var demand = [ExpertLoads](
            repeating: ExpertLoads(experts: shape.experts.count), count: regions)
        var loads = [[Double]](
            repeating: [Double](repeating: 0, count: shape.experts.count), count: regions)
        var visits = RoutingTally.Visits(regions: regions)
        for region in 0..<regions {
            trace.logits(
                step: step, layer: layer, region: region, tokens: scenario.tokens, into: &logits)
            let bias = balancers[min(region, balancers.count - 1)][layer].bias
            let drawn = logits
            batch.route(
                drawn.span, stride: shape.experts.count, tokens: scenario.tokens, bias: bias.span)
            plan.build(
                batch.experts, tokenCount: scenario.tokens, sequence: scenario.tokens, limit: limit)
            demand[region] = ExpertLoads(tokens: plan.demand.map { UInt64($0) })
            let scale = shape.tokens[region] / Double(scenario.tokens)
            for expert in 0..<shape.experts.count {
                loads[sites[layer].server[region][expert]][expert] +=
                    Double(plan.counts[expert]) * scale
            }
            visit(region, sites[layer].server[region], holders, scale, &visits)
            tally.dropped += UInt64(plan.dropped)
        }
        balance(layer, demand)
        for region in 0..<regions {
            for expert in 0..<shape.experts.count {
                served[layer][region][expert] += loads[region][expert]
            }
        }
        tally.add(
            demand: demand,
            devices: (0..<regions).map { sites[layer].deviceLoads($0, loads[$0]) }, visits)
    }

    /// Counts the devices and regions that each token of the batch goes to, once each.
    private mutating func visit(
        _ region: Int, _ server: [Int], _ holders: [[[Int]]], _ scale: Double,
        _ visits: inout RoutingTally.Visits
    ) {
        let topK = shape.experts.topK
        for token in 0..<scenario.tokens {
            visited.removeAll(keepingCapacity: true)
            for slot in token * topK..<(token + 1) * topK where plan.rows[slot] >= 0 {
                let expert = Int(batch.experts[slot])
                let target = server[expert]
                let replicas = holders[target][expert]
                // Region and device in one number.
                let place = target << 32 | replicas[token % replicas.count]
                if !visited.contains(place) { visited.append(place) }
            }
            for (index, place) in visited.enumerated() {
                visits.devices += scale
                let target = place >> 32
                if target == region {
                    visits.inside[region] += scale
                } else if !visited[..<index].contains(where: { $0 >> 32 == target }) {
                    visits.across[region][target] += scale
                }
            }
        }
    }

    private mutating func balance(_ layer: Int, _ demand: [ExpertLoads]) {
        guard balancers[0][layer].rate > 0 else { return }
        if balancers.count == demand.count {
            for region in demand.indices { balancers[region][layer].update(demand[region]) }
        } else {
            var all = demand[0]
            for loads in demand.dropFirst() { all.merge(loads) }
            balancers[0][layer].update(all)
        }
    }

    /// By what was served since the last time.
    private mutating func place() {
        for layer in sites.indices {
            let before = sites[layer].placements
            sites[layer].place([], regional: served[layer])
            for (old, new) in zip(before, sites[layer].placements) {
                tally.placed(old.slots, new.slots)
            }
            for region in served[layer].indices {
                for expert in served[layer][region].indices { served[layer][region][expert] = 0 }
            }
        }
        tally.endPlacement()
    }
}

/// What does not change while tokens are routed.
struct RoutingShape {
    let experts: RunConfiguration.Model.Experts
    let layers: Int
    let scenario: RoutingScenario
    let devices: [Int]
    /// Per step, by region.
    let tokens: [Double]
    let topology: Topology
    let configuration: RunConfiguration

    init(
        _ topology: Topology, _ configuration: RunConfiguration,
        _ experts: RunConfiguration.Model.Experts, _ scenario: RoutingScenario
    ) {
        self.experts = experts
        self.scenario = scenario
        self.topology = topology
        self.configuration = configuration
        layers = configuration.model.layers
        devices = topology.regions.map(\.workers.count)
        tokens = topology.regions.map { region in
            Double(region.workers.reduce(0) { $0 + $1.microBatch } * configuration.model.context)
        }
    }

    func sites() -> ExpertSites {
        ExpertSites(
            devices: devices, slots: scenario.slots, experts: experts.count,
            isShared: scenario.across == .never)
    }

    /// With `across: limited` a group is a region.
    func gate() -> ExpertGate {
        let isLimited = scenario.across == .limited
        return ExpertGate(
            groupSizes: isLimited
                ? sites().held.map(\.count)
                : Array(repeating: experts.count / experts.groups, count: experts.groups),
            keptGroups: isLimited ? scenario.regionsKept : experts.groupsKept, topK: experts.topK,
            scoring: experts.gate == .softmax ? .softmax : .sigmoid)
    }
}
