import ArgumentParser
import ClusterModel
import Simulation

/// `longhaul bandwidth`: the link rate that a compute utilisation needs.
struct BandwidthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bandwidth",
        abstract: "Link rate between two replicas for a compute utilisation (a model, no run).",
        discussion: """
            EXAMPLES
              longhaul bandwidth --parameters 100B --layers 108 --step-time 4.9s --method streaming \\
                --sync-every 100 --fragment-layers 3 --overlap 1 --utilisation 0.95 --grid paper
              longhaul bandwidth --parameters 1e9 --layers 24 --step-time '0.1 s' \\
                --method data-parallel --utilisation 0.5 --json

            The model, and how well it reproduces a published table: docs/bandwidth.md.
            """)

    @Option(parsing: .unconditional, help: "Parameters: 1e9, 1000000000 or 1B (K, M, B, T).")
    var parameters: String

    @Option(parsing: .unconditional, help: "Layers of the model.")
    var layers: Int

    @Option(parsing: .unconditional, help: "Compute time of one step: 0.1s, '100 ms', 4.9.")
    var stepTime: String

    @Option(help: "data-parallel, diloco or streaming.")
    var method: String

    @Option(parsing: .unconditional, help: "H: inner steps between two rounds of a layer.")
    var syncEvery = 100

    @Option(
        parsing: .unconditional,
        help: "Layers of one fragment; all of them in one fragment if not given.")
    var fragmentLayers: Int?

    @Option(
        parsing: .unconditional,
        help: "Inner steps that a transfer may overlap with, beyond the next forward.")
    var overlap = 0

    @Option(parsing: .unconditional, help: "Bits per parameter on the link; may be fractional.")
    var bits = 16.0

    @Option(parsing: .unconditional, help: "Share of the time that is compute, 0 to 1.")
    var utilisation = 0.95

    @Option(help: "none: the rate itself; paper: first point of the published grid.")
    var grid = "none"

    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Answer: Encodable {
        var gigabitsPerSecond: Double
        var utilisation: Double
        var reachedUtilisation: Double
        var parameters: Double
        var layers: Int
        var stepSeconds: Double
        var method: String
        var syncEvery: Int
        var fragmentLayers: Int
        var overlap: Int
        var bits: Double
        var grid: String
    }

    func run() throws {
        guard let kind = BandwidthModel.Method(rawValue: method) else {
            throw Failure(
                .usage, "unknown method '\(method)'",
                hint:
                    "one of \(BandwidthModel.Method.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        guard let grid = BandwidthGrid(rawValue: grid) else {
            throw Failure(.usage, "unknown grid '\(grid)'", hint: "use none or paper")
        }
        let count = try Self.number(parameters, "--parameters", units: Self.counts)
        let seconds = try Self.number(stepTime, "--step-time", units: Self.times)
        try check(count, seconds)
        let model = BandwidthModel(
            parameters: count, layers: layers, stepTime: seconds, method: kind,
            syncEvery: syncEvery, fragmentLayers: fragmentLayers, overlap: overlap, bits: bits)
        guard let rate = grid.gigabitsPerSecond(model, utilisation: utilisation) else {
            throw Failure(.data, "no link rate reaches a utilisation of \(utilisation)")
        }
        let reached = model.utilisation(rate: rate * 1e9)
        guard json else {
            print("\(rate) Gbit/s for a compute utilisation of \(utilisation) (reaches \(reached))")
            return
        }
        try Console.printJSON(
            Answer(
                gigabitsPerSecond: rate, utilisation: utilisation, reachedUtilisation: reached,
                parameters: count, layers: layers, stepSeconds: seconds, method: method,
                syncEvery: syncEvery, fragmentLayers: model.fragmentLayers, overlap: overlap,
                bits: bits, grid: grid.rawValue))
    }

    /// What the model can compute in a moment: three periods of steps of all layers, a hundred times.
    private static let countMost = 1_000_000
    private static let workMost = 20_000_000

    private func check(_ count: Double, _ seconds: Double) throws {
        func require(_ isRight: Bool, _ flag: String, _ value: String, _ expected: String) throws {
            guard isRight else {
                throw Failure(.usage, "\(flag) \(value) is not \(expected)")
            }
        }
        let counts = 1...Self.countMost
        try require((1...1e30).contains(count), "--parameters", parameters, "in 1 to 1e30")
        try require(
            (1e-9...1e9).contains(seconds), "--step-time", stepTime, "in 1e-9 to 1e9 seconds")
        try require(counts.contains(layers), "--layers", "\(layers)", "in 1 to 1,000,000")
        try require(counts.contains(syncEvery), "--sync-every", "\(syncEvery)", "in 1 to 1,000,000")
        try require(
            (0...Self.countMost).contains(overlap), "--overlap", "\(overlap)", "in 0 to 1,000,000")
        if let fragmentLayers {
            try require(
                (1...layers).contains(fragmentLayers), "--fragment-layers", "\(fragmentLayers)",
                "in 1 to \(layers), the layers of the model")
        }
        try require(
            bits > 0 && bits <= 1e6, "--bits", "\(bits)", "a positive number up to 1,000,000")
        try require(
            utilisation > 0 && utilisation < 1, "--utilisation", "\(utilisation)",
            "between 0 and 1")
        guard layers * max(3 * syncEvery, overlap + 1) <= Self.workMost else {
            throw Failure(
                .usage,
                "--layers \(layers) with --sync-every \(syncEvery) and --overlap \(overlap) is too much to "
                    + "compute",
                hint: "layers times steps between two rounds at most \(Self.workMost / 3)")
        }
    }

    private static let counts: [(suffix: String, factor: Double)] = [
        ("k", 1e3), ("m", 1e6), ("b", 1e9), ("g", 1e9), ("t", 1e12),
    ]
    private static let times: [(suffix: String, factor: Double)] = [
        ("ms", 1e-3), ("us", 1e-6), ("min", 60), ("s", 1),
    ]

    /// A positive number with an optional unit behind it, with or without a space.
    private static func number(
        _ text: String, _ flag: String, units: [(suffix: String, factor: Double)]
    ) throws -> Double {
        let plain = text.lowercased().filter { $0 != " " && $0 != "_" }
        let unit = units.first { plain.hasSuffix($0.suffix) }
        let digits = plain.dropLast(unit?.suffix.count ?? 0)
        // With the unit: 1e-322 ms is nothing, 1e308 min is infinite.
        let factor = unit?.factor ?? 1
        guard let value = Double(digits).map({ $0 * factor }), value > 0, value.isFinite else {
            let known = units.map(\.suffix).joined(separator: ", ")
            throw Failure(
                .usage, "\(flag) '\(text)' is not a positive number",
                hint: "a number, or one with a unit: \(known)")
        }
        return value
    }
}
