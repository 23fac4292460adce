import ClusterModel
import Coordination
import WireProtocol

/// Watches a run from outside the machines: everything it objects to follows from what drivers and
/// trainers saw, never from a machine's own bookkeeping.
struct RunChecker {
    /// How often the regular look is taken, in virtual nanoseconds.
    static let inspectionInterval: Int64 = 1_000_000_000
    /// A report of waiting hangs on a heartbeat of one second, and a wait begins between two of them.
    static let waitSlack: Int64 = 3_000_000_000

    let configuration: RunConfiguration
    private(set) var findings: [Finding] = []
    var reference: ReferenceReduction
    /// What the first adopter of an epoch saw.
    private var plans: [Epoch: Plan] = [:]
    private var lastEpoch: [Epoch]
    /// Digests of the parameters of one replica after an inner step.
    private var innerDigests: [InnerKey: UInt64] = [:]
    private var waits: WaitChecker
    private var samples = SampleChecker()
    var tokens: TokenChecker
    /// All turns up to this one are committed.
    private(set) var committedRounds: UInt32 = 0
    private(set) var lastDigest: UInt64 = 0
    private var hasCommitted = false
    private let order: FragmentOrder
    /// By fragment; nil: none since the run began.
    private var committedOf: [UInt32?]
    /// Who has applied a round of which fragment with which digest, of those alive.
    private var applied: [Int: [FragmentID: (round: UInt32, digest: UInt64)]] = [:]
    /// Of all that were ever alive: a report may be older than its sender's death. Asked, never iterated.
    private var appliedDigests: Set<UInt64> = []
    private var coordinatorHasCrashed = false
    /// Accusations are right only where something damages frames.
    private var expectsViolations = false
    private var expectsEvictions = false

    private struct InnerKey: Hashable {
        var region: RegionID
        var step: UInt32
        var epoch: Epoch
    }

    private let isFollowing: Bool
    /// Objections that need no knowledge of the trainers' state.
    private static let own: Set<String> = ["payloads", "codec", "liveness"]

    /// - Parameter isFollowing: it is told of every order, plan and state; otherwise of commits and ends.
    init(
        configuration: RunConfiguration, seats: Int, elements: Int, isModelled: Bool,
        isFollowing: Bool
    ) {
        self.configuration = configuration
        self.isFollowing = isFollowing
        reference = ReferenceReduction(
            configuration: configuration, seats: seats, elements: isModelled ? 0 : elements)
        lastEpoch = Array(repeating: .none, count: seats)
        order = FragmentOrder(count: configuration.schedule.fragments)
        committedOf = Array(repeating: nil, count: configuration.schedule.fragments)
        waits = WaitChecker(seats: seats)
        tokens = TokenChecker(configuration)
    }

    /// What may be said of whom depends on what is done to them.
    mutating func expect(_ faults: [TimedFault]) {
        for timed in faults {
            switch timed.fault {
            case .corruptLane, .corruptControl: expectsViolations = true
            case .slowLink, .slowWorker, .resetLane, .leave: break
            case .crash, .restart, .pause, .partition, .isolate, .unreachable, .resetControl,
                .clockJump,
                .crashCoordinator:
                expectsEvictions = true
            }
        }
        if expectsViolations { expectsEvictions = true }
    }

    mutating func find(_ checker: String, _ now: Int64, _ text: String) {
        // What is not followed cannot be judged; the simulator's own objections always count.
        guard isFollowing || Self.own.contains(checker) else { return }
        // One fault can be seen many times; the first ones tell most.
        guard findings.count < 100 else { return }
        findings.append(
            Finding(checker: checker, time: Instant(nanoseconds: now), text: text))
    }

    // MARK: Lives

    mutating func workerStarted(_ seat: Int, _ saved: TrainerState?, _ now: Int64) {
        lastEpoch[seat] = .none
        applied[seat] = nil
        reference.workerStarted(seat, saved)
        samples.started(from: saved?.step ?? 0)
        waits.started(seat, now)
    }

