import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Simulation
import Training

/// `longhaul predict`: a real run of a cluster file, a simulated one with the step times measured in it,
/// and how far they are apart.
struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Compare a real run with the simulator's prediction of it.",
        discussion: """
            Measured in the real run and given to the simulator: each worker's time to compute a step,
            the speed of its codec, and the time a region takes to share a step. Predicted: everything
            between regions, and how it all adds up.

            EXAMPLES
              longhaul predict Cluster/shanghai-jinan.yaml
              longhaul predict Cluster/shanghai-jinan.yaml --steps 90 --json
              longhaul predict Cluster/shanghai-jinan.yaml --from runs/NAME
            """)

    @OptionGroup var input: RunFile

    @Option(help: "Directory of the real run; by default runs/NAME-DATE.")
    var dir: String?

    @Option(help: "Compare with the finished run in this directory instead of starting one.")
    var from: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        BlasLibrary.reexecIfMisdetected { Console.error("longhaul: \($0)") }
        BlasLibrary.setThreads(1)
        let cluster = try input.load()
        guard from == nil || dir == nil else {
            throw Failure(
                .usage, "--from takes a run that is there; --dir is for a new one",
                hint: "leave --dir out")
        }
        // The simulation has nothing to end in order.
        let signals = try StopSignals()
        signals.interrupt.endAtOnce(true)
        let directory = try from ?? realRun(cluster, signals)
        let prediction = try Prediction(cluster, directory: directory) {
            try regionAlone(cluster, directory, signals)
        }
        if json {
            try Console.printJSON(prediction.report)
        } else {
            print(prediction.text)
        }
    }
}

extension PredictCommand {
    /// Runs the file as `up` does; the directory of that run.
    private func realRun(_ cluster: ClusterFile, _ signals: StopSignals) throws -> String {
        let directory = try UpCommand.makeDirectory(
            dir, resume: nil, name: cluster.configuration.name)
        try UpCommand.checkData(cluster)
        let arguments = input.arguments(cluster)
        let resume = "longhaul up \(arguments.joined(separator: " ")) --resume \(directory)"
        let launcher = ClusterLauncher(
            cluster: cluster, directory: directory, binaries: try UpCommand.binaries(),
            arguments: arguments, isResumed: false)
        let ending = try signals.inOrder {
            try launcher.run(signals) { Console.error("longhaul: \($0)") }
        }
        // Readers that went away end the run as a signal does, and are none.
        try BenchWatch.checkReaders()
        try signals.check(
            "the real run so far is in '\(directory)'",
            hint: "\(resume) goes on with it")
        guard ending.code == .ok else { throw EndOfRun(code: ending.code) }
        return directory
    }

    /// Steps of a run that only tells how long sharing a step takes.
    private static let calibrationSteps = 25

    /// All regions at the same time, each by itself, for a few steps; the first one that shares steps.
    private func regionAlone(
        _ cluster: ClusterFile, _ directory: String, _ signals: StopSignals
    ) throws -> (cluster: ClusterFile, events: [StampedEvent])? {
        guard cluster.configuration.schedule.inner == .everyStep,
            let place = cluster.topology.regions.firstIndex(where: { $0.workers.count > 1 })
        else { return nil }
        Console.error("longhaul: runs each region by itself for \(Self.calibrationSteps) steps")
        // Kept when a run fails: its log says why. Not after a signal: nobody is told of it, and it has keys.
        let scratch = try ScratchFolder("longhaul-predict")
        let folder = scratch.path
        var short = input
        short.steps = UInt32(Self.calibrationSteps)
        let whole = try short.load()
        let flags = input.arguments(cluster).joined(separator: " ")
        let kept = (
            what: "the real run is in '\(directory)'",
            hint: "longhaul predict \(flags) --from \(directory) compares with it"
        )
        let runner = VariantRunner(
            cluster: whole, arguments: short.arguments(whole), directory: folder,
            signals: signals, kept: kept)
        do {
            _ = try signals.inOrder {
                try runner.run(
                    whole.topology.regions.map {
                        ("\(folder)/\($0.name)", ["--only-region", $0.name])
                    }, whole.configuration.seed)
            }
            try signals.check(kept.what, hint: kept.hint)
        } catch {
            if signals.interrupt.isRaised || OutputReaders.areGone { scratch.remove() }
            throw error
        }
        short.onlyRegion = whole.topology.regions[place].name
        let log = ReportFiles(directory: "\(folder)/\(whole.topology.regions[place].name)").log
        let events = try RunLogReader(path: log).events()
        scratch.remove()
        return (try short.load(), events)
    }
}

