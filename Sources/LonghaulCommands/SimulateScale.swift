import ArgumentParser
import ClusterFile
import ClusterModel
import Simulation

extension Fidelity: ExpressibleByArgument {}

/// How finely `longhaul simulate` looks, and clusters made up for measurements of scale.
struct ScaleOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How finely: chunk (every frame), slice (a frame per slice), round.",
            discussion: """
                chunk and slice drive the machines that ship. round is for thousands of workers: \
                the coordinator that ships, workers and collectives by formula.
                """))
    var fidelity: Fidelity?

    @Option(
        parsing: .unconditional, help: "Instead of a file: a cluster of this many unlike workers.")
    var workers: Int?

    @Option(
        parsing: .unconditional,
        help: "With --workers: regions; by default one for each 100 workers, at least 4.")
    var regions: Int?

    @Option(
        parsing: .unconditional,
        help: "With --workers: outer rounds of 10 inner steps; 10 if not given.")
    var rounds: UInt32?

    @Option(
        parsing: .unconditional,
        help:
            "With --workers: Mbit/s of a link between two regions, on average; 1,000 if not given.")
    var rate: Double?

    @Option(
        parsing: .unconditional,
        help: "With --workers: kilometres between two regions, on average; 1,500 if not given.")
    var distance: Double?

    @Option(help: "Plans follow measured rates: on, or never (the default with a seed).")
    var adapt: RunFile.Adapt?

    var isGiven: Bool { fidelity != nil || workers != nil || describesCluster }

    private var describesCluster: Bool {
        regions != nil || rounds != nil || rate != nil || distance != nil
    }

    /// The cluster of `file`, or one that is made up.
    func cluster(
        file: String?, seed: UInt64?, steps: UInt32?, data: String?
    ) throws -> ClusterFile {
        guard let workers else {
            guard let file else {
                throw Failure(
                    .usage, "give a cluster file, --workers N, or --swarm --seeds A..B")
            }
            guard !describesCluster else {
                throw Failure(
                    .usage, "--regions, --rounds, --rate and --distance describe a made-up cluster",
                    hint: "they go with --workers, not with a file")
            }
            var input = RunFile()
            (input.file, input.seed, input.steps, input.data) = (file, seed, steps, data)
            (input.onlyRegion, input.oneSite, input.adapt) = (nil, false, adapt)
            (input.startFrom, input.linkRate, input.linkDistance) = (nil, nil, nil)
            return try input.load()
        }
        guard file == nil, steps == nil, data == nil else {
            throw Failure(
                .usage, "--workers makes a cluster up and takes no file, --steps or --data",
                hint: "--rounds says how long it trains")
        }
        let seed = seed ?? 1
        let rounds = rounds ?? 10
        let rate = rate ?? 1_000
        let distance = distance ?? 1_500
        let regions = regions ?? max(min(4, workers), workers / 100)
        try Self.require(workers, in: 1...20_000, "--workers")
        try Self.require(regions, in: 1...min(1_000, workers), "--regions")
        try Self.require(rounds, in: 1...1_000_000, "--rounds")
        try Self.require(rate, in: 0.01...1_000_000, "--rate")
        try Self.require(distance, in: 0...100_000, "--distance")
        return ClusterFile(
            topology: SyntheticCluster.topology(
                workers: workers, regions: regions, rate: UInt64(rate * 1e6), distance: distance,
                seed: seed),
            configuration: SyntheticCluster.configuration(seed: seed, rounds: rounds),
            seedIsGiven: true)
    }

    private static func require<Value>(
        _ value: Value, in range: ClosedRange<Value>, _ flag: String
    ) throws {
        guard !range.contains(value) else { return }
        let regions = flag == "--regions" ? "; each region has a worker" : ""
        throw Failure(
            .usage,
            "\(flag) \(value) is not in \(range.lowerBound) to \(range.upperBound)\(regions)")
    }

    /// `chunk` unless told otherwise; many workers frame by frame only when asked for.
    func fidelity(workers: Int) throws -> Fidelity {
        if let fidelity { return fidelity }
        guard workers <= Fidelity.suggestsRoundAbove else {
            throw Failure(
                .usage,
                "\(workers) workers exchange more than \(workers * workers) frames a round: "
                    + "frame by frame takes hours",
                hint: "add --fidelity round, or --fidelity chunk to wait for it")
        }
        return .chunk
    }
}
