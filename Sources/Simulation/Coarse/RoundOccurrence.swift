import ClusterModel

/// Something that is due in a run of fidelity `round`.
enum RoundOccurrence: Sendable {
    /// What a stand-in says to the coordinator; it matters when it arrives.
    enum Word: Sendable {
        case hello
        case ready(version: UInt32)
        case report(round: UInt32, tokens: UInt64)
        case leave
    }

    /// What the coordinator says to a stand-in.
    enum Notice: Sendable {
        case welcome
        case plan(version: UInt32)
        case go
        case commit(round: UInt32)
        case stop
        case bye
    }

    case tick(version: UInt64)
    case toCoordinator(seat: Int, Word)
    case toWorker(seat: Int, Notice)
    /// The lanes to all members are open.
    case linked(seat: Int, version: UInt32)
    /// A worker that was told to stop has saved.
    case saved(seat: Int)
    /// Heartbeats of a group of workers leave.
    case beat(group: Int)
    /// They arrive.
    case beats(group: Int, sentAt: Int64)
    /// A worker's gradient of `step` is there; only where steps are told one by one.
    case computed(seat: Int, step: UInt32)
    /// All workers of a unit have taken the step, or hold their gradient for the pool.
    case stepped(unit: Int)
    /// The pool's mean is in a unit's region.
    case exchanged(unit: Int, outcome: Int)

    /// For the trace hash: a number per case, and who is concerned.
    var trace: (kind: UInt64, subject: UInt64) {
        switch self {
        case .tick: (1, 0)
        case .toCoordinator(let seat, _): (2, UInt64(seat))
        case .toWorker(let seat, _): (3, UInt64(seat))
        case .linked(let seat, _): (4, UInt64(seat))
        case .saved(let seat): (10, UInt64(seat))
        case .beat(let group): (5, UInt64(group))
        case .beats(let group, _): (6, UInt64(group))
        case .computed(let seat, _): (7, UInt64(seat))
        case .stepped(let unit): (8, UInt64(unit))
        case .exchanged(let unit, _): (9, UInt64(unit))
        }
    }
}
