import ExpertRouting

/// Where the experts of one layer are: in which region, and on which of its devices.
struct ExpertSites {
    /// Devices by region.
    let devices: [Int]
    let slots: Int
    /// By region: the experts it holds, ascending.
    let held: [[Int]]
    /// By region: the one that serves an expert of a token there, by expert.
    let server: [[Int]]
    /// By region, over `held`.
    private(set) var placements: [ExpertPlacement]

    /// - Parameter isShared: every region has all experts; otherwise each a part of them in proportion to
    ///   its devices.
    init(devices: [Int], slots: Int, experts: Int, isShared: Bool) {
        self.devices = devices
        self.slots = slots
        let all = devices.reduce(0, +)
        var parts: [[Int]] = []
        var before = 0
        for count in devices {
            let from = before * experts / all
            before += count
            parts.append(isShared ? Array(0..<experts) : Array(from..<before * experts / all))
        }
        held = parts
        server = devices.indices.map { own in
            (0..<experts).map { expert in
                isShared ? own : parts.firstIndex { $0.contains(expert) } ?? own
            }
        }
        placements = []
        place([Double](repeating: 1, count: experts), regional: nil)
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

    /// By what each region served: `regional[region][expert]`; without, by `loads` everywhere.
    mutating func place(_ loads: [Double], regional: [[Double]]?) {
        placements = devices.indices.map { region in
            let loads = held[region].map { regional?[region][$0] ?? loads[$0] }
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
