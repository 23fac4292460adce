internal import ClusterModel
internal import Yams

/// Reads the whole file: the top-level keys here, each group in its own extension. Groups are read
/// even when others are wrong, so that all issues come at once; rules that need several groups are
/// applied where all of them could be read.
struct FileReader {
    let issues: IssueList

    static let topKeys = [
        "name", "steps", "seed", "coordinator", "regions", "links", "schedule", "wire", "model",
        "training", "deadlines", "data", "emulate", "same_host", "devices", "reference",
        "routing",
    ]

    /// `nil` when something was wrong; the issues say what.
    func read(_ root: Node) -> ClusterFile? {
        guard
            let top = Section(
                root, path: "", line: root.mark?.line ?? 1, keys: Self.topKeys, issues: issues)
        else { return nil }
        let name = top.required(
            .name("name", of: "the name of the run", example: "shanghai-jinan"))
        let steps = top.required(
            .count("steps", 1...Limits.steps, of: "inner steps of the run", example: 300))
        let seed = top.value(
            .integer("seed", of: "a whole number of 0 or more, below 2^64", example: "7"))
        let emulation = readEmulation(top)
        let devices = readDevices(top)
        var topology = readTopology(top, emulation: emulation, devices: devices)
        topology?.sameHost = top.value(
            .choice(
                "same_host", of: "how workers of a region on one machine reach each other",
                Topology.SameHost.allCases.map { ($0.rawValue, $0) }))
        let model = readModel(top)
        let schedule = readSchedule(top, topology: topology, model: model, steps: steps)
        checkSpread(top, topology: topology, model: model, schedule: schedule)
        checkCrossing(top, topology: topology, model: model, schedule: schedule)
        checkMemory(top, topology: topology, model: model, schedule: schedule)
        var wire = readWire(top, topology: topology)
        if !checkWire(top, wire, schedule) { wire = nil }
        let training = readTraining(top, steps: steps, schedule: schedule)
        let deadlines = readDeadlines(top, workers: topology?.seats.count)
        let data = readData(top)
        checkSynthetic(top, model: model, topology: topology)
        let routing = readRouting(top, model: model, topology: topology)
        guard let name, let steps, let topology, let model, let schedule, let wire, let training,
            let deadlines, let data
        else { return nil }
        var file = ClusterFile(
            topology: topology,
            configuration: RunConfiguration(
                name: name, seed: seed ?? UInt64.random(in: 0..<(1 << 32)), steps: UInt32(steps),
                model: model, training: training, schedule: schedule, wire: wire,
                deadlines: deadlines, data: data),
            seedIsGiven: top.line(of: "seed") != nil)
        file.emulation = emulation
        file.routing = routing
        file.adaptIsGiven = top.section("schedule", keys: nil)?.line(of: "adapt") != nil
        return file
    }
}
