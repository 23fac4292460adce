import ClusterFile
import ClusterModel
import Foundation
import RunRecord

/// Runs `longhaul up` for variants of one cluster file.
struct VariantRunner {
    let cluster: ClusterFile
    /// Of the cluster file; the seed is replaced.
    let arguments: [String]
    let directory: String

    /// Runs the variants at the same time; their summaries, in order.
    func run(_ variants: [(directory: String, flags: [String])], _ seed: UInt64) throws
        -> [RunSummary]
    {
        let binary = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var processes: [(process: Process, log: String)] = []
        for variant in variants {
            let log = "\(variant.directory).log"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let process = Process()
            process.executableURL = URL(filePath: binary)
            process.arguments =
                ["up"] + replacingSeed(seed) + variant.flags + ["--dir", variant.directory]
            let output = try FileHandle(forWritingTo: URL(filePath: log))
            process.standardOutput = output
            process.standardError = output
            try process.run()
            processes.append((process, log))
        }
        Console.error(
            "longhaul: waits for \(variants.map(\.directory).joined(separator: ", ")); each has its "
                + "progress in a .log beside it")
        for (process, _) in processes { process.waitUntilExit() }
        for (process, log) in processes where process.terminationStatus != 0 {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            let end = text.split(separator: "\n").suffix(3).joined(separator: "; ")
            throw Failure(
                .unavailable, "a run ended with code \(process.terminationStatus): \(end)",
                hint: "all it said: \(log)")
        }
        return try variants.map { try ReportFiles(directory: $0.directory).summary() }
    }

    private func replacingSeed(_ seed: UInt64) -> [String] {
        var flags = arguments
        if let place = flags.firstIndex(of: "--seed"), place + 1 < flags.count {
            flags[place + 1] = String(seed)
        }
        return flags
    }
}