/// Figures of a run beside those of its simulation.
struct Prediction {
    struct Row: Codable {
        var figure: String
        var unit: String
        var measured: Double
        /// Nil where the simulation has no such figure.
        var predicted: Double?
        /// predicted / measured - 1.
        var error: Double?
    }

    struct Report: Codable {
        var run: String
        var rows: [Row]
        var digestsAgree: Bool
        var measuredStepSeconds: [Double]
        var localBitsPerSecond: UInt64?
    }

    let report: Report
    private let statement: String

    /// - Parameter alone: runs a region by itself, where the pool's own steps do not tell how long sharing
    ///   one inside a region takes; nil where no region shares steps.
    init(
        _ cluster: ClusterFile, directory: String,
        alone: () throws -> (cluster: ClusterFile, events: [StampedEvent])?
    ) throws {
        let files = ReportFiles(directory: directory)
        let measured = try files.summary()
        guard measured.identity.simulated == nil else {
            throw Failure(
                .data, "'\(directory)' is a simulated run; a prediction needs a real one",
                hint: "longhaul up FILE --dir DIR")
        }
        guard measured.identity.seed == cluster.configuration.seed,
            measured.setup.steps == cluster.configuration.steps, measured.outcome.isComplete,
            measured.workers.map(\.name) == cluster.topology.seats.map(\.worker.name)
        else {
            throw Failure(
                .data, "'\(directory)' is not a complete run of this file, seed and step count",
                hint: "give the flags that it was started with")
        }
        let calibration = try StepCalibration(
            cluster, measured, events: RunLogReader(path: files.log).events())
        var localRate = try calibration.localRate(cluster)
        if calibration.stepInterval == nil, let run = try alone() {
            let summary = try RunSummary(events: run.events)
            localRate = try StepCalibration(run.cluster, summary, events: run.events)
                .localRate(run.cluster, events: run.events)
        }
        let run = try SimulatedRun(
            calibration.paced(cluster), training: .real,
            adjust: {
                calibration.apply(to: &$0)
                if let localRate { $0.localRate = localRate }
            })
        statement = run.statement
        report = Report(
            run: directory, rows: Self.rows(measured, run.summary),
            digestsAgree: measured.rounds.latest.last?.digest
                == run.summary.rounds.latest.last?.digest,
            measuredStepSeconds: calibration.computeSeconds, localBitsPerSecond: localRate)
    }

    private static func rows(_ measured: RunSummary, _ predicted: RunSummary) -> [Row] {
        var rows: [Row] = []
        func add(_ figure: String, _ unit: String, _ a: Double?, _ b: Double?) {
            guard let a, a != 0 else { return }
            rows.append(
                Row(
                    figure: figure, unit: unit, measured: a, predicted: b,
                    error: b.map { $0 / a - 1 }))
        }
        add("round time", "s", measured.rounds.secondsBetween, predicted.rounds.secondsBetween)
        add(
            "tokens/s", "", measured.pool.tokensPerSecond, predicted.pool.tokensPerSecond)
        add("CU", "", measured.pool.computeUtilisation, predicted.pool.computeUtilisation)
        for link in measured.links where !link.isInsideRegion {
            let other = predicted.links.first { $0.from == link.from && $0.to == link.to }
            let name = "\(link.from) -> \(link.to)"
            add(
                "link \(name)", "B", link.relayBytes.map { Double($0) },
                other?.relayBytes.map { Double($0) })
            add("lanes \(name)", "B", Double(link.laneBytes), other.map { Double($0.laneBytes) })
        }
        return rows
    }

    var text: String {
        let rows = report.rows.map { row in
            [
                row.unit.isEmpty ? row.figure : "\(row.figure), \(row.unit)",
                Self.number(row.measured),
                row.predicted.map(Self.number) ?? Figures.absent,
                row.error.map { String(format: "%+.1f %%", 100 * $0) } ?? Figures.absent,
            ]
        }
        let table = TextTable.render(["", "measured", "predicted", "error"], rows)
        let steps = report.measuredStepSeconds.map { String(format: "%.1f", 1000 * $0) }
        let local = report.localBitsPerSecond.map {
            String(format: "; inside a region %.0f Mbit/s per worker", Double($0) / 1e6)
        }
        return """
            real run: \(report.run)
            simulated: \(statement)
            measured there and used here: ms per step \(steps.joined(separator: ", "))\(local ?? "")

            \(table)
            last digest: \(report.digestsAgree ? "the same in both" : "differs")
            """
    }

    private static func number(_ value: Double) -> String {
        value >= 1000 ? String(format: "%.0f", value) : String(format: "%.3f", value)
    }
}
