import Synchronization

/// Counts of one worker's data plane, readable from any thread.
package final class LaneCounters: Sendable {
    /// All counts at one moment.
    package struct Reading: Equatable, Sendable {
        package var frames: UInt64 = 0
        package var bytes: UInt64 = 0
        /// Of them to other regions.
        package var bytesAcross: UInt64 = 0
        /// Payload of tokens.
        package var tokenBytes: UInt64 = 0

        package static func - (a: Reading, b: Reading) -> Reading {
            Reading(
                frames: a.frames - b.frames, bytes: a.bytes - b.bytes,
                bytesAcross: a.bytesAcross - b.bytesAcross, tokenBytes: a.tokenBytes - b.tokenBytes)
        }
    }

    private let frames = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)
    private let bytesAcross = Atomic<UInt64>(0)
    private let tokenBytes = Atomic<UInt64>(0)

    package init() {}

    func sent(frameBytes: Int, leavesRegion: Bool, tokenBytes payload: Int = 0) {
        if payload > 0 { tokenBytes.add(UInt64(payload), ordering: .relaxed) }
        if leavesRegion { bytesAcross.add(UInt64(frameBytes), ordering: .relaxed) }
        frames.add(1, ordering: .relaxed)
        bytes.add(UInt64(frameBytes), ordering: .relaxed)
    }

    package var reading: Reading {
        Reading(
            frames: frames.load(ordering: .relaxed), bytes: bytes.load(ordering: .relaxed),
            bytesAcross: bytesAcross.load(ordering: .relaxed),
            tokenBytes: tokenBytes.load(ordering: .relaxed))
    }
}
