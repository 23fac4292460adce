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
    private var balancers: [[RoutingBalancer]]
    /// By layer, with what tokens have wanted since the last placement, `[layer][region][expert]`.
    private var sites: [ExpertSites]
    private var wanted: [[[Double]]]
    /// With `across: budget`.
    private var budget: RoutingBudget?
    private var tally: RoutingTally
    private var logits: [Float]
    /// By choice of a token: where it went.
    private var visited: [Int] = []

    /// Why it cannot be; nil if it can.
    package static func whyNot(
        _ topology: Topology, _ configuration: RunConfiguration, _ scenario: RoutingScenario
    ) -> String? {
        guard let experts = configuration.model.experts else { return "the model has no experts" }
        let shape = RoutingShape(topology, configuration, experts, scenario)
        if let objection = shape.sites().objection(topology.regions.map(\.name)) {
            return objection
        }
        if scenario.across == .budget {
            if topology.regions.count < 2 {
                return "`across: budget` has nothing to cross: there is one region"
            }
            if topology.links.isEmpty {
                return "`across: budget` goes by the rates of `links`, and there are none"
            }
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
        // Recorded shares are what balancing had led to.
        let balancer = RoutingBalancer(experts, isOn: recorded == nil)
        balancers = Array(
            repeating: Array(repeating: balancer, count: configuration.model.layers),
            count: scenario.across == .never ? regions : 1)
        sites = Array(repeating: shape.sites(), count: configuration.model.layers)
        wanted = Array(
            repeating: Array(repeating: Array(repeating: 0, count: experts.count), count: regions),
            count: configuration.model.layers)
        budget = scenario.across == .budget ? RoutingBudget(shape) : nil
        tally = RoutingTally(shape, steps: configuration.steps)
        logits = Array(repeating: 0, count: scenario.tokens * experts.count)
    }

    /// - Parameter progress: called after each step.
    package mutating func run(progress: (UInt32) -> Void = { _ in }) -> ExpertSimulationResult {
        for step in 1...max(1, steps) {
            if step > 1 { trace.advance(to: step) }
            budget?.beginStep()
            for layer in 0..<shape.layers { route(step, layer) }
            if let budget { tally.addBudget(used: budget.usedShare) }
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
            let balancer = min(region, balancers.count - 1)
            let bias = balancers[balancer][layer].bias
            let drawn = logits
            batch.route(
                drawn.span, stride: shape.experts.count, tokens: scenario.tokens, bias: bias.span)
            let scale = shape.tokens[region] / Double(scenario.tokens)
            if let outcome = budget?.limit(
                &batch, owners: sites[layer].owners, region: region, layer: layer, scale: scale,
                logits: drawn.span, bias: bias.span)
            {
                tally.crossed += Double(outcome.left) * scale
                tally.stayed += Double(outcome.stayed) * scale
                tally.changed += UInt64(outcome.changed)
            }
            plan.build(
                batch.experts, tokenCount: scenario.tokens, sequence: scenario.tokens,
                limit: limit)
            demand[region] = ExpertLoads(tokens: plan.demand.map { UInt64($0) })
            balancers[balancer][layer].count(
                batch, budget?.routing, weight: balancers.count > 1 ? 1 : shape.weights[region])
            for expert in 0..<shape.experts.count {
                let load = Double(plan.counts[expert]) * scale
                loads[sites[layer].server[region][expert]][expert] += load
                wanted[layer][region][expert] +=
                    budget.map { Double($0.routing.wanted[expert]) * scale } ?? load
            }
            visit(region, batch.experts, sites[layer].server[region], holders, scale, &visits)
            tally.dropped += UInt64(plan.dropped)
        }
        balance(layer, demand)
        tally.add(
            demand: demand,
            devices: (0..<regions).map { sites[layer].deviceLoads($0, loads[$0]) }, visits)
    }

    /// Counts the devices and regions that each token of the batch goes to, once each.
    private mutating func visit(
        _ region: Int, _ choices: [Int32], _ server: [Int], _ holders: [[[Int]]], _ scale: Double,
        _ visits: inout RoutingTally.Visits
    ) {
        let topK = shape.experts.topK
        for token in 0..<scenario.tokens {
            visited.removeAll(keepingCapacity: true)
            for slot in token * topK..<(token + 1) * topK where plan.rows[slot] >= 0 {
                let expert = Int(choices[slot])
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
        if balancers.count == demand.count {
            for region in demand.indices { balancers[region][layer].update(demand[region]) }
        } else {
            balancers[0][layer].update(RoutingTally.pool(demand, shape.weights))
        }
    }

    /// By what was wanted since the last time.
    private mutating func place() {
        for layer in sites.indices {
            let before = sites[layer]
            if scenario.across == .budget {
                let owners = ExpertOwnership.owners(
                    wanted: wanted[layer], devices: shape.devices, count: scenario.owned,
                    most: shape.experts.count - shape.experts.topK, before: before.owners)
                sites[layer].own(owners)
                tally.owned(from: before.owners, to: owners)
            }
            sites[layer].place(wanted[layer])
            for region in shape.devices.indices {
                tally.placed(before.experts(in: region), sites[layer].experts(in: region))
                for expert in wanted[layer][region].indices { wanted[layer][region][expert] = 0 }
            }
        }
        tally.endPlacement()
    }
}
