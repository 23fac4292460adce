import ArgumentParser
import ClusterModel
import ExpertRouting
import Foundation

/// `longhaul place`: which device holds which expert.
struct PlaceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "place",
        abstract: "Place experts and their replicas on devices by measured loads.",
        discussion: """
            The input is JSON: weight (loads, [layer][expert]), replicas (slots in all), groups, nodes,
            devices. With these keys alone the placement is EPLB's. Optional, for a pool: speed
            ([device]), slots ([device], instead of equal ones), link ([node][node], relative rates),
            move_cost (load units for one expert over a link of rate 1), present ([layer][device][...],
            experts there now).

            EXAMPLES
              longhaul place --input loads.json
              longhaul place --input loads.json --json
            """)

    @Option(help: "JSON file; '-' reads standard input.")
    var input: String

    @Flag(help: "Print JSON: phy2log, log2phy, logcnt, loads of devices.")
    var json = false

    /// The file. Arrays are `[layer][...]`.
    private struct Input: Decodable {
        var weight: [[Double]]
        var replicas: Int
        var groups: Int
        var nodes: Int
        var devices: Int
        var speed: [Double]?
        var slots: [Int]?
        var link: [[Double]]?
        var moveCost: Double?
        var present: [[[Int]]]?

        var isPool: Bool { speed != nil || slots != nil || present != nil }

        enum CodingKeys: String, CodingKey, CaseIterable {
            case weight, replicas, groups, nodes, devices, speed, slots, link, present
            case moveCost = "move_cost"
        }
    }

    struct Output: Encodable {
        /// Logical expert of each slot.
        var phy2log: [[Int]] = []
        /// Slots of each expert, filled up with -1.
        var log2phy: [[[Int]]] = []
        /// Replicas of each expert.
        var logcnt: [[Int]] = []
        var deviceLoads: [[Double]] = []
        /// Highest device load / mean; of a pool, latest end / the end if loads could be split at will.
        var imbalance: [Double] = []
        /// Of a pool: experts that each device has to fetch.
        var moves: [[[Int]]]?

        enum CodingKeys: String, CodingKey {
            case phy2log, log2phy, logcnt, imbalance, moves
            case deviceLoads = "device_loads"
        }
    }

    func run() throws {
        let problem = try read()
        let output = problem.isPool ? try placePool(problem) : try place(problem)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            print(String(decoding: try encoder.encode(output), as: UTF8.self))
            return
        }
        for layer in output.phy2log.indices {
            print("layer \(layer): imbalance \(Figures.significant(output.imbalance[layer]))")
            print("  slots  \(output.phy2log[layer].map(String.init).joined(separator: " "))")
            let loads = output.deviceLoads[layer].map(Figures.significant)
            print("  loads  \(loads.joined(separator: " "))")
            if let moves = output.moves?[layer] {
                print("  moves  \(moves.reduce(0) { $0 + $1.count })")
            }
        }
    }

    private func read() throws -> Input {
        let data =
            input == "-"
            ? try FileHandle.standardInput.readToEnd() ?? Data()
            : try Paths.read(input, "the input")
        do {
            try refuseUnknown(JSONDecoder().decode(Keys.self, from: data))
            return try JSONDecoder().decode(Input.self, from: data)
        } catch let error as DecodingError {
            throw Failure(
                .data, "\(input): \(Self.text(error))",
                hint: """
                    for example {"weight": [[9, 1, 4, 2]], "replicas": 6, "groups": 1, "nodes": 1, \
                    "devices": 2}
                    """
            )
        }
    }

    /// Whatever keys there are.
    private struct Keys: Decodable {
        struct Key: CodingKey {
            var stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
        let names: [String]
        init(from decoder: any Decoder) throws {
            names = try decoder.container(keyedBy: Key.self).allKeys.map(\.stringValue).sorted()
        }
    }

    private func refuseUnknown(_ keys: Keys) throws {
        let known = Input.CodingKeys.allCases.map(\.rawValue)
        guard let key = keys.names.first(where: { !known.contains($0) }) else { return }
        throw Failure(
            .data, "\(input): unknown key '\(key)'", hint: "one of \(known.joined(separator: ", "))"
        )
    }

    private static func text(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "key '\(key.stringValue)' is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")): "
                + context.debugDescription
        case .dataCorrupted(let context): "not JSON: \(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }

    private func refuse(_ what: String) -> Failure { Failure(.data, "\(input): \(what)") }

    private func check(_ problem: Input) throws {
        guard let experts = problem.weight.first?.count else { throw refuse("weight has no layer") }
        for (layer, loads) in problem.weight.enumerated() {
            guard loads.count == experts else {
                throw refuse(
                    "weight: layer \(layer) has \(loads.count) experts, layer 0 \(experts)")
            }
            guard loads.allSatisfy({ (0...Self.most).contains($0) }) else {
                throw refuse("weight: layer \(layer) has a load that is not in 0 to \(Self.most)")
            }
        }
        let slots = problem.replicas
        guard slots <= 1 << 20, experts <= 1 << 20, slots <= 0 || experts <= (1 << 28) / slots
        else {
            throw refuse(
                "\(slots) replicas of \(experts) experts are too many: at most \(1 << 20) of each, and "
                    + "\(1 << 28) multiplied")
        }
    }

    /// Loads, speeds, rates and costs: sums and ratios of these are finite.
    private static let most = 1e30
    private static let positive = 1e-30...most

    private func place(_ problem: Input) throws -> Output {
        try check(problem)
        let request = ExpertPlacement.Request(
            replicas: problem.replicas, groups: problem.groups, nodes: problem.nodes,
            devices: problem.devices)
        if let objection = request.objection(experts: problem.weight[0].count) {
            throw refuse(objection)
        }
        let placements = problem.weight.map { ExpertPlacement(loads: $0, request) }
        let width = placements.flatMap(\.counts).max() ?? 1
        var output = Output()
        for (loads, placement) in zip(problem.weight, placements) {
            let devices = placement.deviceLoads(loads, devices: problem.devices)
            let mean = devices.reduce(0, +) / Double(devices.count)
            output.phy2log.append(placement.slots)
            output.log2phy.append(placement.slotsByExpert(width: width))
            output.logcnt.append(placement.counts)
            output.deviceLoads.append(devices)
            output.imbalance.append(mean > 0 ? (devices.max() ?? 0) / mean : 1)
        }
        return output
    }

    // MARK: A pool

    private static let nodesMost = 1_024
    private static let devicesMost = 16_384
    private static let comparisonsMost = 1 << 26

    private func placePool(_ problem: Input) throws -> Output {
        try check(problem)
        let count = problem.devices
        guard count >= 1, problem.nodes >= 1, count % problem.nodes == 0 else {
            throw refuse("\(count) devices do not divide among \(problem.nodes) nodes")
        }
        guard problem.nodes <= Self.nodesMost, count <= Self.devicesMost else {
            throw refuse(
                "a pool has at most \(Self.devicesMost) devices in \(Self.nodesMost) nodes, not \(count) in "
                    + "\(problem.nodes)")
        }
        let speed = problem.speed ?? Array(repeating: 1, count: count)
        let slots =
            problem.slots ?? Array(repeating: problem.replicas / count, count: count)
        let link =
            problem.link
            ?? Array(repeating: Array(repeating: 1, count: problem.nodes), count: problem.nodes)
        try checkTables(problem, speed, slots, link)
        // One look for an exchange compares each slot of the last device with all others.
        let fullest = slots.max() ?? 0
        guard fullest * fullest <= Self.comparisonsMost / max(1, problem.replicas) else {
            throw refuse(
                "\(problem.replicas) slots with \(fullest) on one device are too many for a pool; "
                    + "leave speed, slots and present out for EPLB's placement")
        }
        var output = Output()
        output.moves = []
        for (layer, loads) in problem.weight.enumerated() {
            let pool = PoolOfDevices(
                speed: speed, slots: slots, node: (0..<count).map { $0 / (count / problem.nodes) },
                link: link, moveCost: problem.moveCost ?? 0,
                present: problem.present?[layer] ?? [])
            add(UnequalPlacement(loads: loads, pool: pool), loads, pool, to: &output)
        }
        let width = output.logcnt.flatMap { $0 }.max() ?? 1
        output.log2phy = output.log2phy.map { layer in
            layer.map { $0 + Array(repeating: -1, count: width - $0.count) }
        }
        return output
    }

    private func checkTables(
        _ problem: Input, _ speed: [Double], _ slots: [Int], _ link: [[Double]]
    ) throws {
        let experts = problem.weight[0].count
        guard speed.count == problem.devices, speed.allSatisfy(Self.positive.contains) else {
            throw refuse(
                "speed needs a number of \(Self.positive.lowerBound) to \(Self.most) for each of "
                    + "\(problem.devices) devices")
        }
        guard slots.count == problem.devices, slots.allSatisfy((0...1 << 20).contains),
            slots.reduce(0, +) == problem.replicas, problem.replicas >= experts
        else {
            throw refuse(
                "slots of \(problem.devices) devices must sum to replicas (\(problem.replicas)), "
                    + "which must hold \(experts) experts")
        }
        guard link.count == problem.nodes,
            link.allSatisfy({
                $0.count == problem.nodes && $0.allSatisfy(Self.positive.contains)
            })
        else {
            throw refuse(
                "link needs a rate of \(Self.positive.lowerBound) to \(Self.most) for each pair of "
                    + "\(problem.nodes) nodes")
        }
        guard (0...Self.most).contains(problem.moveCost ?? 0) else {
            throw refuse("move_cost is not in 0 to \(Self.most)")
        }
        if let present = problem.present {
            guard present.count == problem.weight.count,
                present.allSatisfy({
                    $0.count == problem.devices
                        && $0.allSatisfy { $0.allSatisfy((0..<experts).contains) }
                })
            else {
                throw refuse(
                    "present needs, for each layer, a list of experts (0 to \(experts - 1)) for each "
                        + "device")
            }
        }
    }

    private func add(
        _ placement: UnequalPlacement, _ loads: [Double], _ pool: PoolOfDevices,
        to output: inout Output
    ) {
        let slots = placement.devices.flatMap { $0 }
        var places = loads.map { _ in [Int]() }
        for (slot, expert) in slots.enumerated() { places[expert].append(slot) }
        output.phy2log.append(slots)
        output.log2phy.append(places)
        output.logcnt.append(placement.counts)
        output.deviceLoads.append(
            placement.devices.map { experts in
                experts.reduce(0) { $0 + loads[$1] / Double(placement.counts[$1]) }
            })
        let ideal = loads.reduce(0, +) / pool.speed.reduce(0, +)
        let latest = placement.ends(loads: loads, pool: pool).max() ?? 0
        output.imbalance.append(ideal > 0 ? latest / ideal : 1)
        output.moves?.append(placement.moves)
    }
}
