import ArgumentParser
import ClusterModel
import Coordination
import Foundation
import Simulation

/// `longhaul replay`: a recorded run's machines, told the same again.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Tell fresh machines what a recorded run's were told; do they want the same?",
        discussion: """
            EXAMPLES
              longhaul up Cluster/shanghai-jinan.yaml --steps 30 --record run.jsonl
              longhaul replay run.jsonl
            """)

    @Argument(help: "File written with --record.")
    var file: String

    @Flag(help: "Print JSON.")
    var json = false

    private struct Report: Codable {
        var machines: Int
        var events: Int
        var differences: Int
        var orphans: Int
    }

    func run() throws {
        let data = try Paths.read(file, "the recording")
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        var replay = Replay()
        var differences = 0
        let lines = data.split(separator: 0x0a, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            guard let record = try? decoder.decode(MachineRecord.self, from: Data(line)) else {
                // A process that was killed leaves half a line at the end.
                if index == lines.count - 1, data.last != 0x0a { break }
                throw Failure(
                    .data, "\(file), line \(index + 1): no record of a machine",
                    hint: "the file was written by another version, or is damaged")
            }
            guard let found = replay.step(record, index: index) else { continue }
            differences += 1
            guard differences == 1 else { continue }
            Console.error(
                """
                longhaul: line \(found.index + 1), process \(found.process)
                  told:   \(found.event)
                  wanted: \(found.recorded)
                  now:    \(found.replayed)
                """)
        }
        let report = Report(
            machines: replay.machineCount, events: replay.replayed, differences: differences,
            orphans: replay.orphans)
        if json {
            try Console.printJSON(report)
        } else {
            print(
                """
                \(report.machines) machines, \(report.events) events, \(report.differences) \
                answered differently\(report.orphans > 0 ? ", \(report.orphans) without a beginning" : "")
                """)
        }
        guard report.machines > 0 else {
            throw Failure(.data, "no machine begins in '\(file)'")
        }
        if differences > 0 || replay.orphans > 0 { throw EndOfRun(code: .violation) }
    }
}
