import ClusterModel
import Foundation
import RunRecord

/// The views of one run directory's log: `run.json`, `report.html`, the closing text.
struct ReportFiles {
    let directory: String

    var log: String { "\(directory)/run.sqlite" }
    var json: String { "\(directory)/run.json" }
    var html: String { "\(directory)/report.html" }
    var model: String { "\(directory)/model.safetensors" }

    func summary() throws -> RunSummary { try RunSummary(events: events()) }

    private func events() throws -> [StampedEvent] {
        guard FileManager.default.fileExists(atPath: log) else {
            throw Failure(
                .data, "no run record in '\(directory)' (run.sqlite is missing)",
                hint: "give the directory that 'longhaul up' printed")
        }
        return try RunLogReader(path: log).events()
    }

    /// - Throws: `Failure` where a run has been recorded already: another would be mixed with it, and write
    ///   over its checkpoints and its model.
    func requireNone() throws {
        guard FileManager.default.fileExists(atPath: log) else { return }
        throw Failure(
            .usage, "'\(directory)' has the record of another run",
            hint: "give --dir a new directory; 'longhaul up FILE --resume DIR' goes on with a run")
    }

    /// - Throws: `Failure` where no run has been recorded that could go on.
    func requireOne() throws {
        guard Paths.kind(log) != .file else { return }
        throw Failure(
            .data, "no run in '\(directory)' to resume (run.sqlite is missing)",
            hint: "give the directory that 'longhaul up' printed")
    }

    /// For chrome://tracing and Perfetto.
    func writeTrace(to path: String) throws {
        try Paths.prepareToWrite(path, "the trace")
        let trace = try RunTrace.json(events())
        do {
            // Not atomically, which would put a file in the place of a device.
            try trace.write(toFile: path, atomically: false, encoding: .utf8)
        } catch {
            throw Failure(
                .unavailable, "cannot write the trace to '\(path)': \(error.localizedDescription)",
                hint: "give a file in a folder that exists and may be written to")
        }
    }

    /// Writes both files from the log.
    @discardableResult
    func write() throws -> RunSummary {
        let summary = try summary()
        try RunJSON.write(summary, to: json)
        try HTMLReport.render(summary).write(toFile: html, atomically: true, encoding: .utf8)
        return summary
    }

    func text() throws -> String {
        SummaryText.render(try summary(), files: written)
    }

    /// What lies there after `write`, for the closing text.
    var written: [(label: String, path: String)] {
        var files = [(label: "report", path: html), (label: "figures", path: json)]
        if FileManager.default.fileExists(atPath: model) { files.append(("model", model)) }
        return files
    }
}
