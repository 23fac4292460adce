import ExpertRouting
import Testing

@Suite struct PlacementTests {
    private static let weight: [[Double]] = [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]

    /// The example that EPLB publishes.
    @Test func `the published example, slot by slot`() {
        let request = ExpertPlacement.Request(replicas: 16, groups: 4, nodes: 2, devices: 8)
        let slots = Self.weight.map { ExpertPlacement(loads: $0, request).slots }
        #expect(slots[0] == [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1])
        #expect(slots[1] == [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1])
    }

    @Test(arguments: [(12, 1, 1, 4), (16, 4, 2, 8), (24, 3, 2, 8), (12, 12, 12, 12), (36, 6, 3, 9)])
    func `every placement holds every expert, and counts agree`(
        replicas: Int, groups: Int, nodes: Int, devices: Int
    ) {
        let request = ExpertPlacement.Request(
            replicas: replicas, groups: groups, nodes: nodes, devices: devices)
        #expect(request.objection(experts: 12) == nil)
        for loads in Self.weight {
            let placement = ExpertPlacement(loads: loads, request)
            #expect(placement.slots.count == replicas)
            #expect(placement.counts.reduce(0, +) == replicas)
            let table = placement.slotsByExpert(width: placement.counts.max() ?? 1)
            for expert in 0..<12 {
                let slots = table[expert].filter { $0 >= 0 }
                #expect(slots.count == placement.counts[expert])
                #expect(
                    Set(slots)
                        == Set(placement.slots.indices.filter { placement.slots[$0] == expert }))
            }
            let total = placement.deviceLoads(loads, devices: devices).reduce(0, +)
            #expect(abs(total - loads.reduce(0, +)) < 1e-9)
        }
    }

    @Test func `requests that cannot be met are refused with the reason`() {
        func objection(_ r: Int, _ g: Int, _ n: Int, _ d: Int) -> String? {
            ExpertPlacement.Request(replicas: r, groups: g, nodes: n, devices: d)
                .objection(experts: 12)
        }
        #expect(objection(8, 1, 1, 4)?.contains("cannot hold") == true)
        #expect(objection(13, 1, 1, 4)?.contains("devices") == true)
        #expect(objection(12, 1, 3, 4)?.contains("nodes") == true)
        #expect(objection(12, 5, 1, 4)?.contains("groups") == true)
        #expect(objection(12, 4, 0, 4)?.contains("at least 1") == true)
    }

    private func pool(
        speed: [Double], slots: [Int], moveCost: Double = 0, present: [[Int]] = [],
        link: [[Double]] = [[1, 1], [1, 1]]
    ) -> PoolOfDevices {
        PoolOfDevices(
            speed: speed, slots: slots, node: speed.indices.map { $0 * 2 / speed.count },
            link: link,
            moveCost: moveCost, present: present)
    }

    @Test func `a fast device takes more load than a slow one`() {
        let pool = pool(speed: [4, 2, 1, 1], slots: [6, 5, 3, 2])
        for loads in Self.weight {
            let placement = UnequalPlacement(loads: loads, pool: pool)
            #expect(placement.devices.map(\.count) == [6, 5, 3, 2])
            #expect(Set(placement.devices.flatMap { $0 }) == Set(0..<12))
            let ends = placement.ends(loads: loads, pool: pool)
            let ideal = loads.reduce(0, +) / 8
            #expect((ends.max() ?? 0) < 1.25 * ideal, "\(ends) against \(ideal)")
            // As if all were equal, the slow ones would hold it up.
            let blind = UnequalPlacement(
                loads: loads, pool: self.pool(speed: [1, 1, 1, 1], slots: [6, 5, 3, 2]))
            let blindEnds = zip(blind.devices, [4, 2, 1, 1]).map { experts, speed in
                experts.reduce(0) { $0 + loads[$1] / Double(blind.counts[$1]) } / speed
            }
            #expect((ends.max() ?? 0) < (blindEnds.max() ?? 0))
        }
    }

    /// Nowhere does it end: any device with room is as good as another.
    @Test func `loads beyond all bounds are placed all the same`() {
        for loads in [Array(repeating: 1e308, count: 12), Array(repeating: .infinity, count: 12)] {
            let placement = UnequalPlacement(
                loads: loads, pool: pool(speed: [1e-300, 1, 1, 1], slots: [4, 4, 4, 4]))
            #expect(placement.devices.map(\.count) == [4, 4, 4, 4])
            #expect(Set(placement.devices.flatMap { $0 }) == Set(0..<12))
        }
    }

    @Test func `moving costs keep experts where they are, slow links more so`() {
        let loads = Self.weight[0]
        let speed: [Double] = [1, 1, 1, 1]
        let first = UnequalPlacement(loads: loads, pool: pool(speed: speed, slots: [4, 4, 4, 4]))
        // The loads have drifted a little.
        let drifted = loads.enumerated().map { $1 * ($0 % 2 == 0 ? 1.1 : 0.9) }
        func moves(_ cost: Double, _ far: Double) -> Int {
            UnequalPlacement(
                loads: drifted,
                pool: pool(
                    speed: speed, slots: [4, 4, 4, 4], moveCost: cost, present: first.devices,
                    link: [[1, far], [far, 1]])
            ).moves.reduce(0) { $0 + $1.count }
        }
        #expect(moves(0, 1) > moves(20, 1))
        #expect(moves(20, 1) >= moves(20, 0.05))
        #expect(moves(1e6, 1) <= 2)
    }
}
