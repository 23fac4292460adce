import Foundation

/// A cluster file for tests: a tiny model, short steps, a text made here.
struct SmallCluster {
    struct Region {
        var name: String
        /// Sequences per step, of each worker.
        var batches: [Int]
    }

    var steps = 60
    var seed = 7
    var regions = [
        Region(name: "north", batches: [3, 2]), Region(name: "south", batches: [2, 1]),
    ]
    /// Every step is paced to this, so that a run lasts as long as its test needs.
    var step = "10 ms"
    /// Workers of another pace, by name.
    var paces: [String: String] = [:]
    /// `on` or `never`; nil: not said.
    var adapt: String?
    var inner = "every-step"
    var outer = "diloco"
    var syncEvery = 10
    /// Lines of `schedule`.
    var further: [String] = []
    var layers = 1
    var between = "int8"
    var deadlines: [String: String] = [:]
    var checkpointEvery = 2
    /// Parameters of a model that learns nothing, in place of one that does.
    var synthetic: Int?
    /// Further keys of `model`, in order.
    var model: [String] = []
    /// `packet` or `relay`; nil: not said.
    var emulate: String?
    /// How workers of a region reach each other; nil: as the program does unasked.
    var sameHost: String?
    /// Changes of the link while it runs.
    var linkChanges: [String] = []
    /// Of the link, in packet mode.
    var loss: String?
    /// Names of workers that nobody can dial.
    var hidden: Set<String> = []

    /// Two workers in one region, every step together.
    static func oneRegion(steps: Int, batches: [Int] = [2, 2]) -> SmallCluster {
        var cluster = SmallCluster()
        cluster.steps = steps
        cluster.regions = [Region(name: "north", batches: batches)]
        cluster.outer = "every-step"
        return cluster
    }

    /// Names as the file has them: `north-1`, `north-2`, `south-1`, ...
    var workers: [String] {
        regions.flatMap { region in
            region.batches.indices.map { "\(region.name)-\($0 + 1)" }
        }
    }

    /// Writes text and cluster file into the folder; returns the cluster file's path.
    func write(to scratch: Scratch, name: String = "cluster") throws -> String {
        let textPath = scratch.path("text.txt")
        if !FileManager.default.fileExists(atPath: textPath) {
            // A corpus needs 64 KiB for validation and some for training.
            try Self.text(bytes: 90_000).write(toFile: textPath, atomically: true, encoding: .utf8)
        }
        let path = scratch.path("\(name).yaml")
        try yaml(textPath: textPath).write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func yaml(textPath: String) -> String {
        var lines = ["name: small", "steps: \(steps)", "seed: \(seed)"]
        if let emulate { lines.append("emulate: \(emulate)") }
        if let sameHost { lines.append("same_host: \(sameHost)") }
        if regions.count > 1 { lines.append("coordinator: \(regions[0].name)") }
        lines.append("regions:")
        for region in regions {
            lines += ["  \(region.name):", "    workers:"]
            for (index, batch) in region.batches.enumerated() {
                let name = "\(region.name)-\(index + 1)"
                let dials = hidden.contains(name) ? ", dial_out: true" : ""
                let pace = paces[name] ?? step
                lines.append("      - {name: \(name), batch: \(batch), step: \(pace)\(dials)}")
            }
        }
        if regions.count > 1 {
            lines += ["links:", "  - between: [\(regions.map(\.name).joined(separator: ", "))]"]
            lines += ["    one_way: 2 ms", "    rate: 200 Mbit/s"]
            if !linkChanges.isEmpty {
                lines += ["    schedule:"] + linkChanges.map { "      - \($0)" }
            }
            if let loss { lines.append("    loss: \(loss)") }
            lines += ["wire:", "  between: \(between)"]
        }
        lines += ["schedule:", "  inner: \(inner)", "  outer: \(outer)"]
        if outer != "every-step" { lines.append("  sync_every: \(syncEvery)") }
        if let adapt { lines.append("  adapt: \(adapt)") }
        lines += further.map { "  \($0)" }
        lines += ["training:", "  checkpoint_every: \(checkpointEvery)"]
        if let synthetic {
            lines += ["model: {synthetic: \(synthetic)}"]
        } else {
            lines += ["  evaluation_samples: 4", "data: {path: \(textPath)}"]
            lines += ["model:", "  width: 32", "  layers: \(layers)", "  heads: 2"]
            lines += ["  context: 32"]
            lines += model.map { "  " + $0 }
        }
        if !deadlines.isEmpty {
            lines.append("deadlines:")
            lines += deadlines.sorted { $0.key < $1.key }.map { "  \($0.key): \($0.value)" }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Words of a small vocabulary in a fixed random order: something a model can learn.
    static func text(bytes: Int) -> String {
        var state: UInt64 = 88_172_645_463_325_252
        func draw(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let letters = Array("etaoinshrdlu")
        let words = (0..<200).map { _ in
            String((0..<(2 + draw(6))).map { _ in letters[draw(letters.count)] })
        }
        var text = ""
        while text.utf8.count < bytes { text += words[draw(words.count)] + " " }
        return text
    }
}
