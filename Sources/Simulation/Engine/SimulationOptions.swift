package import ClusterModel

/// Everything a simulated run depends on besides topology and configuration.
package struct SimulationOptions: Codable, Equatable, Sendable {
    package enum Payloads: Codable, Equatable, Sendable {
        /// Tensors of so many elements, with real arithmetic and digests.
        case tensors(elements: Int)
        /// Sizes only; frames are not encoded.
        case modelled(parameters: UInt64)
        /// Whatever the run's ``TrainerHost`` computes.
        case hosted(parameters: UInt64)

        var elements: UInt64 {
            switch self {
            case .tensors(let elements): UInt64(elements)
            case .modelled(let parameters), .hosted(let parameters): parameters
            }
        }
    }

    package var seed: UInt64
    package var payloads: Payloads
    package var cost: CostModel
    /// `chunk` or `slice`; `round` has a simulator of its own.
    package var fidelity: Fidelity
    package var faults: [TimedFault]
    /// When each worker starts, by seat; missing ones start at zero.
    package var starts: [Interval]
    /// Starts a worker again that was evicted or crashed, from its saved state, after this time.
    package var supervision: Interval?
    /// Only members of a plan may connect to a data port, as with CURVE.
    package var allowList: Bool
    /// Frames and connections take the bytes that CURVE adds.
    package var encrypts: Bool
    /// The accepting side of a lane notices a reset (a ROUTER does not always).
    package var acceptorNoticesReset: Bool
    /// What was sent on a dead connection leaves first when there is a new one.
    package var keepsUnsentFrames: Bool
    /// When the coordinator starts.
    package var coordinatorStart: Interval
    /// Largest offset of a node's clock against virtual time.
    package var clockSpread: Interval
    /// Virtual time from the end of the last fault within which the run must end; nil: not checked.
    package var livenessBound: Interval?
    /// Stop at the first finding of a checker.
    package var stopsAtFinding: Bool
    /// Keep intervals for a Chrome trace.
    package var keepsTrace: Bool
    /// Keep what this seat's machine is told and wants in its first life, for a replay.
    package var recordsWorker: Int?
    /// Note every frame that arrives, for reading a failing seed.
    package var notesFrames: Bool
    /// Whether checkers run at all; measurements of scale and hosted trainers do without.
    package var checks: Bool
    /// Inside a region: bits per second of one worker towards its peers, 0 for no limit.
    package var localRate: UInt64
    /// Occurrences after which a run is given up: a machine that talks to itself for ever.
    package var occurrenceLimit: Int

    package init(seed: UInt64, payloads: Payloads) {
        self.seed = seed
        self.payloads = payloads
        cost = .standard
        fidelity = .chunk
        faults = []
        starts = []
        supervision = nil
        allowList = true
        encrypts = false
        acceptorNoticesReset = true
        keepsUnsentFrames = false
        coordinatorStart = .zero
        clockSpread = .zero
        livenessBound = nil
        stopsAtFinding = true
        keepsTrace = false
        recordsWorker = nil
        notesFrames = false
        checks = true
        localRate = 10_000_000_000
        occurrenceLimit = 20_000_000
    }
}
