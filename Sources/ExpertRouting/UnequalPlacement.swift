/// What a pool has and a homogeneous cluster has not: devices of unequal speed and memory, links of unequal
/// rate, and a present placement that costs time to change.
package struct PoolOfDevices: Equatable, Sendable {
    /// Relative speed by device; the time of a load is load / speed.
    package var speed: [Double]
    /// Slots by device.
    package var slots: [Int]
    /// Node of each device.
    package var node: [Int]
    /// Relative rate between nodes, `[from][to]`; inside a node too.
    package var link: [[Double]]
    /// Load units that moving one expert over a link of rate 1 is worth; 0: moves are free.
    package var moveCost: Double
    /// Experts that each device holds now; empty: nothing is there.
    package var present: [[Int]]

    package init(
        speed: [Double], slots: [Int], node: [Int], link: [[Double]], moveCost: Double,
        present: [[Int]]
    ) {
        precondition(speed.count == slots.count && speed.count == node.count, "tables of devices")
        self.speed = speed
        self.slots = slots
        self.node = node
        self.link = link
        self.moveCost = moveCost
        self.present = present
    }

    /// What it takes to have `expert` on `device`: nothing where it is, otherwise over the fastest link from
    /// a node that has it. An expert that is nowhere has to come from outside whoever takes it.
    func costOfHaving(_ expert: Int, on device: Int) -> Double {
        guard moveCost > 0, !present.isEmpty, !present[device].contains(expert) else { return 0 }
        let rates = present.indices.filter { present[$0].contains(expert) }
            .map { link[node[$0]][node[device]] }
        return rates.max().map { moveCost / $0 } ?? 0
    }
}

/// Experts on the devices of a pool: replicas as in `ExpertPlacement`, dealt so that the slowest device is
/// done as early as possible, moves included. A heuristic: heaviest first to where it ends earliest, then
/// exchanges with the device that is done last while that helps.
package struct UnequalPlacement: Equatable, Sendable {
    /// Experts of each device, in the order of dealing.
    package private(set) var devices: [[Int]]
    package private(set) var counts: [Int]
    /// Experts that are not where the present placement has them, by device.
    package private(set) var moves: [[Int]]

    /// Exchanges tried at most: each lowers the end of the last device.
    private static let exchangeLimit = 1_000

    /// - Precondition: the pool has at least one slot per expert.
    package init(loads: [Double], pool: PoolOfDevices) {
        let slotCount = pool.slots.reduce(0, +)
        precondition(slotCount >= loads.count, "\(slotCount) slots for \(loads.count) experts")
        let copies = ExpertPlacement.replicate(loads, slotCount)
        counts = copies.counts
        let shares = loads.indices.map { loads[$0] / Double(copies.counts[$0]) }
        devices = pool.slots.map { _ in [] }
        moves = devices
        deal(copies.holders, shares, pool)
        exchange(shares, pool)
        for device in devices.indices where !pool.present.isEmpty {
            moves[device] = devices[device].filter { !pool.present[device].contains($0) }
        }
    }

    private mutating func deal(_ holders: [Int], _ shares: [Double], _ pool: PoolOfDevices) {
        var busy = [Double](repeating: 0, count: devices.count)
        for slot in ExpertPlacement.descending(holders.map { shares[$0] }) {
            let expert = holders[slot]
            var best = -1
            var bestEnd = Double.infinity
            for device in devices.indices where devices[device].count < pool.slots[device] {
                // A second replica on one device carries nothing that the first does not.
                let double = devices[device].contains(expert) ? shares[expert] : 0
                let end =
                    (busy[device] + shares[expert] + double
                        + pool.costOfHaving(expert, on: device)) / pool.speed[device]
                if best < 0 || end < bestEnd { (best, bestEnd) = (device, end) }
            }
            devices[best].append(expert)
            busy[best] += shares[expert] + pool.costOfHaving(expert, on: best)
        }
    }

    /// When each device is done: loads and moves over speed.
    package func ends(loads: [Double], pool: PoolOfDevices) -> [Double] {
        ends(loads.indices.map { loads[$0] / Double(counts[$0]) }, pool)
    }

    private func ends(_ shares: [Double], _ pool: PoolOfDevices) -> [Double] {
        devices.indices.map { end($0, devices[$0], shares, pool) }
    }

    private func end(
        _ device: Int, _ experts: [Int], _ shares: [Double], _ pool: PoolOfDevices
    ) -> Double {
        experts.reduce(0) { $0 + shares[$1] + pool.costOfHaving($1, on: device) }
            / pool.speed[device]
    }

    private mutating func exchange(_ shares: [Double], _ pool: PoolOfDevices) {
        for _ in 0..<Self.exchangeLimit {
            let ends = ends(shares, pool)
            guard let last = ends.indices.max(by: { ends[$0] < ends[$1] }) else { return }
            var best: (own: Int, device: Int, other: Int, end: Double)?
            for own in devices[last].indices {
                for device in devices.indices where device != last {
                    for other in devices[device].indices {
                        let end = endAfter(last, own, device, other, shares, pool)
                        if end < best?.end ?? ends[last] * (1 - 1e-9) {
                            best = (own, device, other, end)
                        }
                    }
                }
            }
            guard let best else { return }
            let mine = devices[last][best.own]
            devices[last][best.own] = devices[best.device][best.other]
            devices[best.device][best.other] = mine
        }
    }

    /// The later end of the two devices once they have exchanged an expert.
    private func endAfter(
        _ a: Int, _ own: Int, _ b: Int, _ other: Int, _ shares: [Double], _ pool: PoolOfDevices
    ) -> Double {
        var first = devices[a]
        var second = devices[b]
        guard !first.contains(second[other]), !second.contains(first[own]) else { return .infinity }
        (first[own], second[other]) = (second[other], first[own])
        return max(end(a, first, shares, pool), end(b, second, shares, pool))
    }
}
