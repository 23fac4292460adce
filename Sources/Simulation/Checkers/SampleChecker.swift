/// No sample is drawn by two seats, and none in two steps. A seat that computes a step again, and a step that
/// is trained again after a loss, may draw what was drawn for it before.
struct SampleChecker {
    /// By step: who has drawn what.
    private var drawn: [UInt32: [Int: Range<UInt64>]] = [:]
    /// Of all steps before: samples of later steps lie behind it.
    private var ends: [UInt32: UInt64] = [:]
    private var starts: [UInt32: UInt64] = [:]
    /// Steps that are remembered: replicas are never further apart in these runs.
    private static let window: UInt32 = 512

    /// A life that begins at `step`: what was drawn for later steps may have been lost with others.
    mutating func started(from step: UInt32) {
        for known in drawn.keys.sorted() where known > step {
            drawn[known] = nil
            ends[known] = nil
            starts[known] = nil
        }
    }

    mutating func draws(_ seat: Int, step: UInt32, _ range: Range<UInt64>) -> String? {
        defer {
            drawn[step, default: [:]][seat] = range
            ends[step] = max(ends[step] ?? 0, range.upperBound)
            starts[step] = min(starts[step] ?? .max, range.lowerBound)
            if step > Self.window {
                drawn[step - Self.window] = nil
                ends[step - Self.window] = nil
                starts[step - Self.window] = nil
            }
        }
        let others = drawn[step] ?? [:]
        for other in others.keys.sorted() where other != seat {
            guard let taken = others[other], taken.overlaps(range) else { continue }
            return "seats \(seat) and \(other) draw the same samples in step \(step)"
        }
        if let end = ends[step &- 1], range.lowerBound < end {
            return "seat \(seat) draws samples of step \(step - 1) in step \(step)"
        }
        if let start = starts[step + 1], range.upperBound > start {
            return "seat \(seat) draws samples of step \(step + 1) in step \(step)"
        }
        return nil
    }
}