    mutating func workerCrashed(_ seat: Int) {
        applied[seat] = nil
        waits.ended(seat)
    }

    mutating func workerEnded(_ seat: Int, _ code: ExitCode, _ state: TrainerState?, _ now: Int64) {
        waits.ended(seat)
        let last = applied[seat]
        applied[seat] = nil
        if code == .digestMismatch {
            find("digests", now, "worker \(seat) left because of a digest")
        }
        // A joiner that came too late to take part ends well with what it had.
        if code == .ok, hasCommitted, last != nil, let state, state.round != committedRounds {
            find(
                "commits", now,
                "worker \(seat) ended well at round \(state.round), committed \(committedRounds)")
        }
        let member = plans[lastEpoch[seat]]?.members.first { $0.workerID == WorkerID(seat) }
        if code == .ok, configuration.schedule.outer != .everyStep, let state, let member,
            state.step >= member.lastStep, state.hasRest
        {
            find("merged", now, "worker \(seat) ended with values that no round has taken in")
        }
        if code == .evicted, !expectsEvictions {
            find("evictions", now, "worker \(seat) was evicted although nothing happened to it")
        }
    }

    mutating func coordinatorCrashed() { coordinatorHasCrashed = true }

    mutating func runEnded(_ code: ExitCode, _ reason: String, _ now: Int64) {
        if code == .digestMismatch { find("digests", now, "the run ended: \(reason)") }
    }

    // MARK: Views

    /// One view per epoch, and epochs only grow.
    mutating func adopted(_ seat: Int, _ active: ActivePlan, _ now: Int64) {
        if active.epoch <= lastEpoch[seat] {
            find("views", now, "worker \(seat) went back to epoch \(active.epoch.rawValue)")
        }
        lastEpoch[seat] = active.epoch
        waits.reported(seat, now)
        if let known = plans[active.epoch] {
            if known != active.plan {
                find("views", now, "two views of epoch \(active.epoch.rawValue)")
            }
        } else {
            plans[active.epoch] = active.plan
            if let objection = reference.planned(active.plan, active.epoch) {
                find("experts", now, objection)
            }
            if let objection = tokens.planned(active.plan, active.epoch) {
                find("owners", now, objection)
            }
        }
    }

    // MARK: Trainers

    mutating func draws(_ seat: Int, step: UInt32, _ range: Range<UInt64>, _ now: Int64) {
        if let objection = samples.draws(seat, step: step, range) {
            find("samples", now, objection)
        }
        if let objection = tokens.begins(seat, step: step, lastEpoch[seat]) {
            find("tokens", now, objection)
        }
    }

    /// Where replicas hold unlike parameters, one that comes in has nothing to contribute yet.
    mutating func tookOver(_ seat: Int, _ state: TrainerState, _ plan: Plan, _ now: Int64) {
        guard configuration.schedule.outer != .everyStep,
            let me = plan.members.first(where: { $0.workerID == WorkerID(seat) }),
            let source = plan.members.first(where: { $0.rank == me.stateSource })
        else { return }
        let isOneReplica =
            configuration.schedule.inner == .everyStep && source.region == me.region
        if !isOneReplica, state.parameters != state.outerCopy {
            find(
                "state", now,
                "worker \(seat) begins with what \(source.name) has trained and not contributed")
        }
    }

    mutating func trainerBusy(_ seat: Int, _ now: Int64) { waits.busy(seat) }
    mutating func trainerIdle(_ seat: Int, _ now: Int64) { waits.idle(seat, now) }

    mutating func absorbs(
        _ seat: Int, _ absorption: TrainerOrder.Absorption,
        means: [(Range<UInt64>, [Float])], _ now: Int64
    ) {
        if let objection = reference.absorbs(seat, absorption, means) {
            find("reduction", now, objection)
        }
    }

