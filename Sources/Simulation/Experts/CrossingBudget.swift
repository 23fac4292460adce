import ClusterModel

/// How many tokens may go from each region to each other in a step: what a link carries in a share of the
/// step's time. A token that visits a region takes as much of the way back as of the way there (out and
/// back, forwards and backwards), so a pair of regions has what its slower direction carries, and each of
/// the two its part by tokens. Round trips are not in it: they do not depend on how many cross.
struct CrossingBudget {
    /// `[from][to]`; infinite where the link is not limited.
    let tokens: [[Double]]
    private let layers: Double
    /// Of this step.
    private var used: [[Double]]

    init(_ shape: RoutingShape) {
        let regions = shape.devices.indices
        layers = Double(shape.layers)
        let perToken = ExpertTraffic.crossings / 2 * shape.activationBytes
        func carried(_ from: Int, _ to: Int) -> Double {
            guard let link = shape.topology.link(between: RegionID(from), and: RegionID(to)) else {
                return 0
            }
            let rate = Double(link.parameters(from: RegionID(from)).bitsPerSecond)
            guard rate > 0 else { return .infinity }
            let time = shape.evenSeconds
            let free =
                shape.scenario.budget.map { $0 * time }
                ?? max(0, time - shape.roundSeconds(from, to, owned: 0))
            return free * rate / 8 / perToken
        }
        tokens = regions.map { from in
            regions.map { to in
                guard to != from else { return 0 }
                let both = min(carried(from, to), carried(to, from))
                return both * shape.tokens[from] / (shape.tokens[from] + shape.tokens[to])
            }
        }
        used = tokens.map { $0.map { _ in 0 } }
    }

    mutating func beginStep() {
        for from in used.indices {
            for to in used.indices { used[from][to] = 0 }
        }
    }

    /// Lets `count` tokens go to all of `targets`, or to none. Each layer may use its part of the step's
    /// budget and what those before it have left.
    mutating func take(_ count: Double, from: Int, to targets: [Int], layer: Int) -> Bool {
        for to in targets {
            let allowed = tokens[from][to] * Double(layer + 1) / layers
            guard used[from][to] + count <= allowed else { return false }
        }
        for to in targets { used[from][to] += count }
        return true
    }

    /// Of this step: used / allowed over all directions; nil where a link is not limited.
    var usedShare: Double? {
        let all = tokens.reduce(0) { $0 + $1.reduce(0, +) }
        guard all.isFinite else { return nil }
        return all > 0 ? used.reduce(0) { $0 + $1.reduce(0, +) } / all : 0
    }
}
