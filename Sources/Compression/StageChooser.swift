internal import ClusterModel

/// Chooses the lossless stage of the next chunk from what earlier chunks cost.
///
/// A sender encodes one chunk while the previous one is on the link, so a chunk costs
/// max(time to compress, bytes / link rate). The cheapest stage wins; `stored` needs no time and wins ties.
/// One chunk in `probeInterval` tries the stage that was measured longest ago, so that the
/// choice follows the data and the machine's load.
struct StageChooser {
    /// One chunk in 32 probes: at worst a few per cent of the time of a slow stage.
    static let probeInterval = 32

    private struct Estimate {
        var bytesPerElement: Double
        var secondsPerElement: Double
        var measuredAt: Int
    }

    private var estimates: [[Estimate?]] = Array(
        repeating: Array(repeating: nil, count: StageID.allCases.count),
        count: TransformID.allCases.count)
    private var chunks = 0

    /// The stages worth trying after a transform (measured in docs/reduction.md).
    static func candidates(_ transform: TransformID) -> [StageID] {
        switch transform {
        case .fp32: [.lz4, .lz4Planes, .zstdPlanes]
        case .bf16, .fp16: [.lz4Planes, .zstdPlanes]
        case .int8, .int4, .e3m0: [.lz4, .zstd]
        case .topK: [.rice]
        }
    }

    /// The stage for the next chunk, given the link's rate (positive).
    mutating func next(_ transform: TransformID, linkBytesPerSecond: Double) -> StageID {
        chunks += 1
        let candidates = Self.candidates(transform)
        let known = estimates[Int(transform.rawValue)]
        if let unknown = candidates.first(where: { known[Int($0.rawValue)] == nil }) {
            return unknown
        }
        if chunks % Self.probeInterval == 0 {
            let oldest = candidates.min {
                (known[Int($0.rawValue)]?.measuredAt ?? 0)
                    < (known[Int($1.rawValue)]?.measuredAt ?? 0)
            }
            return oldest ?? .stored
        }
        let elements = Double(ChunkFormat.usualElements)
        let stored = Double(ChunkFormat.bodyBytes(transform, elements: Int(elements))) / elements
        var best = (stage: StageID.stored, cost: stored / linkBytesPerSecond)
        for stage in candidates {
            guard let estimate = known[Int(stage.rawValue)] else { continue }
            let cost = max(
                estimate.secondsPerElement, estimate.bytesPerElement / linkBytesPerSecond)
            if cost < best.cost { best = (stage, cost) }
        }
        return best.stage
    }

    /// Notes what a stage cost: its compression time, and the bytes of the chunk as sent.
    mutating func record(
        _ transform: TransformID, _ stage: StageID, elements: Int, bytes: Int, seconds: Double
    ) {
        let count = Double(max(elements, 1))
        var new = Estimate(
            bytesPerElement: Double(bytes) / count, secondsPerElement: seconds / count,
            measuredAt: chunks)
        if let old = estimates[Int(transform.rawValue)][Int(stage.rawValue)] {
            new.bytesPerElement = (3 * old.bytesPerElement + new.bytesPerElement) / 4
            new.secondsPerElement = (3 * old.secondsPerElement + new.secondsPerElement) / 4
        }
        estimates[Int(transform.rawValue)][Int(stage.rawValue)] = new
    }
}
