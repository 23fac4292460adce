/// Error and refusal codes (section 10 of the specification); raw values are on the wire.
package enum RefusalCode: UInt16, CaseIterable, Codable, Sendable {
    /// No common protocol version.
    case version = 1
    /// The key or the name is not on the allow-list. The worker exits with 77.
    case unknownWorker = 2
    case wrongRun = 3
    case staleEpoch = 4
    case staleIncarnation = 5
    /// A live process already holds the seat of that name.
    case seatTaken = 6
    case configurationDiffers = 7
    case malformedFrame = 8
    case unexpectedMessage = 9
    case quorumLost = 10
    /// Nothing was heard for `Deadlines.silence`.
    case evicted = 11
    case digestMismatch = 12
    case limitExceeded = 13
    case poolFull = 14
    case notFinite = 15
    case expiredToken = 16
    case finished = 17
}

/// What a worker is doing, as its heartbeat says.
package enum WorkerPhase: UInt8, CaseIterable, Codable, Sendable {
    case connecting = 0
    case linking = 1
    case computing = 2
    case reducingInRegion = 3
    case reducingInPool = 4
    case applying = 5
    case reconfiguring = 6
    case leaving = 7
}

/// Whether a member can train, or must fetch state first.
package enum MemberState: UInt8, CaseIterable, Codable, Sendable {
    case ready = 0
    case needsState = 1
}

/// How far a worker got with a collective before the membership changed.
package enum HoldingState: UInt8, CaseIterable, Codable, Sendable {
    case inFlight = 0
    /// Every mean position is here, nothing is applied.
    case holdsMean = 1
    case applied = 2
}

/// What becomes of a collective that was in flight when the membership changed.
package enum VerdictKind: UInt8, CaseIterable, Codable, Sendable {
    /// Contribute again, under the new membership.
    case restart = 0
    /// Finish with the old membership's mean; who lacks it pulls it from the holder.
    case complete = 1
}

package enum ChunkKind: UInt8, CaseIterable, Codable, Sendable {
    case contribution = 0
    case mean = 1
}

/// A part of a worker's state that can be fetched.
package enum StateItem: UInt8, CaseIterable, Codable, Sendable {
    /// No elements: total, round, step and digest of the holder's state.
    case index = 0
    case parameters = 1
    case outerCopy = 2
    case outerMomentum = 3
    case firstMoment = 4
    case secondMoment = 5
}

/// Why a worker takes a peer for failed.
package enum SuspectReason: UInt16, CaseIterable, Codable, Sendable {
    case connectionReset = 1
    case digestDiffers = 2
    case malformedFrames = 3
    /// No lane to it opens.
    case unreachable = 4
    /// Its tokens do not come.
    case tokensMissing = 5
}
