import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord

/// Runs `longhaul up` for variants of one cluster file.
struct VariantRunner {
    let cluster: ClusterFile
    /// Of the cluster file; the seed is replaced.
    let arguments: [String]
    let directory: String
    let signals: StopSignals
    /// What is said when a signal has ended the runs: what stays on disk, and how to go on from it.
    var kept: (what: String, hint: String)

    /// Runs the variants at the same time; their summaries, in order.
    func run(_ variants: [(directory: String, flags: [String])], _ seed: UInt64) throws
        -> [RunSummary]
    {
        let binary = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var processes: [(process: ChildProcess, log: String)] = []
        // Where one does not start the others end with their standard input.
        defer { for (process, _) in processes { signals.children.remove(process) } }
        try signals.check(kept.what, hint: kept.hint)
        for variant in variants {
            if try isDone(variant.directory, seed) { continue }
            let log = "\(variant.directory).log"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let process = try ChildProcess(
                name: variant.directory, executable: binary,
                arguments: ["up", UpCommand.parentFlag] + flags(seed, variant.flags)
                    + ["--dir", variant.directory],
                log: FileHandle(forWritingTo: URL(filePath: log)))
            signals.children.add(run: process)
            processes.append((process, log))
        }
        if !processes.isEmpty {
            Console.error(
                "longhaul: waits for \(variants.map(\.directory).joined(separator: ", ")); each has its "
                    + "progress in a .log beside it")
        }
        try wait(for: processes.map(\.process))
        for (process, log) in processes {
            guard let ending = process.ending, ending != .code(0) else { continue }
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            let end = text.split(separator: "\n").suffix(3).joined(separator: "; ")
            throw Failure(
                .unavailable, "a run \(Self.words(ending)): \(end)",
                hint: "all it said: \(log)")
        }
        return try variants.map { try ReportFiles(directory: $0.directory).summary() }
    }

    /// Between two looks at the processes.
    private static let period: UInt32 = 100_000

    private static func words(_ ending: ChildProcess.Ending) -> String {
        switch ending {
        case .code(let code): "ended with code \(code)"
        case .signal(let number): "was killed by signal \(number)"
        }
    }

    /// Until all have ended.
    ///
    /// - Throws: `Failure` when a signal has come or nobody reads the result any more; the runs have then
    ///   stopped in order.
    private func wait(for processes: [ChildProcess]) throws {
        var failure: (any Error)?
        while processes.contains(where: \.isRunning) {
            usleep(Self.period)
            if failure == nil {
                do { try BenchWatch.checkReaders() } catch { failure = error }
                if failure != nil { signals.children.hangUp() }
            }
            if signals.interrupt.isRaised, !signals.interrupt.isHandled {
                signals.interrupt.markHandled()
                Console.error("longhaul: stopping in order; once more stops at once")
                // Those that had not begun when the signal came.
                signals.children.hangUp()
            }
        }
        try signals.check(kept.what, hint: kept.hint)
        if let failure { throw failure }
    }

    /// Whether an earlier call finished this run. What it left unfinished is removed.
    ///
    /// - Throws: `Failure` when the directory has a run of another measurement.
    private func isDone(_ directory: String, _ seed: UInt64) throws -> Bool {
        let manager = FileManager.default
        guard manager.fileExists(atPath: directory) else { return false }
        guard let summary = try? ReportFiles(directory: directory).summary(),
            summary.outcome.isComplete, summary.outcome.exitCode == 0
        else {
            try manager.removeItem(atPath: directory)
            return false
        }
        guard summary.identity.seed == seed, summary.identity.name == cluster.configuration.name,
            summary.setup.steps == cluster.configuration.steps
                || directory.hasSuffix(Self.warmStart)
        else {
            throw Failure(
                .usage,
                "'\(directory)' has a run of '\(summary.identity.name)' with seed "
                    + "\(summary.identity.seed) and \(summary.setup.steps) steps, which is another one",
                hint: "give another --dir, or remove that directory")
        }
        Console.error("longhaul: \(directory) is there already")
        return true
    }

    /// Name of the run that all others start from.
    static let warmStart = "warm-start"

    /// The cluster file's flags with this seed, and with the variant's in the place of their own.
    private func flags(_ seed: UInt64, _ variant: [String]) -> [String] {
        var flags = arguments
        var changes = [("--seed", String(seed))]
        if let place = variant.firstIndex(of: "--steps"), place + 1 < variant.count {
            changes.append(("--steps", variant[place + 1]))
        }
        for (flag, value) in changes {
            guard let place = flags.firstIndex(of: flag), place + 1 < flags.count else { continue }
            flags[place + 1] = value
        }
        let rest = variant.indices.filter { index in
            variant[index] != "--steps" && (index == 0 || variant[index - 1] != "--steps")
        }
        return flags + rest.map { variant[$0] }
    }
}
