import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import Training

/// The cluster file and the flags that replace single values of it. Flags stand above the file, the file
/// above defaults.
struct RunFile: ParsableArguments {
    @Argument(help: "Cluster file (YAML).")
    var file: String

    @Option(
        parsing: .unconditional,
        help: "Seed of the run: parameters, data order, jitter. Same seed, same bytes.")
    var seed: UInt64?

    @Option(parsing: .unconditional, help: "Inner steps each replica trains.")
    var steps: UInt32?

    @Option(help: "Text to train on: plain, .gz or dictzip. 'gcide' is Debian's dictionary.")
    var data: String?

    @Option(help: "Start from the parameters of this model (safetensors), not from drawn ones.")
    var startFrom: String?

    @Option(
        parsing: .unconditional, help: "All links at this rate instead of the file's, in Mbit/s.")
    var linkRate: Double?

    @Option(
        parsing: .unconditional,
        help: "All links this long instead of the file's, in km; delays in proportion.")
    var linkDistance: Double?

    @Option(help: "Plans follow measured rates: on, or never (the default with a seed).")
    var adapt: Adapt?

    enum Adapt: String, ExpressibleByArgument, CaseIterable { case on, never }

    @Option(help: "Run this region by itself: its workers, without links.")
    var onlyRegion: String?

    @Flag(help: "Run all workers as one site: one region without links, every step a round, fp32.")
    var oneSite = false

    /// Reads and checks the file and applies the flags.
    func load() throws -> ClusterFile {
        var cluster = try ClusterFile.load(path: file)
        if let seed {
            cluster.configuration.seed = seed
            cluster.seedIsGiven = true
            if !cluster.adaptIsGiven { cluster.configuration.schedule.adapts = false }
        }
        if let adapt { cluster.configuration.schedule.adapts = adapt == .on }
        if let steps {
            guard steps > 0 else {
                throw Failure(.usage, "--steps 0 trains nothing", hint: "use at least 1")
            }
            try check(steps, cluster.configuration.schedule)
            cluster.configuration.steps = steps
        }
        if let data {
            guard cluster.configuration.model.synthetic == nil else {
                throw Failure(
                    .usage, "--data '\(data)', and a synthetic model reads no text",
                    hint: "leave --data out, or `synthetic` out of `model` in \(file)")
            }
            cluster.configuration.data.path = data == "gcide" ? Corpus.defaultPath : data
        }
        if let onlyRegion {
            guard !oneSite else {
                throw Failure(.usage, "--only-region and --one-site are two different runs")
            }
            try keep(onlyRegion, of: &cluster)
        }
        if oneSite { merge(&cluster) }
        try checkStep(cluster)
        if let startFrom { try start(&cluster, from: startFrom) }
        if let linkRate {
            guard (0.001...1e6).contains(linkRate) else {
                throw Failure(.usage, "--link-rate \(linkRate) is not in 0.001 to 1,000,000 Mbit/s")
            }
            cluster.topology.setLinks(bitsPerSecond: UInt64((linkRate * 1e6).rounded()))
        }
        if let linkDistance {
            guard (0...20_040).contains(linkDistance) else {
                throw Failure(.usage, "--link-distance \(linkDistance) is not in 0 to 20,040 km")
            }
            cluster.topology.setLinks(kilometres: linkDistance)
        }
        return cluster
    }

    /// Fragments leave at fixed fractions of a period, counted back from the last step.
    private func check(_ steps: UInt32, _ schedule: RunConfiguration.Schedule) throws {
        let every = schedule.syncEvery
        guard schedule.fragments > 1 || schedule.localSteps != .equal, steps % every != 0 else {
            return
        }
        throw Failure(
            .usage, "--steps \(steps) is not a multiple of `sync_every: \(every)`",
            hint: "use --steps \((steps + every - 1) / every * every)")
    }

    private func start(_ cluster: inout ClusterFile, from path: String) throws {
        let whole = URL(filePath: path).path
        guard FileManager.default.isReadableFile(atPath: whole) else {
            throw Failure(
                .data, "cannot read the model '\(path)' to start from",
                hint: "a run leaves one as model.safetensors in its directory")
        }
        cluster.configuration.startFrom = whole
    }

    private func keep(_ name: String, of cluster: inout ClusterFile) throws {
        guard let region = cluster.topology.regions.first(where: { $0.name == name }) else {
            let names = cluster.topology.regions.map(\.name).joined(separator: ", ")
            throw Failure(.usage, "no region '\(name)' in \(file)", hint: "its regions: \(names)")
        }
        cluster.topology = Topology(
            regions: [region], links: [], coordinatorRegion: RegionID(0))
        computeAllExperts(&cluster)
    }

    /// The reference that pools are measured against: equal nominal compute, no distance.
    private func merge(_ cluster: inout ClusterFile) {
        let workers = cluster.topology.regions.flatMap(\.workers)
        cluster.topology = Topology(
            regions: [Topology.Region(name: "one-site", workers: workers)], links: [],
            coordinatorRegion: RegionID(0))
        cluster.configuration.schedule = RunConfiguration.Schedule(
            inner: .everyStep, outer: .everyStep, syncEvery: 1, outerLearningRate: 1,
            outerMomentum: 0, adapts: cluster.configuration.schedule.adapts)
        cluster.configuration.wire.insideRegion = .fp32
        cluster.configuration.wire.betweenRegions = .fp32
        computeAllExperts(&cluster)
    }

    /// One region has nobody to leave an expert to.
    private func computeAllExperts(_ cluster: inout ClusterFile) {
        cluster.configuration.model.experts?.crossing = nil
    }

    /// What the cluster file is refused for may also come about by flags: `--seed` and `--adapt never` take
    /// the time of a step from the file.
    private func checkStep(_ cluster: ClusterFile) throws {
        let configuration = cluster.configuration
        guard let crossing = configuration.model.experts?.crossing, crossing.tokens == nil,
            !configuration.schedule.adapts, LinkTime.step(cluster.topology) == nil
        else { return }
        throw Failure(
            .usage,
            "`across: budget` goes by the time of a step, which `--adapt never` (or `--seed`) takes from "
                + "\(file), and a worker there has no `step`",
            hint: "give `step` to every worker, or `budget_tokens`, or `--adapt on`")
    }

    /// Flags that a child process needs to arrive at the same configuration.
    func arguments(_ cluster: ClusterFile) -> [String] {
        let configuration = cluster.configuration
        let adapts: Adapt = configuration.schedule.adapts ? .on : .never
        var flags = [
            file, "--seed", String(configuration.seed), "--steps", String(configuration.steps),
            "--adapt", adapts.rawValue,
        ]
        if configuration.model.synthetic == nil { flags += ["--data", configuration.data.path] }
        if let path = configuration.startFrom { flags += ["--start-from", path] }
        if let linkRate { flags += ["--link-rate", String(linkRate)] }
        if let linkDistance { flags += ["--link-distance", String(linkDistance)] }
        if let onlyRegion { flags += ["--only-region", onlyRegion] }
        if oneSite { flags.append("--one-site") }
        return flags
    }
}
