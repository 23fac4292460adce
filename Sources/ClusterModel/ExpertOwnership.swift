/// Which experts of a layer live in one region only: those that are used least. Hot ones are everywhere,
/// so most tokens find what they want at home.
package enum ExpertOwnership {
    /// What is as it was counts as so much better. Balancing makes loads alike, and a state that has to
    /// cross for a small difference costs more than it brings.
    private static let stay = 2.0

    /// The cold experts go, the most used of them first, to the region whose tokens want them most and that
    /// has room: regions own in proportion to their devices.
    ///
    /// - Parameters:
    ///   - wanted: `[region][expert]`, by tokens of the region.
    ///   - count: of cold experts; nil: as many as have ``RoutingScenario/coldShare`` together.
    ///   - most: of cold experts, so that each region has enough of its own for a token.
    package static func owners(
        wanted: [[Double]], devices: [Int], count: Int?, most: Int, before: [Int?]
    ) -> [Int?] {
        let loads = before.indices.map { expert in wanted.reduce(0) { $0 + $1[expert] } }
        let ranks = before.indices.map { before[$0] == nil ? loads[$0] : loads[$0] / stay }
        let order = before.indices.sorted {
            ranks[$0] != ranks[$1] ? ranks[$0] < ranks[$1] : $0 < $1
        }
        let cold = order.prefix(min(most, count ?? coldCount(order, loads)))
        var room = parts(devices: devices, experts: cold.count)
            .reduce(into: devices.map { _ in 0 }) { room, region in
                if let region { room[region] += 1 }
            }
        var owners = [Int?](repeating: nil, count: before.count)
        for expert in cold.sorted(by: { loads[$0] != loads[$1] ? loads[$0] > loads[$1] : $0 < $1 })
        {
            func pull(_ region: Int) -> Double {
                wanted[region][expert] * (before[expert] == region ? stay : 1)
            }
            var best: Int?
            for region in devices.indices where room[region] > 0 {
                if let found = best, pull(region) <= pull(found) { continue }
                best = region
            }
            guard let best else { continue }
            owners[expert] = best
            room[best] -= 1
        }
        return owners
    }

    /// Each region has a part of the experts in proportion to its devices.
    package static func parts(devices: [Int], experts: Int) -> [Int?] {
        let all = max(1, devices.reduce(0, +))
        var before = 0
        return devices.enumerated().flatMap { region, count in
            let from = before * experts / all
            before += count
            return Array(repeating: region, count: before * experts / all - from)
        }
    }

    private static func coldCount(_ order: [Int], _ loads: [Double]) -> Int {
        let limit = RoutingScenario.coldShare * loads.reduce(0, +)
        var sum = 0.0
        return order.prefix { expert in
            sum += loads[expert]
            return sum <= limit
        }.count
    }

    /// Experts that regions have to fetch from each other, `[from][to]`.
    package static func fetched(from before: [Int?], to after: [Int?], regions: Int) -> [[Int]] {
        var fetched = Array(repeating: Array(repeating: 0, count: regions), count: regions)
        for (old, new) in zip(before, after) {
            guard let old, new != old else { continue }
            for to in 0..<regions where to != old && (new == nil || new == to) {
                fetched[old][to] += 1
            }
        }
        return fetched
    }
}
