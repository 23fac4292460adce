import ExpertRouting

/// Where the experts of one layer are: in which region, and on which of its devices.
struct ExpertSites {
    /// Devices by region.
    let devices: [Int]
    let slots: Int
    /// By expert: the region that has it alone; nil: all have it.
    private(set) var owners: [Int?] = []
    /// By region: the experts it holds, ascending.
    private(set) var held: [[Int]] = []
    /// By region: the one that serves an expert of a token there, by expert.
    private(set) var server: [[Int]] = []
    /// By region, over `held`.
    private(set) var placements: [ExpertPlacement] = []

    init(devices: [Int], slots: Int, owners: [Int?]) {
        self.devices = devices
        self.slots = slots
        own(owners)
        place(devices.map { _ in owners.map { _ in 1 } })
    }

    /// Devices hold what they held until ``place(_:)``.
    mutating func own(_ owners: [Int?]) {
        self.owners = owners
        held = devices.indices.map { region in
            owners.indices.filter { owners[$0] == nil || owners[$0] == region }
        }
        server = devices.indices.map { region in owners.map { $0 ?? region } }
    }

    /// Why the experts have no room; nil if they have.
    func objection(_ names: [String]) -> String? {
        for region in devices.indices where held[region].count > devices[region] * slots {
            return
                "\(names[region]) holds \(held[region].count) experts of a layer in "
                + "\(devices[region] * slots) slots"
        }
        return held.contains(where: \.isEmpty) ? "a region holds no expert" : nil
    }

    /// By what tokens of each region want, `wanted[region][expert]`.
    mutating func place(_ wanted: [[Double]]) {
        placements = devices.indices.map { region in
            let loads = held[region].map { expert in
                wanted.indices.reduce(0) {
                    server[$1][expert] == region ? $0 + wanted[$1][expert] : $0
                }
            }
            let request = ExpertPlacement.Request(
                replicas: max(devices[region] * slots, held[region].count), groups: 1, nodes: 1,
                devices: devices[region])
            guard request.objection(experts: loads.count) == nil else {
                return ExpertPlacement(
                    loads: [1],
                    ExpertPlacement.Request(replicas: 1, groups: 1, nodes: 1, devices: 1))
            }
            return ExpertPlacement(loads: loads, request)
        }
    }

    /// By slot of a region: its expert.
    func experts(in region: Int) -> [Int] { placements[region].slots.map { held[region][$0] } }

    /// Load of each device of a region.
    func deviceLoads(_ region: Int, _ served: [Double]) -> [Double] {
        placements[region].deviceLoads(
            held[region].map { served[$0] }, devices: devices[region])
    }

    /// By region and expert, the devices its replicas lie on: device r's replicas serve tokens in turn.
    func holders() -> [[[Int]]] {
        devices.indices.map { region in
            var holders = [[Int]](repeating: [], count: server[region].count)
            for (slot, local) in placements[region].slots.enumerated() {
                holders[held[region][local]].append(slot / slots)
            }
            return holders
        }
    }
}
