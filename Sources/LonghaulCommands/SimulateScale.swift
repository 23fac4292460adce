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

    @Option(help: "Instead of a file: a cluster of this many unlike workers.")
    var workers: Int?

    @Option(help: "With --workers: regions; by default one for each 100 workers, at least 4.")
    var regions: Int?

    @Option(help: "With --workers: outer rounds of 10 inner steps; 10 if not given.")
    var rounds: UInt32?

    @Option(
        help:
            "With --workers: Mbit/s of a link between two regions, on average; 1,000 if not given.")
    var rate: Double?

    @Option(help: "With --workers: kilometres between two regions, on average; 1,500 if not given.")
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
        let isPossible =
            (1...20_000).contains(workers) && (1...min(1_000, max(1, workers))).contains(regions)
            && (1...1_000_000).contains(rounds) && (0.01...1_000_000).contains(rate)
            && (0...100_000).contains(distance)
        guard isPossible else {
            throw Failure(
                .usage, "no cluster of \(workers) workers in \(regions) regions",
                hint: "1 to 20,000 workers, 1 to 1,000 regions with at least one worker each, "
                    + "1 to 1,000,000 rounds, 0.01 to 1,000,000 Mbit/s, 0 to 100,000 km")
        }
        return ClusterFile(
            topology: SyntheticCluster.topology(
                workers: workers, regions: regions, rate: UInt64(rate * 1e6), distance: distance,
                seed: seed),
            configuration: SyntheticCluster.configuration(seed: seed, rounds: rounds),
            seedIsGiven: true)
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
