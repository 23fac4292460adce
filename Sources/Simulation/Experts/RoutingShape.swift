import ClusterModel
import ExpertRouting

/// What does not change while tokens are routed.
struct RoutingShape {
    let experts: RunConfiguration.Model.Experts
    let layers: Int
    let scenario: RoutingScenario
    let devices: [Int]
    /// Per step, by region.
    let tokens: [Double]
    /// What a routed token of a region counts beside those of the others: whole numbers.
    let weights: [UInt64]
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
        let samples = topology.regions.map { region in
            region.workers.reduce(0) { $0 + $1.microBatch }
        }
        tokens = samples.map { Double($0 * configuration.model.context) }
        let common = samples.reduce(0, Self.commonDivisor)
        weights = samples.map { UInt64($0 / max(1, common)) }
    }

    private static func commonDivisor(_ a: Int, _ b: Int) -> Int {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }

    /// As they are at the start.
    func sites() -> ExpertSites {
        let owners: [Int?]
        switch scenario.across {
        case .never: owners = Array(repeating: nil, count: experts.count)
        case .limited, .always:
            owners = ExpertOwnership.parts(devices: devices, experts: experts.count)
        case .budget where scenario.owned == nil:
            // By rule none is cold before it is known to be.
            owners = Array(repeating: nil, count: experts.count)
        case .budget:
            let even = [Double](repeating: 1, count: experts.count)
            owners = ExpertOwnership.owners(
                wanted: devices.map { _ in even }, devices: devices, count: scenario.owned,
                most: experts.count - experts.topK,
                before: Array(repeating: nil, count: experts.count))
        }
        return ExpertSites(devices: devices, slots: scenario.slots, owners: owners)
    }

    /// With `across: limited` a group is a region.
    func gate() -> ExpertGate {
        let isLimited = scenario.across == .limited
        return gate(
            groupSizes: isLimited
                ? sites().held.map(\.count)
                : Array(repeating: experts.count / experts.groups, count: experts.groups),
            kept: isLimited ? scenario.regionsKept : experts.groupsKept)
    }

    private func gate(groupSizes: [Int], kept: Int) -> ExpertGate {
        ExpertGate(
            groupSizes: groupSizes, keptGroups: kept, topK: experts.topK,
            scoring: experts.gate == .softmax ? .softmax : .sigmoid)
    }

    // MARK: Times

    /// Of an activation on its way.
    var activationBytes: Double {
        ExpertTraffic.activationBytes * Double(configuration.model.width)
    }

    /// That a token's visit to another region puts on the way there, and on the way back: activations as
    /// above, and the words of its choices as on the wire.
    var visitBytes: (there: Double, back: Double) {
        var sent = experts
        sent.tokenWire = .bf16
        return sent.visitBytes(width: configuration.model.width)
    }

    /// With `across: budget`: of a region in a step, by the file's links and a step at even load.
    func tokensThatMayCross(_ from: Int, _ to: Int) -> UInt32 {
        func rate(_ from: Int, _ to: Int) -> Double {
            TokenPrice.rate(topology, from: RegionID(from), to: RegionID(to))
        }
        return TokenPrice(
            rates: (rate(from, to), rate(to, from)), share: scenario.budget, step: evenSeconds,
            roundBytes: (roundBytes(from, to, owned: 0), roundBytes(to, from, owned: 0)),
            syncEvery: Double(configuration.schedule.syncEvery), bytes: visitBytes
        ).tokens(samples: (tokens[from], tokens[to]))
    }

    /// Forwards 2, backwards 4 operations for each weight a token passes.
    private func seconds(weights: Double) -> Double {
        6 * weights / (scenario.teraflops * 1e12)
    }

    /// What every token of a region passes: attention, gates, shared experts.
    func denseSeconds(_ region: Int) -> Double {
        let width = Double(configuration.model.width)
        let weights =
            4 * width * width + 2 * Double(experts.shared * experts.width) * width
            + Double(experts.count) * width
        return tokens[region] / Double(devices[region]) * Double(layers) * seconds(weights: weights)
    }

    /// One choice at one device.
    var choiceSeconds: Double {
        seconds(weights: 2 * Double(experts.width) * Double(configuration.model.width))
    }

    /// One visit of a token at a device of its region, out and back, forwards and backwards.
    var visitSeconds: Double {
        ExpertTraffic.crossings * activationBytes * 8 / Double(scenario.insideRate)
    }

    /// A step of the slowest region if all its devices had the same load and each choice were a visit;
    /// nothing crosses.
    var evenSeconds: Double {
        devices.indices.map { region in
            let choices =
                tokens[region] / Double(devices[region]) * Double(layers * experts.topK)
            return denseSeconds(region) + choices * (choiceSeconds + visitSeconds)
        }.max() ?? 0
    }

    /// Outer rounds on one direction, per step: parameters of all experts but `owned` of each layer.
    func roundSeconds(_ from: Int, _ to: Int, owned: Double) -> Double {
        guard let link = topology.link(between: RegionID(from), and: RegionID(to)) else { return 0 }
        let rate = link.parameters(from: RegionID(from)).bitsPerSecond
        let delay = 2 * link.oneWayDelay.seconds
        let transfer = rate > 0 ? roundBytes(from, to, owned: owned) * 8 / Double(rate) : 0
        return (transfer + delay) / Double(configuration.schedule.syncEvery)
    }

    /// Of one outer round on one direction.
    func roundBytes(_ from: Int, _ to: Int, owned: Double) -> Double {
        let model = configuration.model
        // An expert of one region only is averaged with nobody.
        let averaged =
            Double(model.parameterCount) - Double(layers) * owned * Double(model.expertElements)
        let traffic = PoolTraffic(
            topology, crossesOnce: configuration.schedule.crossesOnce, values: averaged)
        return traffic.values(from: from, to: to)
            * configuration.wire.betweenRegions.storedBytesPerValue
    }
}