    mutating func absorbed(
        _ seat: Int, _ absorption: TrainerOrder.Absorption, _ digest: UInt64, _ experts: [Float],
        _ now: Int64
    ) {
        if let objection = reference.absorbed(seat, absorption, digest, experts) {
            find("reduction", now, objection)
        }
        switch absorption.target {
        case .optimiserStep:
            let key = InnerKey(
                region: absorption.key.region, step: absorption.step, epoch: lastEpoch[seat])
            guard configuration.schedule.inner == .everyStep else { return }
            if let known = innerDigests[key], known != digest {
                find(
                    "digests", now,
                    "members of region \(key.region.rawValue) differ after step \(key.step)")
            }
            innerDigests[key] = digest
        case .pooledOptimiserStep, .outerStep:
            applied[seat, default: [:]][absorption.key.fragment] = (absorption.key.round, digest)
            appliedDigests.insert(digest)
        }
    }

    // MARK: Events

    mutating func said(_ commit: Commit) { reference.said(commit) }

    mutating func workerSaid(_ seat: Int, _ event: RunEvent, _ now: Int64) {
        switch event {
        case .waiting(_, let activity, _, _, _, _): waits.told(seat, activity, now)
        case .waited(_, let activity, _, _, _): waits.toldEnd(seat, activity, now)
        case .coordinatorLost: waits.reported(seat, now)
        case .violation(let culprit, let what):
            accuse(culprit, what, now)
        default: break
        }
    }

    private mutating func accuse(_ culprit: String, _ what: String, _ now: Int64) {
        guard !expectsViolations else { return }
        find("accusations", now, "\(culprit) is blamed without fault: \(what)")
    }

    /// A run begins, or nobody alive holds its last round any more: it goes on from what was saved.
    mutating func beganAgain(from states: [TrainerState]) {
        hasCommitted = false
        committedRounds = 0
        committedOf = committedOf.map { _ in nil }
        reference.beginsAgain(from: states)
        samples.started(from: states.map(\.step).min() ?? 0)
    }

    mutating func coordinatorSaid(_ event: RunEvent, _ now: Int64) {
        switch event {
        case .roundCommitted(let key, let digest, let members, let tokens):
            committed(key, digest, members, tokens, now)
        case .violation(let culprit, let what): accuse(culprit, what, now)
        default: break
        }
    }

    /// Each round once, in order, and applied with this digest by as many as the commit says.
    private mutating func committed(
        _ key: CollectiveKey, _ digest: UInt64, _ members: Int, _ tokens: UInt64, _ now: Int64
    ) {
        if let last = committedOf[key.fragment.index], key.round != last + 1 {
            find("commits", now, "\(key) committed after round \(last)")
        }
        hasCommitted = true
        committedOf[key.fragment.index] = key.round
        noteTurns()
        lastDigest = digest
        let holders = applied.keys.sorted().filter {
            let own = applied[$0]?[key.fragment]
            return own?.round == key.round && own?.digest == digest
        }
        if !appliedDigests.contains(digest) {
            find("commits", now, "round \(key.round) committed, and nobody has applied it")
        }
        if members < holders.count, !expectsEvictions {
            find("commits", now, "round \(key.round) committed with \(members) members")
        }
        if let objection = reference.committed(key, digest, tokens) {
            find("reduction", now, objection)
        }
        innerDigests = [:]
    }

    /// Fragments of which nothing is committed yet stand where the others' turns say.
    private mutating func noteTurns() {
        let newest =
            committedOf.indices.compactMap { index in
                committedOf[index].map { order.turn(fragment: FragmentID(index), round: $0) }
            }.max() ?? 0
        let next = committedOf.indices.compactMap { index -> UInt32? in
            committedOf[index].map { order.turn(fragment: FragmentID(index), round: $0 + 1) }
        }
        committedRounds = next.isEmpty ? newest : min(newest, (next.min() ?? 1) - 1)
    }

    // MARK: Regular look

    mutating func inspect(_ now: Int64, patience: Int64, running: [Int]) {
        for seat in running {
            if let since = waits.silentWait(
                seat, now, patience: patience, slack: Self.waitSlack)
            {
                find(
                    "waits", now,
                    "worker \(seat) waits since \(Double(since) / 1e9) s and says nothing")
            }
        }
    }
}
