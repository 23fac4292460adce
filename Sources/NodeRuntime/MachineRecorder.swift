package import ClusterModel
package import Coordination
import Foundation

/// Appends what this process's machine is told and wants to a file, one JSON object a line, so that a
/// fresh machine can be told the same (`longhaul replay`). Several processes may share the file: a line
/// is one append.
///
/// A recording that cannot be written any more (a full disk) ends; the run does not.
package final class MachineRecorder {
    private let file: FileHandle
    private let process = UInt64(ProcessInfo.processInfo.processIdentifier)
    private let encoder = JSONEncoder()
    private var hasFailed = false

    /// - Throws: `NodeError` when the file cannot be opened for appending.
    package init(path: String) throws {
        file = try AppendOnlyFile.open(path)
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    }

    package func begin(_ origin: MachineOrigin) { write(.begins(process: process, origin)) }

    package func note(_ event: Worker.Event, _ effects: [Worker.Effect], at time: Instant) {
        write(.worker(process: process, at: time, event, effects))
    }

    package func note(
        _ event: Coordinator.Event, _ effects: [Coordinator.Effect], at time: Instant
    ) {
        write(.coordinator(process: process, at: time, event, effects))
    }

    private func write(_ record: MachineRecord) {
        guard !hasFailed else { return }
        do {
            try file.write(contentsOf: encoder.encode(record) + Data([0x0a]))
        } catch {
            hasFailed = true
            var standardError = StandardError()
            print(
                "the recording ends here, the run goes on: \(error.localizedDescription)",
                to: &standardError)
        }
    }
}
