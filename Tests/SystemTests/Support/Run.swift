import ClusterModel
import Foundation
import RunRecord
import Testing

/// A `longhaul up` under test, and its record.
struct Run {
    let scratch: Scratch
    let directory: String
    let program: Program

    init(
        _ scratch: Scratch, _ file: String, directory name: String = "run", _ more: [String] = [],
        isResumed: Bool = false
    ) throws {
        self.scratch = scratch
        directory = scratch.path(name)
        program = try Program(
            "longhaul", ["up", file, "--json", isResumed ? "--resume" : "--dir", directory] + more,
            in: scratch)
    }

    /// Simulates its file with real training, which must end with this run's model.
    ///
    /// - Returns: the model's bytes.
    @discardableResult
    func modelAsSimulated(_ file: String) async throws -> Data {
        let simulated = try Program(
            "longhaul", ["simulate", file, "--train", "real", "--dir", "simulated"], in: scratch)
        try await #expect(simulated.ending() == .code(0), "\(simulated.errors)")
        let models = try [directory, scratch.path("simulated")].map {
            try Data(contentsOf: URL(filePath: "\($0)/model.safetensors"))
        }
        #expect(models[0] == models[1])
        return models[0]
    }

    /// All events so far; empty before there is a record.
    func events() throws -> [StampedEvent] {
        let path = "\(directory)/run.sqlite"
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        // Between the creation of the file and that of its table there is nothing to read.
        do { return try RunLogReader(path: path).events() } catch is RunLogError { return [] }
    }

    /// Waits until an event of the log is as wanted, and returns it.
    @discardableResult
    func event(
        _ what: String, within seconds: Double = 60, where matches: (RunEvent) -> Bool
    ) async throws -> StampedEvent {
        var found: StampedEvent?
        try await program.waitUntil(what, seconds) {
            found = try events().first { matches($0.event) }
            return found != nil || !program.isRunning
        }
        return try #require(
            found, "the run ended without: \(what)\n\(program.errors.suffix(3_000))")
    }

    /// Waits until some worker has applied step `step`.
    func reaches(step: UInt32) async throws {
        try await event("step \(step)") {
            if case .stepped(_, let number, _, _, _) = $0 { number >= step } else { false }
        }
    }

    /// Process numbers as `up` prints them at the start.
    func pids() async throws -> [String: Int32] {
        var pids: [String: Int32] = [:]
        try await program.waitUntil("process numbers") {
            guard
                let line = program.errors.split(separator: "\n").first(where: {
                    $0.contains(" pid ")
                })
            else { return !program.isRunning }
            for part in line.dropFirst("longhaul: ".count).split(separator: ",") {
                let words = part.split(separator: " ")
                if words.count == 3, let pid = Int32(words[2]) { pids[String(words[0])] = pid }
            }
            return true
        }
        try #require(!pids.isEmpty, "\(program.errors.suffix(3_000))")
        for pid in pids.values { scratch.keep(pid: pid) }
        return pids
    }

    /// run.json of a run that has ended.
    func summary() throws -> RunSummary {
        try RunSummary(events: RunLogReader(path: "\(directory)/run.sqlite").events())
    }
}

extension [StampedEvent] {
    /// What somebody said in words.
    var notes: [String] {
        compactMap { if case .note(_, let text) = $0.event { text } else { nil } }
    }

    /// Per step: mean of the workers' losses, weighted by tokens.
    var trainingLoss: [UInt32: Double] {
        var sums: [UInt32: (loss: Double, tokens: Double)] = [:]
        for case .stepped(_, let step, let loss, let tokens, _) in map(\.event) {
            let old = sums[step] ?? (0, 0)
            sums[step] = (old.loss + loss * Double(tokens), old.tokens + Double(tokens))
        }
        return sums.mapValues { $0.loss / $0.tokens }
    }

    /// Digests of committed rounds, in order.
    var commits: [(round: UInt32, digest: UInt64, members: Int)] {
        compactMap {
            if case .roundCommitted(let key, let digest, let members, _) = $0.event {
                (key.round, digest, members)
            } else {
                nil
            }
        }
    }

    /// Workers evicted, by name.
    var evicted: [String] {
        compactMap {
            if case .workerEvicted(_, let name, _) = $0.event { name } else { nil }
        }
    }

    /// Time of the first event that matches.
    func time(where matches: (RunEvent) -> Bool) -> Instant? {
        first { matches($0.event) }?.time
    }
}
