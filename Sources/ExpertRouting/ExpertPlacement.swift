/// Which physical slots hold which logical expert: hot experts get replicas, devices get equal loads
/// (DeepSeek-AI 2025, "Expert Parallelism Load Balancer": its two policies and their tie-breaking).
package struct ExpertPlacement: Equatable, Sendable {
    /// Logical expert of each slot; slots of a device are consecutive.
    package var slots: [Int]
    /// Which of its expert's replicas a slot holds.
    package var replica: [Int]
    /// Replicas of each expert.
    package var counts: [Int]

    /// What is asked for.
    package struct Request: Equatable, Sendable {
        /// Slots in all.
        package var replicas: Int
        /// Groups of experts that want to be on one node.
        package var groups: Int
        package var nodes: Int
        package var devices: Int

        package init(replicas: Int, groups: Int, nodes: Int, devices: Int) {
            self.replicas = replicas
            self.groups = groups
            self.nodes = nodes
            self.devices = devices
        }

        /// Why it cannot be met for so many experts; nil if it can.
        package func objection(experts: Int) -> String? {
            if experts < 1 { return "there are no experts" }
            if nodes < 1 || devices < 1 || groups < 1 {
                return "groups, nodes and devices are at least 1"
            }
            if replicas < experts { return "\(replicas) replicas cannot hold \(experts) experts" }
            if replicas % devices != 0 {
                return "\(replicas) replicas do not divide among \(devices) devices"
            }
            if devices % nodes != 0 {
                return "\(devices) devices do not divide among \(nodes) nodes"
            }
            if experts % groups != 0 {
                return "\(experts) experts do not divide into \(groups) groups"
            }
            return nil
        }
    }

    /// Hierarchical where groups divide among nodes: groups to nodes, replicas inside the node, replicas
    /// to devices. Otherwise global: one group, one node.
    ///
    /// - Parameter loads: of each logical expert, finite and not negative.
    /// - Precondition: the request has no objection.
    package init(loads: [Double], _ request: Request) {
        precondition(request.objection(experts: loads.count) == nil, "request that cannot be met")
        let isHierarchical = request.groups % request.nodes == 0
        let nodes = isHierarchical ? request.nodes : 1
        let groups = isHierarchical ? request.groups : 1
        let groupSize = loads.count / groups
        let groupLoads = (0..<groups).map { group in
            loads[group * groupSize..<(group + 1) * groupSize].reduce(0, +)
        }
        slots = []
        replica = []
        counts = Array(repeating: 0, count: loads.count)
        for members in Self.pack(groupLoads, into: nodes) {
            let experts = members.flatMap { group in
                (0..<groupSize).map { group * groupSize + $0 }
            }
            place(experts, loads, slots: request.replicas / nodes, devices: request.devices / nodes)
        }
    }

    /// Replicas of one node's experts, dealt to its devices.
    private mutating func place(_ experts: [Int], _ loads: [Double], slots count: Int, devices: Int)
    {
        let (holders, ranks, copies) = Self.replicate(experts.map { loads[$0] }, count)
        let shares = holders.map { loads[experts[$0]] / Double(copies[$0]) }
        for device in Self.pack(shares, into: devices) {
            for physical in device {
                slots.append(experts[holders[physical]])
                replica.append(ranks[physical])
            }
        }
        for (local, expert) in experts.enumerated() { counts[expert] = copies[local] }
    }

    /// Deals items to packs of equal size: heaviest first, each to the lightest pack with room, the first
    /// of equals. With one item per pack each keeps its place.
    ///
    /// - Returns: the items of each pack, in the order they came.
    package static func pack(_ weights: [Double], into packs: Int) -> [[Int]] {
        let room = weights.count / packs
        guard room > 1 else { return weights.indices.map { [$0] } }
        var members = Array(repeating: [Int](), count: packs)
        var loads = [Double](repeating: 0, count: packs)
        for item in descending(weights) {
            var lightest = -1
            for pack in 0..<packs where members[pack].count < room {
                if lightest < 0 || loads[pack] < loads[lightest] { lightest = pack }
            }
            members[lightest].append(item)
            loads[lightest] += weights[item]
        }
        return members
    }

    /// One slot for each expert, and each further one to the expert with the highest load per replica, the
    /// first of equals.
    ///
    /// - Returns: the expert of each slot, which of its replicas that is, and the replicas of each expert.
    package static func replicate(
        _ loads: [Double], _ slots: Int
    ) -> (holders: [Int], ranks: [Int], counts: [Int]) {
        var holders = Array(loads.indices)
        var ranks = loads.map { _ in 0 }
        var counts = loads.map { _ in 1 }
        for _ in loads.count..<max(slots, loads.count) {
            var hottest = 0
            for expert in loads.indices
            where loads[expert] / Double(counts[expert]) > loads[hottest] / Double(counts[hottest])
            {
                hottest = expert
            }
            holders.append(hottest)
            ranks.append(counts[hottest])
            counts[hottest] += 1
        }
        return (holders, ranks, counts)
    }

    /// Indices by falling weight; equals keep their order.
    static func descending(_ weights: [Double]) -> [Int] {
        weights.indices.sorted { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
    }

    /// Slots of each expert by replica, filled up with -1 to the same length.
    ///
    /// - Parameter width: at least the most replicas of an expert.
    package func slotsByExpert(width: Int) -> [[Int]] {
        var table = counts.map { _ in Array(repeating: -1, count: width) }
        for (slot, expert) in slots.enumerated() { table[expert][replica[slot]] = slot }
        return table
    }

    /// Load of each device, an expert's spread evenly over its replicas.
    package func deviceLoads(_ loads: [Double], devices: Int) -> [Double] {
        let perDevice = slots.count / devices
        return (0..<devices).map { device in
            slots[device * perDevice..<(device + 1) * perDevice].reduce(0) {
                $0 + loads[$1] / Double(counts[$1])
            }
        }
    }
}
